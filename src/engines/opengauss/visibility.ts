import type { Connection } from "../postgres/connection.ts";
import type { Product } from "./product.ts";

// Locks are shown to everybody, sessions only to MONADMIN and system administrators: whoever sees a lock without its session
// sees half of what is going on. The server's own threads that belong to no database are never listed, and do not count; nor
// does anybody for a role that sees somebody else and nobody hidden: who logs in just now has locks and is not listed yet.
const hiddenSql = ({ activity }: Seeing) => `/* lockwarden:hidden */
with listed as (select a.sessionid, a.usesysid, a.backend_start from ${activity} as a)
select distinct l.sessionid::text as sessionid
  from pg_catalog.pg_locks as l
 where l.pid is not null and l.sessionid is not null
   and l.sessionid not in (select a.sessionid from listed as a where a.sessionid is not null)
   and (exists (select 1 from listed as h where h.sessionid is null or h.backend_start is null)
     or not exists (select 1 from listed as o join listed as own on o.usesysid <> own.usesysid
                     where own.sessionid = pg_catalog.pg_current_sessid()))
   and not exists (select 1 from pg_catalog.pg_thread_wait_status as s
                    where s.sessionid = l.sessionid and coalesce(pg_catalog.length(s.db_name), 0) = 0)`;

type Asked = Pick<Connection, "query">;
type Seeing = Pick<Product, "activity">;

/** Locks and sessions are not read at one moment: who is missing from so many looks running is hidden. */
const looks = 3;

/** Ids of sessions that have locks and are hidden from our role; one statement where there are none. */
export async function hiddenSessions(
  connection: Asked,
  product: Seeing,
  signal: AbortSignal,
): Promise<readonly string[]> {
  let hidden = await readHidden(connection, product, signal);
  for (let look = 1; look < looks && hidden.length > 0; look++) {
    const now = await readHidden(connection, product, signal);
    hidden = hidden.filter((id) => now.includes(id));
  }
  return hidden;
}

async function readHidden(connection: Asked, product: Seeing, signal: AbortSignal): Promise<readonly string[]> {
  const rows = await connection.query(hiddenSql(product), [], signal);
  return rows.flatMap((row) => row["sessionid"] ?? []);
}

export function hiddenText(count: number): string {
  return `${count} ${count === 1 ? "session has" : "sessions have"} locks and cannot be seen by this role`;
}
