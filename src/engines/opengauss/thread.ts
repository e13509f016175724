import pg from "pg";
import type { Connection } from "../postgres/connection.ts";

/** "lock", "pool" in ASCII. Everybody takes it shared, so nobody ever waits for it. */
const threadKeys = { class: 0x6c_6f_63_6b, object: 0x70_6f_6f_6c } as const;

const keepSql = "select /* lockwarden:thread */ pg_catalog.pg_try_advisory_lock_shared($1::int, $2::int) as kept";

/**
 * With a thread pool a session waits in a queue for a thread whenever it has something to say, unless it holds a lock of its
 * own: then it keeps the one that it has. When every thread is taken by those who wait for a lock, Lockwarden still sees and
 * acts. Who is not allowed to take such a lock goes on without.
 */
export async function keepThread(connection: Pick<Connection, "query">, signal: AbortSignal): Promise<void> {
  await connection
    .query(keepSql, [String(threadKeys.class), String(threadKeys.object)], signal)
    .catch((error: unknown) => {
      if (!(error instanceof pg.DatabaseError)) throw error;
    });
}
