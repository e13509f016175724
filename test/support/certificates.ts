import { execFile } from "node:child_process";
import { chown, copyFile, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import type { EmbeddedPostgres } from "../../src/demo/embedded-postgres.ts";
import { client } from "./servers.ts";

const run = promisify(execFile);

export type Authority = Readonly<{
  /** The authority's own certificate. */
  file: string;
  /** `names` as openssl writes them: DNS:localhost,IP:127.0.0.1 */
  issue(commonName: string, names: string | null): Promise<Issued>;
}>;
export type Issued = Readonly<{ cert: string; key: string }>;

/** A certificate authority in a temporary folder, made by openssl; it is gone after the tests of the file. */
export async function authority(name: string): Promise<Authority> {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-ca-"));
  after(() => rm(folder, { recursive: true, force: true }));
  const openssl = (...flags: string[]) => run("openssl", flags, { cwd: folder });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", `/CN=${name}`);
  let issued = 0;
  return {
    file: join(folder, "ca.crt"),
    issue: async (commonName, names) => {
      issued += 1;
      const base = `issued-${issued}`;
      await openssl("req", ...key, "-keyout", `${base}.key`, "-out", `${base}.csr`, "-subj", `/CN=${commonName}`);
      const extension = names === null ? "basicConstraints=CA:FALSE" : `subjectAltName=${names}`;
      await writeFile(join(folder, `${base}.ext`), `${extension}\n`);
      const from = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", `${base}.ext`];
      await openssl("x509", "-req", "-in", `${base}.csr`, ...from, "-days", "2", "-out", `${base}.crt`);
      return { cert: join(folder, `${base}.crt`), key: join(folder, `${base}.key`) };
    },
  };
}

/** Gives a running server this certificate; new connections get it. */
export async function present(postgres: EmbeddedPostgres, { cert, key }: Issued, root?: string): Promise<void> {
  const { uid, gid } = await stat(postgres.dataFolder);
  const files: [string, string][] = [
    [cert, "server.crt"],
    [key, "server.key"],
    [root ?? cert, "root.crt"],
  ];
  for (const [from, name] of files) {
    const to = join(postgres.dataFolder, name);
    await copyFile(from, to);
    await chown(to, uid, gid);
  }
  await run("chmod", ["0600", join(postgres.dataFolder, "server.key")]);
  const person = await client(postgres.url());
  await person.query("alter system set ssl = on");
  await person.query("alter system set ssl_ca_file = 'root.crt'");
  await person.query("select pg_reload_conf()");
  await person.end();
}
