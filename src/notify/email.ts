import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { NodemailerError, SendMailOptions, SMTPTransportOptions } from "nodemailer";
import type { EmailConfig } from "../config/schema.ts";
import { plainText } from "../core/plain-text.ts";
import { errorText } from "../owned-file.ts";
import type { Channel, Delivery, Notice } from "./channel.ts";
import { body, subject } from "./text.ts";

// What it imports from nodemailer here are types: the library itself costs 14 MB and is loaded at the first delivery.

type Secrets = Readonly<{ url: URL; user: string | null; password: string | null; ca: string | null }>;

/** Told to several people at once: who has it already is not told again when the others are tried again. */
const mostUnfinished = 1_000;

/** Sends a notice as an e-mail over SMTP. */
export function email(config: EmailConfig, timeoutMs = 10_000): Channel {
  const unfinished = new Map<string, readonly string[]>();
  return {
    name: config.name,
    async deliver(notice, signal) {
      const secrets: string[] = [];
      try {
        const found = await readSecrets(config);
        secrets.push(...secretForms(found));
        const to = unfinished.get(notice.id) ?? config.to;
        const failed = await send(transportOptions(config, found, timeoutMs), message(config, notice, to), signal);
        const later = failed.filter(isTemporary).flatMap(({ recipient }) => recipient ?? []);
        unfinished.delete(notice.id);
        if (later.length > 0) remember(unfinished, notice.id, later);
        return partly(failed, later.length > 0, (text) => redact(text, secrets));
      } catch (error) {
        if (signal.aborted) return { kind: "retry", afterMs: null, error: "stopped before the mail server took it" };
        return refusal(error, redact(describe(config, error), secrets));
      }
    },
    close: () => Promise.resolve(),
  };
}

/** What came of talking to a mail server without sending anything. */
export type MailCheck = Readonly<{ where: string; error: string | null }>;

/** Connects, greets, encrypts and logs in as a delivery would, and sends nothing. */
export async function verifyEmail(config: EmailConfig, timeoutMs = 10_000): Promise<MailCheck> {
  const secrets: string[] = [];
  let where = "its mail server";
  try {
    const found = await readSecrets(config);
    secrets.push(...secretForms(found));
    const options = transportOptions(config, found, timeoutMs);
    where = `${found.url.protocol}//${found.url.hostname}:${options.port}`;
    const { createTransport } = await import("nodemailer");
    const transporter = createTransport(options);
    try {
      await transporter.verify();
    } finally {
      transporter.close();
    }
    return { where, error: null };
  } catch (error) {
    return { where, error: redact(describe(config, error), secrets) };
  }
}

async function send(
  transport: SMTPTransportOptions,
  mail: SendMailOptions,
  signal: AbortSignal,
): Promise<readonly NodemailerError[]> {
  const { createTransport } = await import("nodemailer");
  // A connection of its own for each: notices are rare, and a kept connection would be dead when it is needed.
  const transporter = createTransport(transport);
  try {
    const sent = await transporter.sendMail({ ...mail, signal });
    return (sent as { rejectedErrors?: readonly NodemailerError[] }).rejectedErrors ?? [];
  } finally {
    transporter.close();
  }
}

function transportOptions(config: EmailConfig, secrets: Secrets, timeoutMs: number): SMTPTransportOptions {
  const { url, user, password, ca } = secrets;
  const secure = url.protocol === "smtps:";
  const starttls = secure ? "never" : config.starttls;
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (secure ? 465 : 587) : Number(url.port),
    secure,
    requireTLS: starttls === "required",
    ignoreTLS: starttls === "never",
    opportunisticTLS: starttls === "opportunistic",
    // Where no encryption at all would do, one with a certificate of unknown origin is still better than none.
    tls: { rejectUnauthorized: secure || starttls === "required" || ca !== null, ...(ca === null ? {} : { ca }) },
    ...(user === null ? {} : { auth: { user, pass: password ?? "" } }),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    dnsTimeout: timeoutMs,
  };
}

