import type { Prepared } from "../../core/session.ts";
import type { Connection } from "../postgres/connection.ts";
import { isOfEncoding } from "../postgres/failure.ts";
import { momentOf } from "../postgres/moment.ts";
import { preparedKey } from "../postgres/prepared.ts";

// 1260 is pg_authid: who may read it is an administrator.
const preparedSql = (gid: string) => `/* lockwarden:prepared */
select p.transaction::text as transaction, ${gid} as gid, p.owner::text as owner, p.database::text as database,
       p.prepared::text as prepared_at, pg_catalog.clock_timestamp()::text as now,
       pg_catalog.has_table_privilege(p.owner, 1260::oid, 'select') as superuser
  from pg_catalog.pg_prepared_xacts as p`;

/** One statement, needed where a lock row has no pid, and for rules about prepared transactions. */
export async function readPrepared(connection: Connection, signal: AbortSignal): Promise<readonly Prepared[]> {
  // One stranger's gid in another encoding: then no gid is known in this look, and none meets a rule's.
  const rows = await connection.query(preparedSql("p.gid"), [], signal).catch((error: unknown) => {
    if (isOfEncoding(error)) return connection.query(preparedSql("null::text"), [], signal);
    throw error;
  });
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
