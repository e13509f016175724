import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";
import { LinkLost } from "../engine.ts";
import { type Address, socketFolder } from "./address.ts";

/**
 * What to ask of the TLS layer; null: no TLS at all. `require` and `prefer` encrypt and verify nothing, but with a root
 * certificate `require` verifies the chain, as libpq does. A certificate that is named must be readable: libpq goes on
 * without it under `require`, and nobody learns that nothing is verified.
 */
export async function tlsOptions(address: Address, home = homedir()): Promise<ConnectionOptions | null> {
  const { sslMode, sslRootCert, sslCert, sslKey } = address;
  // libpq: a Unix socket is never encrypted, whatever sslmode says.
  if (sslMode === "disable" || socketFolder(address.host)) return null;
  const ca = sslMode === "prefer" ? null : await rootCertificate(sslRootCert, home);
  const client =
    sslCert === null || sslKey === null
      ? {}
      : { cert: await readNamed("sslcert", sslCert), key: await readNamed("sslkey", sslKey) };
  const verifies = sslMode === "verify-full" || sslMode === "verify-ca" || ca !== null;
  return {
    ...client,
    ...(ca === null ? {} : { ca }),
    rejectUnauthorized: verifies,
    ...(sslMode === "verify-full" ? {} : { checkServerIdentity: () => undefined }),
  };
}

/** null: the authorities that Node trusts (NODE_EXTRA_CA_CERTS adds to them). */
async function rootCertificate(named: string | null, home: string): Promise<string | null> {
  if (named !== null) return await readNamed("sslrootcert", named);
  return await readFile(join(home, ".postgresql", "root.crt"), "utf8").catch(() => null);
}

async function readNamed(parameter: string, file: string): Promise<string> {
  return await readFile(file, "utf8").catch((cause: unknown) => {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new LinkLost("refused", `cannot read ${parameter} ${file}: ${code}`, {
      cause,
      hint: `let the user that runs Lockwarden read ${file}, or correct ${parameter} in the target's url`,
    });
  });
}
