import type pg from "pg";
import { grant, readAccountChange } from "./accounts.ts";
import { refused, ServerError, translated } from "./errors.ts";
import { interrupt, isKillSession, type Killed, kill, killAtServer, killSession } from "./kill.ts";
import { lookAtLocks } from "./locks.ts";
import type { Cell, Column } from "./packets.ts";
import { shown, shownTable } from "./results.ts";
import { limit, set, useDatabase } from "./settings.ts";
import { show } from "./show.ts";
import { begins, isWord, type Token, tokenize } from "./tokens.ts";
import { translate } from "./translate.ts";
import { asTable, viewsOf } from "./views.ts";
import type { Session, World } from "./world.ts";

/** OK, and with `last` the end of the session; or rows. */
export type Answer =
  | Readonly<{ kind: "ok"; affected: number; last: boolean }>
  | Readonly<{ kind: "rows"; columns: readonly Column[]; rows: readonly (readonly Cell[])[] }>;

const done: Answer = { kind: "ok", affected: 0, last: false };
const killed = ({ self }: Killed): Answer => ({ kind: "ok", affected: 0, last: self });

/** Runs one statement of a session; throws a ServerError for what the server would refuse. */
export async function run(sql: string, session: Session, world: World): Promise<Answer> {
  const tokens = tokenize(sql, session.mode);
  const first = tokens[0]?.value.toUpperCase() ?? "";
  switch (first) {
    case "SHOW":
      return { kind: "rows", ...shownTable(show(tokens, session, world)) };
    case "KILL":
      return killed(await kill(tokens, session, world));
    case "SET":
      await set(tokens, session, world);
      return done;
    case "USE":
      await useDatabase(tokens[1]?.value ?? "", session);
      return done;
    case "START":
    case "COMMIT":
    case "ROLLBACK":
      return transaction(first, session, world);
    case "CALL":
      return block(tokens, session, world);
    case "BEGIN":
      return tokens.length <= 2 ? transaction(first, session, world) : block(tokens, session, world);
    case "GRANT":
    case "REVOKE":
      return changeAccount(sql, session, world);
    case "CREATE":
    case "DROP":
      return isWord(tokens[1], "USER") ? changeAccount(sql, session, world) : query(sql, tokens, { session, world });
    case "ALTER":
      if (isKillSession(tokens)) return killed(await killSession(tokens, session, world));
      if (!begins(tokens, "ALTER", "SESSION", "SET")) return query(sql, tokens, { session, world });
      await set(tokens, session, world);
      return done;
    default:
      return query(sql, tokens, { session, world });
  }
}

/** BEGIN EXECUTE IMMEDIATE '…'; END; of Oracle mode, and a procedure that is called alone. */
async function block(tokens: readonly Token[], session: Session, world: World): Promise<Answer> {
  if (session.mode === "oracle" && begins(tokens, "BEGIN", "EXECUTE", "IMMEDIATE")) {
    const sql = tokens[3]?.value ?? "";
    const inner = tokenize(sql, session.mode);
    return begins(inner, "KILL") ? killed(await killAtServer(inner, session, world)) : run(sql, session, world);
  }
  const [, owner, , procedure, , argument] = tokens;
  const isOracle = session.mode === "oracle";
  if (isOracle && isWord(procedure, "SLEEP") && owner?.value.toUpperCase().startsWith("DBMS_") === true) {
    await behind(`select pg_sleep(${Number(argument?.value)})`, session, world);
    return done;
  }
  if (!isWord(owner, "DBMS_APPLICATION_INFO") || !isWord(procedure, "SET_MODULE"))
    throw refused(session.mode, { kind: "syntax", near: owner?.value ?? "" });
  session.module = argument?.kind === "string" ? argument.value : "";
  return done;
}

async function transaction(first: string, session: Session, world: World): Promise<Answer> {
  if (session.transaction !== null) {
    await session.backend.query(first === "ROLLBACK" ? "rollback" : "commit");
    session.transaction = null;
  }
  if (first === "BEGIN" || first === "START") await open(session, world, true);
  return done;
}

async function open(session: Session, world: World, explicit: boolean): Promise<void> {
  await session.backend.query("begin");
  session.transaction = { id: world.nextTransaction(), explicit, startedAt: Date.now() };
}

async function changeAccount(sql: string, session: Session, world: World): Promise<Answer> {
  const { mode, tenant } = session;
  if (world.accounts.find(tenant, session.user)?.administrator !== true)
    throw refused(mode, { kind: "privilege", needed: "CREATE USER" });
  const change = readAccountChange(sql, mode);
  if (change === null) throw refused(mode, { kind: "syntax", near: sql });
  if (change.kind === "create") {
    if (mode === "oracle") await world.ask(`create schema if not exists "${change.name.toLowerCase()}"`);
    world.accounts.add({ ...change, tenant, views: [], createSession: mode === "mysql" }, mode);
    return done;
  }
  const account = world.accounts.find(tenant, change.name);
  if (account === undefined) throw refused(mode, { kind: "unsupported", what: `no such user: ${change.name}` });
  if (change.kind === "drop") world.accounts.remove(tenant, change.name);
  else {
    const unknown = grant(account, change);
    if (unknown !== null) throw refused(mode, { kind: "syntax", near: unknown });
  }
  return done;
}

