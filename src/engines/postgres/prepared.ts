import type { Prepared } from "../../core/session.ts";
import type { Connection } from "./connection.ts";
import { isOfEncoding } from "./failure.ts";
import type { LockRow } from "./lock-rows.ts";

/** A prepared transaction as the server lists it; owner and database are still object ids. */
export type PreparedRow = Readonly<{
  ownerId: string | null;
  databaseId: string | null;
  prepared: Omit<Prepared, "kind" | "user" | "database" | "superuser">;
}>;

// The function, not the view, which joins pg_authid.
const preparedSql = (gid: string) => `/* lockwarden:prepared */
select p.transaction, ${gid} as gid, p.ownerid, p.dbid, pg_catalog.age(p.transaction) as xmin_age,
       to_char(p.prepared at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as prepared_at,
       trunc(extract(epoch from pg_catalog.clock_timestamp() - p.prepared) * 1000) as age_ms
  from pg_catalog.pg_prepared_xact() as p`;

/** One statement, needed where a lock row has no pid, and for rules about prepared transactions. */
export async function readPrepared(connection: Connection, signal: AbortSignal): Promise<readonly PreparedRow[]> {
  // One stranger's gid in another encoding: then no gid is known in this look, and none meets a rule's.
  const rows = await connection.query(preparedSql("p.gid"), [], signal).catch((error: unknown) => {
    if (isOfEncoding(error)) return connection.query(preparedSql("null"), [], signal);
    throw error;
  });
  return rows.map(({ transaction, gid, ownerid, dbid, age_ms, prepared_at, xmin_age }) => ({
    ownerId: ownerid ?? null,
    databaseId: dbid ?? null,
    prepared: {
      key: preparedKey(transaction ?? ""),
      gid: gid ?? "",
      transactionId: transaction ?? "",
      ageMs: age_ms == null ? null : Math.max(0, Number(age_ms)),
      preparedAt: prepared_at ?? null,
      xminAge: xmin_age == null ? null : Number(xmin_age),
    },
  }));
}

export function preparedKey(transactionId: string): string {
  return `prepared/${transactionId}`;
}

/**
 * The prepared transaction of each row without a pid: all of its rows name one virtual transaction, and one of them is the
 * lock on its own id. Subtransactions have such a lock too, so the one that the server lists is taken.
 */
export function preparedByVirtual(rows: readonly LockRow[], listed: ReadonlySet<string>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const row of rows) {
    if (row.pid !== null || !row.granted || row.transactionId === null) continue;
    const key = preparedKey(row.transactionId);
    if (listed.has(key)) found.set(row.virtualTransaction, key);
  }
  return found;
}
