import { unreachable } from "../../../src/core/unreachable.ts";
import { type AccountChange, accountChange } from "./accounts.ts";
import { killSession, type Refusal, stumble } from "./kill-session.ts";
import * as names from "./names.ts";
import { lower, meaningful, statementsOf, type Token, tokensOf, unquote } from "./tokens.ts";
import type { Version } from "./versions.ts";

export type Dialect = Readonly<{
  version: Version;
  settings: Readonly<Record<string, names.Setting>>;
  /** '' is NULL: sql_compatibility A. */
  emptyIsNull: boolean;
  /** `||` is OR. */
  pipesMeanOr: boolean;
  /** The session's user is a sysadmin. */
  sysadmin: boolean;
}>;

export type Rewritten = Readonly<{
  sql: string;
  /** What the client is told instead of the server's own complaint over `refusedWord`. */
  refusal: Refusal | null;
  /** PREPARE TRANSACTION 'gid' */
  prepares: readonly string[];
  accounts: readonly AccountChange["account"][];
  /** It may take a lock that outlives its transaction, or give one back. `later`: so may what runs under its name. */
  sessionLocks: "now" | "later" | null;
}>;

/** Whoever sends this is refused by the parser; so a transaction is lost exactly where it would be on openGauss. */
export const refusedWord = "gauss_refuses_this";

/** A client's text as the PostgreSQL behind the double must get it. */
export function rewrite(sql: string, dialect: Dialect): Rewritten {
  const texts: string[] = [];
  const prepares: string[] = [];
  const accounts: AccountChange["account"][] = [];
  for (const statement of statementsOf(tokensOf(sql))) {
    const words = meaningful(statement);
    const end = statement.at(-1)?.text === ";" ? ";" : "";
    const special = killSession(words, dialect.version.killGrammar) ?? refusalOf(words, dialect);
    if (special !== null && typeof special !== "string")
      return { sql: refusedWord, refusal: special, prepares: [], accounts: [], sessionLocks: null };
    const change = accountChange(words);
    if (change !== null && dialect.sysadmin) accounts.push(change.account);
    if (lower(words[0]) === "prepare" && lower(words[1]) === "transaction")
      prepares.push(unquote(words[2]?.text ?? "''"));
    texts.push(
      special ?? change?.sql ?? renamed(statement, words, dialect),
      special !== null || change !== null ? end : "",
    );
  }
  const advisory = /\bpg_(try_)?advisory_|\bdiscard\b/i.test(sql);
  const sessionLocks = advisory ? (/\bprepare\b/i.test(sql) ? "later" : "now") : null;
  return { sql: texts.join(""), refusal: null, prepares, accounts, sessionLocks };
}

function refusalOf(words: readonly Token[], dialect: Dialect): Refusal | null {
  const verb = lower(words[0]);
  if (verb === "listen" || verb === "unlisten" || verb === "notify")
    return { code: "0A000", message: `${verb.toUpperCase()} statement is not yet supported.` };
  for (const [gap, near] of names.syntaxGaps(dialect.version)) {
    const at = words.findIndex((_, start) => gap.every((word, offset) => lower(words[start + offset]) === word));
    if (at >= 0) return stumble(words[at + near]);
  }
  return settingRefusal(words, dialect);
}

function settingRefusal(words: readonly Token[], { settings, sysadmin }: Dialect): Refusal | null {
  const verb = lower(words[0]);
  if (!["set", "show", "reset"].includes(verb)) return null;
  const scoped = ["session", "local"].includes(lower(words[1]));
  const name = lower(words[scoped ? 2 : 1]);
  if (names.unknownSettings.has(name))
    return { code: "42704", message: `unrecognized configuration parameter "${name}"` };
  return verb === "show" ? null : changeRefusal(name, settings[name], sysadmin);
}

function changeRefusal(name: string, setting: names.Setting | undefined, sysadmin: boolean): Refusal | null {
  if (setting === undefined) return null;
  switch (setting.context) {
    case "superuser":
      return sysadmin ? null : { code: "42501", message: `permission denied to set parameter "${name}"` };
    case "sighup":
      return { code: "55P02", message: `parameter "${name}" cannot be changed now` };
    case "postmaster":
      return { code: "55P02", message: `parameter "${name}" cannot be changed without restarting the server` };
    case "internal":
      return { code: "55P02", message: `parameter "${name}" cannot be changed` };
    case "user":
      return null;
    default:
      return unreachable(setting.context);
  }
}

const questions = new Set(["select", "with", "insert", "update", "delete", "values", "explain", "(", "execute"]);

/** Names of openGauss' own catalog, functions and settings get the schema where the double has them. */
function renamed(statement: readonly Token[], words: readonly Token[], dialect: Dialect): string {
  const verb = lower(words[0]);
  const isQuestion = questions.has(verb);
  const texts: string[] = [];
  let at = 0;
  for (const token of statement) {
    if (token.kind === "space" || token.text === ";") {
      texts.push(token.text);
      continue;
    }
    const around = { before: words[at - 1], previous: words[at - 2], after: words[at + 1] };
    at++;
    if (isQuestion && dialect.pipesMeanOr && token.text === "||") texts.push(" or ");
    else if (isQuestion && dialect.emptyIsNull && isEmpty(token, around)) texts.push("null");
    else if (
      names.settingVerbs.has(verb) &&
      dialect.settings[lower(token)] !== undefined &&
      around.before?.text !== "="
    )
      texts.push(`gauss.${lower(token)}`);
    else texts.push(isOurs(token, around) ? `gauss.${token.text}` : token.text);
    // `pg_catalog . name` of ours: the schema is already written.
    if (texts.at(-1) === `gauss.${token.text}` && around.before?.text === ".") dropSchema(texts);
  }
  return texts.join("");
}

type Around = Readonly<{ before: Token | undefined; previous: Token | undefined; after: Token | undefined }>;

function isEmpty(token: Token, { before, after }: Around): boolean {
  // In a concatenation openGauss takes NULL for '' again.
  return token.kind === "string" && token.text === "''" && before?.text !== "||" && after?.text !== "||";
}

function isOurs(token: Token, { before, previous, after }: Around): boolean {
  if (token.kind !== "word" || lower(before) === "as") return false;
  if (before?.text === "." && lower(previous) !== "pg_catalog") return false;
  const name = lower(token);
  if (names.views.has(name) || names.absentTypes.has(name)) return true;
  return after?.text === "(" && (names.functions.has(name) || names.absentFunctions.has(name));
}

/** Takes `pg_catalog` and the point away again, which stand before the last text. */
function dropSchema(texts: string[]): void {
  const point = texts.lastIndexOf(".", texts.length - 2);
  const schema = texts.findLastIndex((text, at) => at < point && text.toLowerCase() === "pg_catalog");
  texts[point] = "";
  texts[schema] = "";
}
