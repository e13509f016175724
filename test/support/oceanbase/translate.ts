import { unreachable } from "../../../src/core/unreachable.ts";
import { refused } from "./errors.ts";
import { isWord, type Token, tokenize } from "./tokens.ts";
import { isFrom, type Mode, type Session, type World } from "./world.ts";

/** A statement in PostgreSQL's words, and the views of the server that it reads, in lower case. */
export type Translated = Readonly<{ sql: string; views: ReadonlySet<string> }>;

type Scope = Readonly<{ session: Session; world: World; known: ReadonlySet<string>; open: ReadonlySet<string> }>;

const mysqlOnly = new Set(
  "NOW TIMESTAMPDIFF IFNULL CONNECTION_ID DATABASE UNIX_TIMESTAMP GET_LOCK RELEASE_LOCK IS_USED_LOCK IS_FREE_LOCK DATE_FORMAT SLEEP IF VERSION".split(
    " ",
  ),
);
const oracleOnly = new Set("SYS_CONTEXT USERENV TO_CHAR SYS_EXTRACT_UTC TO_NUMBER".split(" "));
const userLocks = new Set("GET_LOCK RELEASE_LOCK IS_USED_LOCK IS_FREE_LOCK".split(" "));
const castTypes: Readonly<Record<string, string>> = {
  CHAR: "varchar",
  SIGNED: "bigint",
  UNSIGNED: "numeric",
  VARCHAR2: "varchar",
  NUMBER: "numeric",
  DATETIME: "timestamp",
};
const columnTypes: Readonly<Record<string, string>> = { NUMBER: "numeric", VARCHAR2: "varchar", DATETIME: "timestamp" };

/** Rewrites the statement word by word; what neither mode knows goes through as it is. */
export function translate(sql: string, scope: Scope): Translated {
  const { session, world } = scope;
  const tokens = tokenize(sql, session.mode);
  if (session.mode === "oracle" && isWord(tokens[0], "SELECT") && !tokens.some((token) => isWord(token, "FROM")))
    throw refused("oracle", { kind: "no-from" });
  const out: string[] = [];
  const views = new Set<string>();
  let limit = "";
  for (let at = 0; at < tokens.length; at++) {
    const view = viewAt(tokens, at, scope);
    if (view !== null) {
      views.add(view.name);
      out.push(`"${view.name}"`);
      at += view.tokens - 1;
      continue;
    }
    if (isWord(tokens[at], "ROWNUM") && tokens[at + 1]?.value === "<=" && session.mode === "oracle") {
      limit = ` limit ${tokens[at + 2]?.value ?? ""}`;
      out.push("true");
      at += 2;
      continue;
    }
    const call = callAt(tokens, at, session, world);
    out.push(call?.sql ?? rewritten(tokens, at, session, world));
    at += (call?.tokens ?? 1) - 1;
  }
  return { sql: out.join(" ") + limit, views };
}

const viewSchemas = new Set(["SYS", "OCEANBASE", "INFORMATION_SCHEMA", "MYSQL"]);

/** SYS.NAME or oceanbase.NAME; in Oracle mode SYS may be left out. */
function viewAt(
  tokens: readonly Token[],
  at: number,
  { session, world, known, open }: Scope,
): { name: string; tokens: number } | null {
  const [first, dot, second] = tokens.slice(at, at + 3);
  if (tokens[at - 1]?.value === "." || (first?.kind !== "word" && first?.kind !== "name")) return null;
  const qualified = viewSchemas.has(first.value.toUpperCase()) && dot?.value === ".";
  if (!qualified) {
    const name = first.value.toLowerCase();
    const free = session.mode === "oracle" || session.database?.toLowerCase() === "oceanbase";
    return free && known.has(name) && dot?.value !== "." && tokens[at + 1]?.value !== "(" ? { name, tokens: 1 } : null;
  }
  const name = second?.value.toLowerCase() ?? "";
  const expected = session.mode === "oracle" ? ["SYS"] : ["OCEANBASE", "INFORMATION_SCHEMA", "MYSQL"];
  const full = session.mode === "oracle" ? name : `${first.value}.${second?.value ?? ""}`;
  if (!known.has(name) || !expected.includes(first.value.toUpperCase()))
    throw refused(session.mode, { kind: "no-table", name: full });
  const account = world.accounts.find(session.tenant, session.user);
  if (
    !open.has(name) &&
    account?.administrator !== true &&
    account?.views !== "all" &&
    account?.views.has(name) !== true
  )
    throw refused(session.mode, { kind: "no-select", user: session.user, name: second?.value ?? "" });
  return { name, tokens: 3 };
}

