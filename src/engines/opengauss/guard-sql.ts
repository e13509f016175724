import { ownApplication } from "../postgres/snapshot.ts";
import { lockText } from "./lock-text.ts";
import {
  initialUserId,
  internalApplications,
  maintenanceSql,
  maintenanceStatuses,
  syncStatus,
  walSender,
  walSenderThreads,
} from "./never-victims.ts";
import type { Product } from "./product.ts";

/** What the statement does to the one that it found. */
export type Signalling =
  | "pg_terminate_session"
  | "pg_terminate_backend"
  | "pg_cancel_session"
  | "pg_cancel_backend"
  /** Nothing: it only looks again. */
  | "none";

const calls: Readonly<Record<Signalling, string>> = {
  pg_terminate_session: "pg_catalog.pg_terminate_session(a.pid, a.sessionid)",
  pg_terminate_backend: "pg_catalog.pg_terminate_backend(a.pid)",
  pg_cancel_session: "pg_catalog.pg_cancel_session(a.pid, a.sessionid)",
  pg_cancel_backend: "pg_catalog.pg_cancel_backend(a.pid)",
  none: "true",
};

const list = (texts: readonly string[]) => texts.map((text) => `'${text}'`).join(", ");

/** Who queues ahead is confirmed by the one blocker that the server names; where it names none, only holders count. */
const queuesAhead = `
      or exists (select 1 from pg_catalog.pg_thread_wait_status as s join locks as q on q.sessionid = s.block_sessionid
        where s.tid = e.waiter and q.pid = e.blocker and not q.granted and q.lock = e.lock and q.mode = any (pg_catalog.string_to_array(e.against, ','))
          and not exists (select 1 from two_phase as p where p.lock = e.lock))`;

/**
 * The guarded signal: one row when the session is still what was judged, and then the signal is out. What takes time comes
 * first: conditions on no column of `a` are asked before its rows are (who still waits, behind whom; what its thread is
 * about), as a join with them would read the activity first and signal by what is old by then. The last of them throws away the copy of the activity that a statement may keep. WHERE decides before the select list signals.
 *
 * Written for the grammar of 9.2. An edge is confirmed by the waiter's own ungranted lock and a granted one of the blocker's
 * on it in a conflicting mode. Rows without a pid are prepared transactions: they block, but nobody is behind a session by them.
 */
export function actSql(
  signalling: Signalling,
  { activity, threadPool, lockTags, walSenders }: Pick<Product, "activity" | "threadPool" | "lockTags" | "walSenders">,
): string {
  const cancels = signalling === "pg_cancel_session" || signalling === "pg_cancel_backend";
  return `/* lockwarden:act */
with recursive
listed as (select l.pid, l.sessionid, l.locktype, l.transactionid, l.mode, l.granted, ${lockText({ lockTags })} as lock from pg_catalog.pg_locks as l),
edge as (
  select pg_catalog.unnest($10::int8[]) as waiter, pg_catalog.unnest($11::text[]) as node, pg_catalog.unnest($12::int8[]) as blocker,
         pg_catalog.unnest($13::text[]) as lock, pg_catalog.unnest($14::text[]) as mode, pg_catalog.unnest($15::text[]) as against,
         pg_catalog.unnest($16::bool[]) as counts),
locks as (
  select l.* from listed as l
   where l.pid is not null and (l.pid = $1::int8 or l.lock in (select e.lock from edge as e))),
two_phase as (select l.lock from listed as l where l.pid is null and l.granted),
confirmed as (
  select e.waiter, e.node, e.blocker, e.counts from edge as e
   where exists (select 1 from locks as w where w.pid = e.waiter and not w.granted and w.lock = e.lock and w.mode = e.mode
                    and (e.node = '?' or w.sessionid::text = e.node))
     and (exists (select 1 from locks as h where h.pid = e.blocker and h.granted and h.lock = e.lock and h.mode = any (pg_catalog.string_to_array(e.against, ',')))${lockTags ? queuesAhead : ""})),
behind(waiter) as (
  select c.waiter from confirmed as c where c.blocker = $1::int8
  union
  select c.waiter from behind as b join confirmed as c on c.blocker = b.waiter)
select ${calls[signalling]} as ok, a.pid::text as pid, a.sessionid::text as sessionid
  from ${activity} as a
 where case when
         ($9::int4 = 0 or (select count(distinct c.waiter) from behind as b join confirmed as c on c.waiter = b.waiter
                            where c.counts and c.waiter <> $1::int8) >= $9::int4)
     and ($17::text is null or (select count(*) from locks as w where w.pid = $1::int8 and w.sessionid = $2::int8
                                   and not w.granted and w.lock = $17::text and w.mode = $18::text) > 0)
     and ($20::bool or ((select count(*) from locks as w where w.pid = $1::int8 and w.sessionid = $2::int8 and w.locktype = 'transactionid'
                            and w.granted and w.mode = 'ExclusiveLock' and w.transactionid::text = coalesce($5::text, w.transactionid::text)) > 0) = ($5::text is not null))
     and not exists (select 1 from pg_catalog.pg_thread_wait_status as s where s.sessionid = $2::int8
       and (s.wait_status like '${syncStatus}%' or $19::bool and pg_catalog.split_part(s.wait_status, ':', 1) in (${list(maintenanceStatuses)})))${walSenders === true ? `\n     and not exists (select 1 from (${walSenderThreads}) as w where w.pid = $1::int8)` : ""}
       then (select count(*) from (select pg_catalog.pg_stat_clear_snapshot() offset 0) as fresh) = 1
       else false end
   and a.sessionid = $2::int8 and a.backend_start = $3::timestamptz
   and (a.pid = $1::int8${threadPool ? " or $20::bool" : ""})
   and ($20::bool or a.xact_start is not distinct from $4::timestamptz
     and case when a.state in ('active', 'idle', 'idle in transaction', 'idle in transaction (aborted)') then a.state
              when a.state <> 'disabled' then 'other' end = $6::text)
   and ($7::timestamptz is null or a.state_change = $7::timestamptz)
   and ($8::timestamptz is null or a.query_start = $8::timestamptz)${cancels ? "\n   and a.state = 'active'" : ""}
   and ($17::text is null or a.waiting)
   and ($9::int4 = 0 or $17::text is not null or not a.waiting)
   and (not $19::bool or a.state <> 'active' or a.query !~* '${maintenanceSql}')
   and a.client_port is not null and a.usesysid not in (0, ${initialUserId})${threadPool ? " and a.pid <> a.sessionid" : ""}
   and (a.application_name is null or a.application_name not in (${list(internalApplications)}) and a.application_name not like '${walSender}%')
   and a.pid <> pg_catalog.pg_backend_pid()
   and (a.application_name is null or a.application_name <> '${ownApplication}' or pg_catalog.pg_get_userbyid(a.usesysid) <> current_user)`;
}

/** Only to tell two outcomes apart, after nothing was sent. */
export const afterwardsSql = ({ activity }: Pick<Product, "activity">) => `/* lockwarden:act-afterwards */
select a.xact_start is null as without_transaction
  from ${activity} as a where a.sessionid = $1::int8 and a.backend_start = $2::timestamptz`;
