import { readFile } from "node:fs/promises";
import type { SslOptions } from "mysql2";
import { LinkLost } from "../engine.ts";
import type { Address } from "./address.ts";

/**
 * What to ask of the driver; null: no TLS at all. `require` and `prefer` encrypt and verify nothing, but with a root
 * certificate `require` verifies the chain, as libpq has it.
 */
export async function tlsOptions({ sslMode, sslRootCert, sslCert, sslKey }: Address): Promise<SslOptions | null> {
  if (sslMode === "disable") return null;
  const ca = sslMode === "prefer" || sslRootCert === null ? null : await readNamed("sslrootcert", sslRootCert);
  const client =
    sslCert === null || sslKey === null
      ? {}
      : { cert: await readNamed("sslcert", sslCert), key: await readNamed("sslkey", sslKey) };
  return {
    ...client,
    ...(ca === null ? {} : { ca }),
    rejectUnauthorized: sslMode === "verify-full" || sslMode === "verify-ca" || ca !== null,
    verifyIdentity: sslMode === "verify-full",
  };
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