type Scope = Readonly<{ session: Session; world: World }>;

async function query(sql: string, tokens: readonly Token[], { session, world }: Scope): Promise<Answer> {
  const text = await rewritten(sql, { session, world });
  const isDefinition = ["CREATE", "DROP", "ALTER", "TRUNCATE"].some((word) => isWord(tokens[0], word));
  const locks = isDefinition || locksRows(tokens);
  if (locks) session.table = tableOf(tokens, session);
  if (locks && session.database === null && session.table?.includes(".") !== true)
    throw new ServerError(1046, "3D000", "No database selected");
  if (isDefinition && session.transaction !== null) await transaction("COMMIT", session, world);
  const isAlone = locks && session.transaction === null && (session.autocommit || isDefinition);
  if (isAlone) session.transaction = { id: world.nextTransaction(), explicit: false, startedAt: Date.now() };
  else if (locks && session.transaction === null) await open(session, world, false);
  try {
    const result = await behind(text, session, world, isAlone);
    if (result.fields.length > 0) return { kind: "rows", ...shown(result, tokens, session) };
    return { kind: "ok", affected: result.rowCount ?? 0, last: false };
  } finally {
    session.table = null;
    if (isAlone) session.transaction = null;
  }
}

/** In PostgreSQL's words; the views that it reads stand before it, as they are now. */
async function rewritten(sql: string, { session, world }: Scope): Promise<string> {
  const { all, open: free } = viewsOf(world, session.mode);
  const { sql: text, views } = translate(sql, { session, world, known: new Set(Object.keys(all)), open: free });
  if (views.size === 0) return text;
  const scope = { session, world, locks: await lookAtLocks(world) };
  const tables = [...views].map((name) => asTable(name, all[name]?.(scope), session.mode)).join(", ");
  return /^with/i.test(text) ? `with ${tables}, ${text.slice(4)}` : `with ${tables} ${text}`;
}

function locksRows(tokens: readonly Token[]): boolean {
  const changes = ["INSERT", "UPDATE", "DELETE", "MERGE", "LOCK", "REPLACE"].some((word) => isWord(tokens[0], word));
  return changes || tokens.some((token, at) => isWord(token, "FOR") && isWord(tokens[at + 1], "UPDATE"));
}

/** The table that the statement is about, for a wait that PostgreSQL does not name one for. */
function tableOf(tokens: readonly Token[], session: Session): string | null {
  const at = tokens.findIndex(
    (token, index) =>
      ["UPDATE", "INTO", "FROM", "TABLE", "ON"].some((word) => isWord(token, word)) &&
      !isWord(tokens[index - 1], "FOR"),
  );
  const [first, dot, second] = tokens.slice(at + 1, at + 4);
  if (at === -1 || first === undefined) return null;
  const [schema, name] =
    dot?.value === "." ? [first.value, second?.value ?? ""] : [session.database ?? "", first.value];
  return `${schema}${schema === "" ? "" : "."}${name}`.toLowerCase();
}

/** Runs it at PostgreSQL. A statement that fails leaves the transaction as it was, as it does in OceanBase. */
async function behind(
  text: string,
  session: Session,
  world: World,
  isAlone = false,
): Promise<pg.QueryArrayResult<Cell[]>> {
  const { backend } = session;
  const isInside = session.transaction !== null && !isAlone;
  if (isInside) await backend.query("savepoint statement");
  const timer = timeLimit(session, world);
  try {
    const types = { getTypeParser: () => (value: string) => value };
    const result = await backend.query<Cell[]>({ text, rowMode: "array", types });
    await session.cancelling;
    if (isInside) await backend.query("release savepoint statement");
    return result;
  } catch (failure) {
    await session.cancelling;
    if (isInside && !session.ended) await backend.query("rollback to savepoint statement; release savepoint statement");
    throw session.interruption === null ? translated(failure, session.mode, text) : interrupted(session, world);
  } finally {
    clearTimeout(timer);
    session.interruption = null;
    session.cancelling = null;
  }
}

function timeLimit(session: Session, world: World): NodeJS.Timeout | undefined {
  const limits = [
    limit("ob_query_timeout", session, world),
    session.table === null ? null : limit("ob_trx_lock_timeout", session, world),
  ].filter((one) => one !== null);
  if (limits.length === 0) return undefined;
  return setTimeout(
    () => {
      interrupt(session, world, "timeout").catch(() => undefined);
    },
    Math.min(...limits, 2_000_000_000_000) / 1000,
  );
}

function interrupted(session: Session, world: World): ServerError {
  if (session.interruption === "killed") return refused(session.mode, { kind: "interrupted" });
  if (session.table !== null) return refused(session.mode, { kind: "lock-timeout" });
  const microseconds = String(limit("ob_query_timeout", session, world) ?? 0);
  return refused(session.mode, { kind: "query-timeout", microseconds });
}
