import type { Prepared } from "../../core/session.ts";
import type { Connection } from "../postgres/connection.ts";
import { isOfEncoding } from "../postgres/failure.ts";
import { momentOf } from "../postgres/moment.ts";
import { preparedKey } from "../postgres/prepared.ts";

// 1260 is pg_authid: who may read it is an administrator.
const preparedSql = (text: (column: string) => string) => `/* lockwarden:prepared */
select p.transaction::text as transaction, ${text("gid")} as gid, ${text("owner")} as owner, ${text("database")} as database,
       p.prepared::text as prepared_at, pg_catalog.clock_timestamp()::text as now,
       pg_catalog.has_table_privilege(p.owner, 1260::oid, 'select') as superuser
  from pg_catalog.pg_prepared_xacts as p`;

/** One statement, needed where a lock row has no pid, and for rules about prepared transactions. */
export async function readPrepared(connection: Connection, signal: AbortSignal): Promise<readonly Prepared[]> {
  const ask = (text: (column: string) => string) => connection.query(preparedSql(text), [], signal);
  const ofEncoding = (error: unknown): null => {
    if (isOfEncoding(error)) return null;
    throw error;
  };
  // One stranger's gid or name in another encoding: then none is known in this look, and none meets a rule's.
  const shown = (column: string) => `p.${column}::text`;
  const rows =
    (await ask(shown).catch(ofEncoding)) ??
    (await ask((column) => (column === "gid" ? "null::text" : shown(column))).catch(ofEncoding)) ??
    (await ask((column) => (column === "gid" ? shown(column) : "null::text")).catch(ofEncoding)) ??
    (await ask(() => "null::text"));
  return rows.map(({ transaction, gid, owner, database, prepared_at, now, superuser }) => {
    const preparedAt = prepared_at == null ? null : momentOf(prepared_at);
    const known = preparedAt !== null && now != null;
    return {
      kind: "prepared",
      key: preparedKey(transaction ?? ""),
      gid: gid ?? "",
      transactionId: transaction ?? "",
      user: owner ?? "",
      database: database ?? "",
      superuser: superuser == null ? null : superuser === "t",
      ageMs: known ? Math.max(0, Date.parse(momentOf(now)) - Date.parse(preparedAt)) : null,
      preparedAt,
      xminAge: null,
    };
  });
}
