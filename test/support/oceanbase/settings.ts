import { refused, ServerError } from "./errors.ts";
import { isWord, type Token } from "./tokens.ts";
import { type Session, schemaOf, type World } from "./world.ts";

/** SET x = y, … and ALTER SESSION SET x = y; GLOBAL is for the sessions to come. */
export async function set(tokens: readonly Token[], session: Session, world: World): Promise<void> {
  let rest = tokens.slice(isWord(tokens[0], "ALTER") ? 3 : 1);
  if (isWord(rest[0], "NAMES") || isWord(rest[0], "TRANSACTION") || isWord(rest[0], "CHARACTER")) return;
  let isGlobal = false;
  while (rest.length > 0) {
    const end = rest.findIndex(({ kind, value }) => kind === "mark" && value === ",");
    const part = end === -1 ? rest : rest.slice(0, end);
    rest = end === -1 ? [] : rest.slice(end + 1);
    isGlobal = isWord(part[0], "GLOBAL") || (isGlobal && !isWord(part[0], "SESSION"));
    const named = isWord(part[0], "GLOBAL") || isWord(part[0], "SESSION") ? part.slice(1) : part;
    const [name, equals, ...values] = named;
    if (name === undefined || !["=", ":="].includes(equals?.value ?? ""))
      throw refused(session.mode, { kind: "syntax", near: name?.value ?? "SET" });
    await assign(name.value, values.map(({ value }) => value).join(""), { session, world, isGlobal });
  }
}

type Scope = Readonly<{ session: Session; world: World; isGlobal: boolean }>;

async function assign(written: string, value: string, { session, world, isGlobal }: Scope): Promise<void> {
  const name = written.replace(/^@@(session\.|global\.|local\.)?/i, "").toLowerCase();
  const isForAll = isGlobal || /^@@global\./i.test(written);
  if (name === "current_schema") return useDatabase(value, session);
  if (name === "autocommit" && !isForAll) {
    session.autocommit = ["1", "ON", "TRUE"].includes(value.toUpperCase());
    if (session.autocommit && session.transaction !== null) {
      await session.backend.query("commit");
      session.transaction = null;
    }
  }
  (isForAll ? world.variables : session.variables).set(name, value);
}

/** USE, COM_INIT_DB and CURRENT_SCHEMA. */
export async function useDatabase(name: string, session: Session): Promise<void> {
  const schema = schemaOf({ database: name });
  const found = await session.backend.query("select from pg_namespace where nspname = $1", [schema]);
  if (found.rowCount === 0) throw new ServerError(1049, "42000", `Unknown database '${name}'`);
  session.database = session.mode === "oracle" ? name.toUpperCase() : name;
  await session.backend.query(`set search_path to "${schema.replaceAll('"', '""')}", ob`);
}

/** Microseconds; null where the variable sets no limit. */
export function limit(name: "ob_query_timeout" | "ob_trx_lock_timeout", session: Session, world: World): number | null {
  const value = Number(session.variables.get(name) ?? world.variables.get(name) ?? -1);
  return value < 0 ? null : value;
}