function message(config: EmailConfig, notice: Notice, to: readonly string[]): SendMailOptions {
  const domain = /@([A-Za-z0-9.-]+)>?\s*$/.exec(config.from)?.[1] ?? "lockwarden.invalid";
  return {
    from: config.from,
    to: config.to.join(", "),
    envelope: { from: config.from, to: [...to] },
    subject: subject(notice),
    text: body(notice),
    // The moment it happened, so that a mail program sorts by it whenever the mail came through.
    ...(Number.isNaN(Date.parse(notice.at)) ? {} : { date: new Date(notice.at) }),
    // The same at every try, so that a mail server drops the second copy of one that it took without our knowing.
    messageId: `<${digest(notice.id)}.notice@${domain}>`,
    // No message has this id: it is what all messages of one incident have in common, so that they make one thread.
    references: `<${digest(notice.incident)}.incident@${domain}>`,
    headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** Ids are text of unknown make; a digest of one is fit for a header. */
function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

async function readSecrets(config: EmailConfig): Promise<Secrets> {
  const url = URL.canParse(config.smtp) ? new URL(config.smtp) : null;
  // Not the value: it may hold a password.
  if (url === null) throw new Error("smtp is no mail server's URL; expected smtp://HOST:PORT or smtps://HOST:PORT");
  const { password_file: file } = config;
  const given = file === undefined ? config.password : await readSecret("password_file", file);
  return {
    url,
    user: config.user ?? (url.username === "" ? null : decodeURIComponent(url.username)),
    password: given ?? (url.password === "" ? null : decodeURIComponent(url.password)),
    ca: config.ca_file === undefined ? null : await readSecret("ca_file", config.ca_file),
  };
}

async function readSecret(key: string, file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).replace(/\r?\n$/, "");
  } catch (error) {
    throw new Error(`cannot read ${key}: ${errorText(error)}`, { cause: error });
  }
}

/** What became of a mail that the server took, for some recipients at least. */
function partly(failed: readonly NodemailerError[], again: boolean, clean: (text: string) => string): Delivery {
  if (failed.length === 0) return { kind: "delivered" };
  const error = clean(
    failed.map((each) => `${each.recipient ?? "a recipient"}: ${each.response ?? each.message}`).join("; "),
  );
  return again ? { kind: "retry", afterMs: null, error } : { kind: "delivered", warning: `not delivered to ${error}` };
}

/** Only what the server says of this very mail is final; a server, an account or a config can be mended. */
function refusal(error: unknown, text: string): Delivery {
  const { code, responseCode } = error as NodemailerError;
  const ofThisMail = code === "EENVELOPE" || code === "EMESSAGE";
  const wantsLogin = responseCode === 530 || responseCode === 535 || responseCode === 538;
  if (ofThisMail && !wantsLogin && (responseCode === undefined || responseCode >= 500))
    return { kind: "dropped", error: text };
  return { kind: "retry", afterMs: null, error: text };
}

function isTemporary({ responseCode }: NodemailerError): boolean {
  return responseCode === undefined || responseCode < 500;
}

function remember(unfinished: Map<string, readonly string[]>, id: string, recipients: readonly string[]): void {
  unfinished.set(id, recipients);
  const oldest = unfinished.keys().next();
  // Forgetting costs somebody a second copy, never a notice.
  if (unfinished.size > mostUnfinished && oldest.done !== true) unfinished.delete(oldest.value);
}

function describe(config: EmailConfig, error: unknown): string {
  const { code, response } = error as NodemailerError;
  const certificate = error instanceof Error && /certificate|altname/i.test(error.message);
  const hint = hints[certificate ? "ETLS" : (code ?? "")];
  const text =
    code === "ETLS" && response !== undefined && config.starttls === "required"
      ? `${noStarttls}: ${response}`
      : errorText(error);
  return hint === undefined ? text : `${text}; ${hint}`;
}

const noStarttls = "the mail server does not do STARTTLS, and starttls: required (the default) asks for it; it said";
const hints: Readonly<Record<string, string>> = {
  EAUTH: "check user and password_file",
  ETLS: "check ca_file, the server's certificate, and starttls",
  EDNS: "check the host name in smtp",
};

/** Whatever form a server may echo a password in. */
function secretForms({ password, user }: Secrets): string[] {
  if (password === null || password === "") return [];
  const encoded = [password, `\0${user ?? ""}\0${password}`].map((text) => Buffer.from(text).toString("base64"));
  return [password, ...encoded, encodeURIComponent(password)];
}

function redact(text: string, secrets: readonly string[]): string {
  return plainText(
    secrets.reduce((rest, secret) => rest.replaceAll(secret, "***"), text),
    400,
  );
}