/** A function whose answer the double knows itself, or whose arguments PostgreSQL would not understand. */
function callAt(
  tokens: readonly Token[],
  at: number,
  session: Session,
  world: World,
): { sql: string; tokens: number } | null {
  const name = tokens[at]?.kind === "word" ? (tokens[at]?.value.toUpperCase() ?? "") : "";
  if (name === "DBMS_LOCK" && tokens[at + 1]?.value === ".") return dbmsLock(tokens, at, session, world);
  if (tokens[at + 1]?.value !== "(" || tokens[at - 1]?.value === ".") return null;
  checkFunction(name, session.mode, world);
  const empty = tokens[at + 2]?.value === ")";
  const argument = (offset: number) => tokens[at + 2 + offset]?.value ?? "";
  switch (name) {
    case "CONNECTION_ID":
      return { sql: `${session.id}::bigint`, tokens: 3 };
    case "USER":
    case "SESSION_USER":
    case "CURRENT_USER":
      return empty
        ? { sql: literal(`${session.user}@${name === "CURRENT_USER" ? "%" : session.host.split(":")[0]}`), tokens: 3 }
        : null;
    case "DATABASE":
    case "SCHEMA":
      return empty ? { sql: session.database === null ? "null::text" : literal(session.database), tokens: 3 } : null;
    case "VERSION":
      return { sql: literal(`5.7.25-OceanBase-v${world.version}`), tokens: 3 };
    case "OB_VERSION":
      return { sql: literal(world.version), tokens: 3 };
    case "PROXY_VERSION":
      return { sql: literal("4.2.3.0"), tokens: 3 };
    case "SYS_CONTEXT":
      return { sql: context(argument(2), session), tokens: 6 };
    case "USERENV":
      return { sql: context(argument(0), session), tokens: 4 };
    case "TIMESTAMPDIFF":
      return { sql: `timestampdiff ( ${literal(argument(0).toUpperCase())}`, tokens: 3 };
    case "NOW":
    case "CURRENT_TIMESTAMP":
      return empty ? { sql: "ob.now(0)", tokens: 3 } : { sql: "ob.now (", tokens: 2 };
    default:
      return null;
  }
}

function checkFunction(name: string, mode: Mode, world: World): void {
  const foreign = mode === "oracle" ? mysqlOnly : oracleOnly;
  const absent =
    (name === "OB_VERSION" && !isFrom(world, "4.2")) ||
    (name === "PROXY_VERSION" && world.proxy === "none") ||
    (userLocks.has(name) && !world.switches.userLocks);
  if (foreign.has(name) || absent) throw refused(mode, { kind: "no-function", name });
}

function dbmsLock(
  tokens: readonly Token[],
  at: number,
  session: Session,
  world: World,
): { sql: string; tokens: number } {
  const name = tokens[at + 2]?.value.toLowerCase() ?? "";
  if (session.mode === "mysql" || !world.switches.dbmsLock || !["request", "release"].includes(name))
    throw refused(session.mode, { kind: "no-function", name: `DBMS_LOCK.${name.toUpperCase()}` });
  return { sql: `ob.dbms_lock_${name}`, tokens: 3 };
}

function context(what: string, session: Session): string {
  switch (what.toUpperCase()) {
    case "SID":
    case "SESSIONID":
      return literal(String(session.id));
    case "SESSION_USER":
    case "CURRENT_USER":
      return literal(session.user);
    case "CURRENT_SCHEMA":
      return literal(session.database ?? session.user);
    case "CON_NAME":
      return literal(session.tenant);
    default:
      return "null::text";
  }
}

const quotedName = (value: string) => `"${value.toLowerCase().replaceAll('"', '""')}"`;

export function literal(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

function rewritten(tokens: readonly Token[], at: number, session: Session, world: World): string {
  const token: Token = tokens[at] ?? { kind: "mark", value: "" };
  switch (token.kind) {
    case "string":
      return token.value === "" && session.mode === "oracle" ? "null" : literal(token.value);
    case "name":
      return quotedName(token.value);
    case "variable":
      return variable(token.value, session, world);
    case "mark":
      if (token.value === "||" && session.mode === "mysql") return "or";
      return token.value;
    case "number":
      return token.value;
    case "word":
      return word(tokens, at, session);
    default:
      return unreachable(token.kind);
  }
}

function variable(name: string, session: Session, world: World): string {
  const plain = name.replace(/^@@(session\.|global\.|local\.)?/i, "").toLowerCase();
  const value = session.variables.get(plain) ?? world.variables.get(plain);
  if (value === undefined) throw refused(session.mode, { kind: "no-column", name: plain });
  return /^-?\d+$/.test(value) ? `${value}::bigint` : literal(value);
}

function word(tokens: readonly Token[], at: number, { mode, user }: Session): string {
  const value = tokens[at]?.value ?? "";
  const upper = value.toUpperCase();
  const afterDot = tokens[at - 1]?.value === ".";
  if (upper === "USER") {
    if (mode === "mysql") return '"user"';
    if (afterDot) throw refused(mode, { kind: "no-column", name: value });
    return literal(user);
  }
  if (upper === "LEVEL" && mode === "oracle") throw refused(mode, { kind: "no-column", name: value });
  if (afterDot) return value;
  if (upper === "DUAL") return "ob.dual";
  if (upper === "SYSTIMESTAMP" && mode === "oracle") return "ob.systimestamp()";
  if (upper === "SYSDATE" && mode === "oracle") return "ob.sysdate()";
  if (upper === "LIMIT" && mode === "oracle") throw refused(mode, { kind: "syntax", near: value });
  const cast = isWord(tokens[at - 1], "AS") && ["(", ")"].includes(tokens[at + 1]?.value ?? "");
  if (cast && upper === "DATE" && mode === "oracle") return "ob.oradate";
  const types = cast ? castTypes : isWord(tokens[0], "CREATE") ? columnTypes : {};
  return types[upper] ?? value;
}
