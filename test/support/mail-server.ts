import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";

/** A mail as a server took it. */
export type Mail = Readonly<{
  headers: string;
  text: string;
  to: readonly string[];
  user: string | null;
  secure: boolean;
}>;

export type MailServer = Readonly<{ port: number; mails: Mail[]; close(): Promise<void> }>;

export type Certificate = Readonly<{ key: string; cert: string; file: string }>;

/** A real SMTP server on the loopback; refuses an account's password other than `secret word`. */
export async function mailServer(t: TestContext, options: SMTPServerOptions = {}, port = 0): Promise<MailServer> {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disableReverseLookup: true,
    closeTimeout: 100,
    // Without a certificate of its own it would say at each start that its built-in one is known to everybody.
    ...(options.key === undefined ? { disabledCommands: ["STARTTLS"] } : {}),
    onAuth({ username, password }, _session, done) {
      if (password === "secret word") done(null, { user: username ?? "" });
      else done(new Error(`Invalid login for ${username} with ${password}`));
    },
    onData(stream, session, done) {
      const parts: Buffer[] = [];
      stream.on("data", (part: Buffer) => parts.push(part));
      stream.on("end", () => {
        const [headers = "", ...rest] = Buffer.concat(parts).toString("utf8").split("\r\n\r\n");
        const to = session.envelope.rcptTo.map((one) => one.address);
        const user = typeof session.user === "string" ? session.user : null;
        mails.push({ headers, text: rest.join("\r\n\r\n"), to, user, secure: session.secure });
        done();
      });
    },
    ...options,
  });
  // Clients that give up in the middle are what is tested here.
  server.on("error", () => undefined);
  const listener = server.listen(port, "127.0.0.1");
  await once(listener, "listening");
  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= new Promise((resolve) => server.close(() => resolve()));
    return closing;
  };
  t.after(close);
  return { port: (listener.address() as AddressInfo).port, mails, close };
}

/** A throw-away certificate for the loopback; null, and the test is skipped, where there is no openssl. */
export async function certificate(t: TestContext, folder: string): Promise<Certificate | null> {
  const key = join(folder, "key.pem");
  const file = join(folder, "cert.pem");
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", file];
  try {
    await promisify(execFile)("openssl", [...request, ...subject]);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      t.skip("openssl is not installed: no certificate to test TLS with");
      return null;
    }
    throw error;
  }
  return { key: await readFile(key, "utf8"), cert: await readFile(file, "utf8"), file };
}

/** An error that the server answers with this code. */
export function smtpError(code: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode: code });
}

/** A header with its continuation lines joined. */
export function header(mail: Mail, name: string): string | null {
  const lines = mail.headers.replaceAll(/\r\n[ \t]+/g, " ").split("\r\n");
  return lines.find((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))?.slice(name.length + 2) ?? null;
}
