import { privilegesOf } from "./accounts.ts";
import { type Locks, lockMode, tableId, tabletId, type Wait } from "./locks.ts";
import { listed, proxySessionId } from "./show.ts";
import { literal } from "./translate.ts";
import { isFrom, type Mode, type Session, tenantId, type World } from "./world.ts";

type Value = string | number | bigint | null;
type Row = readonly Value[];
/** A view's columns, with PostgreSQL's types, and its rows. */
type View = Readonly<{ columns: readonly (readonly [name: string, type: string])[]; rows: readonly Row[] }>;
type Scope = Readonly<{ session: Session; world: World; locks: Locks }>;

const always = ["gv$ob_processlist", "gv$ob_transaction_participants", "dba_ob_table_locations"];
const oracleViews = ["session_privs", "user_sys_privs", "dba_sys_privs"];
const mysqlViews = ["innodb_trx", "innodb_locks", "innodb_lock_waits", "user_privileges"];

/** The views that a server of this version has, in lower case. */
export function knownViews(world: World, mode: Mode): Set<string> {
  const known = new Set([...always, ...(mode === "oracle" ? oracleViews : mysqlViews)]);
  if (isFrom(world, "4.2")) known.add("gv$ob_locks");
  if (isFrom(world, "4.2.1")) known.add("gv$ob_transaction_schedulers");
  return known;
}

/** The view as a common table expression, its rows as they are now. */
export function asTable(name: string, scope: Scope): string {
  const { columns, rows } = viewOf(name, scope);
  const noText =
    scope.session.mode === "oracle" ? (value: Value) => (value === "" ? null : value) : (value: Value) => value;
  const json = rows.map((row) =>
    Object.fromEntries(columns.map(([column], at) => [column.toLowerCase(), text(noText(row[at] ?? null))])),
  );
  const types = columns.map(([column, type]) => `"${column.toLowerCase()}" ${type}`).join(", ");
  return `"${name}" as (select * from json_to_recordset(${literal(JSON.stringify(json))}::json) as t(${types}))`;
}

const text = (value: Value) => (value === null ? null : String(value));

function viewOf(name: string, scope: Scope): View {
  switch (name) {
    case "gv$ob_processlist":
      return processlist(scope);
    case "gv$ob_locks":
      return obLocks(scope);
    case "gv$ob_transaction_schedulers":
      return schedulers(scope);
    case "gv$ob_transaction_participants":
      return participants(scope);
    case "dba_ob_table_locations":
      return locations(scope);
    case "innodb_trx":
      return {
        columns: named("trx_id:text trx_state:text trx_started:timestamp trx_mysql_thread_id:int8"),
        rows: [["0", "", stamp(Date.now()), 0]],
      };
    case "innodb_locks":
      return {
        columns: named("lock_id:text lock_trx_id:text lock_mode:text lock_type:text lock_table:text"),
        rows: [["0", "0", "", "", ""]],
      };
    case "innodb_lock_waits":
      return {
        columns: named("requesting_trx_id:text requested_lock_id:text blocking_trx_id:text blocking_lock_id:text"),
        rows: [["0", "0", "0", "0"]],
      };
    default:
      return privileges(name, scope);
  }
}

function named(list: string): [string, string][] {
  return list.split(/\s+/).map((part) => {
    const [name = "", type = "text"] = part.split(":");
    return [name, type];
  });
}

function processlist({ session, world }: Scope): View {
  const columns = named(
    "SVR_IP SVR_PORT:int8 SQL_PORT:int8 ID:int8 USER HOST DB TENANT COMMAND TIME:numeric TOTAL_TIME:numeric STATE INFO PROXY_SESSID:int8 MASTER_SESSID:int8 USER_CLIENT_IP USER_HOST RETRY_CNT:int8 RETRY_INFO:int8 SQL_ID TRANS_ID:int8 THREAD_ID:int8 SSL_CIPHER TRACE_ID TRANS_STATE ACTION MODULE CLIENT_INFO",
  );
  if (isFrom(world, "4.2"))
    columns.push(
      ...named(
        "LEVEL:int8 SAMPLE_PERCENTAGE:int8 RECORD_POLICY LB_VID LB_VIP LB_VPORT:int8 IN_BYTES:int8 OUT_BYTES:int8 USER_CLIENT_PORT:int8",
      ),
    );
  if (isFrom(world, "4.3")) columns.push(...named("SERVICE_NAME TOTAL_CPU_TIME:numeric TOP_INFO MEMORY_USAGE:int8"));
  const fine = isFrom(world, session.mode === "oracle" ? "4.3" : "4.2.1");
  const rows = listed(session, world).map((one): Row => {
    const seconds = (performance.now() - one.since) / 1000;
    const time = fine ? seconds.toFixed(6) : Math.floor(seconds);
    const [clientIp = ""] = one.host.split(":");
    const head = [
      "127.0.0.1",
      2882,
      world.port(),
      one.id,
      one.user,
      one.host,
      one.database ?? "NULL",
      one.tenant,
      one.command,
    ];
    const middle = [
      time,
      time,
      one.state,
      one.info,
      one.proxyId === null ? null : proxySessionId(one.proxyId),
      null,
      clientIp,
      "%",
      waits(one) ? 1 : 0,
      waits(one) ? -6005 : 0,
      "",
    ];
    const tail = [
      transactionId(one),
      one.command === "Query" ? one.id % 1000 : 0,
      null,
      null,
      transactionState(one),
      "",
      "",
      "",
    ];
    return [...head, ...middle, ...tail, 1, 10, "SAMPLE_AND_SLOW_QUERY", null, null, null, 0, 0, 0, "", "0", "", 0];
  });
  return { columns, rows };
}

const waits = (session: Session) => session.command === "Query" && session.table !== null;
const transactionId = ({ transaction }: Session) => transaction?.id ?? 0n;

function transactionState({ transaction }: Session): string {
  if (transaction === null) return "";
  return transaction.explicit ? "ACTIVE" : "IMPLICIT_ACTIVE";
}

/** Whoever is of the tenant is seen here, whoever asks: only the list of sessions hides people. */
function ofTenant({ session, world }: Scope): Session[] {
  return [...world.sessions.values()].filter(({ tenant }) => session.tenant === "sys" || tenant === session.tenant);
}

function obLocks(scope: Scope): View {
  const { world, locks } = scope;
  const hasKey = isFrom(world, "4.2.1");
  const sessions = new Map(ofTenant(scope).map((one) => [one.backendPid, one]));
  const columns = named(
    `SVR_IP SVR_PORT:int8 TENANT_ID:int8 TRANS_ID:int8 SESSION_ID:int8 TYPE ID1:${hasKey ? "int8" : "text"} ID2:${hasKey ? "int8" : "text"} ${hasKey ? "ID3 " : ""}LMODE REQUEST CTIME:int8 BLOCK:int8`,
  );
  const row = (of: Session, ids: readonly Value[], rest: readonly Value[]): Row => {
    const [type = "", id1 = null, id2 = null, key = null] = ids;
    const shown = hasKey ? [type, id1, id2, key] : [type, id1, type === "TR" ? key : id2];
    return ["127.0.0.1", 2882, tenantId(of), ...shown, ...rest];
  };
  const rows: Row[] = [];
  for (const wait of locks.waits) {
    const waiter = sessions.get(wait.waiter);
    const holder = sessions.get(wait.holder);
    if (waiter === undefined || holder === undefined) continue;
    const key = rowKey(wait, waiter, locks);
    const ids = [wait.row === null ? "TM" : "TR", transactionId(holder), shownHolder(holder, world), key];
    const shownWaiter = world.switches.waiterIds === "exact" ? waiter.id : 134_217_728;
    rows.push(
      withOwner(
        row(waiter, ids, ["NONE", wait.row === null ? lockMode(wait.mode) : "X", wait.microseconds, 1]),
        waiter,
        shownWaiter,
      ),
    );
    if (wait.row !== null)
      rows.push(
        withOwner(
          row(holder, ["TR", transactionId(holder), holder.id, key], ["X", "NONE", heldFor(holder), 0]),
          holder,
        ),
      );
  }
  for (const holder of sessions.values()) {
    if (locks.writers.has(holder.backendPid))
      rows.push(
        withOwner(
          row(holder, ["TX", transactionId(holder), holder.id, null], ["X", "NONE", heldFor(holder), 0]),
          holder,
        ),
      );
  }
  for (const { holder: pid, relation, mode } of locks.holds) {
    const holder = sessions.get(pid);
    if (holder === undefined) continue;
    const ids = ["TM", transactionId(holder), shownHolder(holder, world), String(tabletId(relation))];
    rows.push(withOwner(row(holder, ids, [lockMode(mode), "NONE", heldFor(holder), 0]), holder));
  }
  // Two who wait for one row tell twice who holds it.
  return { columns, rows: [...new Map(rows.map((one) => [JSON.stringify(one, withBigInts), one])).values()] };
}

const withBigInts = (_key: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);

/** TRANS_ID and SESSION_ID stand behind the tenant. */
function withOwner(row: Row, owner: Session, shownId: number = owner.id): Row {
  return row.toSpliced(3, 0, transactionId(owner), shownId);
}

const heldFor = ({ transaction }: Session) =>
  transaction === null ? 0 : Math.round((Date.now() - transaction.startedAt) * 1000);

/** 4294967295 is the server's own word for an id that it does not have. */
function shownHolder(holder: Session, { switches }: World): number {
  if (switches.holderIds === "exact") return holder.id;
  return switches.holderIds === "invalid" ? 4_294_967_295 : 0;
}

/** A row's is `tablet-key`; a table lock that somebody waits for has none. */
function rowKey(wait: Wait, waiter: Session, { relations }: Locks): string | null {
  if (wait.row === null) return null;
  const meant = relations.find(({ schema, name }) => `${schema}.${name}` === waiter.table);
  const relation = wait.relation ?? meant?.oid;
  return `${relation === undefined ? 0 : tabletId(relation)}-{(${wait.row})}`;
}

function schedulers(scope: Scope): View {
  const columns = named(
    "TENANT_ID:int8 SVR_IP SVR_PORT:int8 SESSION_ID:int8 TX_ID:int8 STATE CLUSTER_ID:int8 COORDINATOR:int8 PARTICIPANTS ISOLATION_LEVEL SNAPSHOT_VERSION:int8 ACCESS_MODE TX_OP_SN:int8 ACTIVE_TIME:timestamp EXPIRE_TIME:timestamp CAN_EARLY_LOCK_RELEASE FORMATID:int8 GLOBALID BRANCHID",
  );
  const rows = ofTenant(scope).flatMap((one): Row[] => {
    if (one.transaction === null) return [];
    const { id, explicit, startedAt } = one.transaction;
    const head = [
      tenantId(one),
      "127.0.0.1",
      2882,
      one.id,
      id,
      explicit ? "EXPLICIT_ACTIVE" : "IMPLICIT_ACTIVE",
      1,
      -1,
      null,
    ];
    return [
      [
        ...head,
        "READ COMMITTED",
        null,
        "READ_WRITE",
        1,
        stamp(startedAt),
        stamp(startedAt + 86_400_000),
        "FALSE",
        -1,
        null,
        null,
      ],
    ];
  });
  return { columns, rows };
}

/** A transaction has participants only once it has written. */
function participants(scope: Scope): View {
  const columns = named(
    "TENANT_ID:int8 SVR_IP SVR_PORT:int8 SESSION_ID:int8 SCHEDULER_ADDR TX_TYPE TX_ID:int8 LS_ID:int8 PARTICIPANTS CTX_CREATE_TIME:timestamp TX_EXPIRED_TIME:timestamp STATE ACTION PENDING_LOG_SIZE:int8 FLUSHED_LOG_SIZE:int8 ROLE COORDINATOR:int8 LAST_REQUEST_TIME:timestamp",
  );
  const rows = ofTenant(scope).flatMap((one): Row[] => {
    if (one.transaction === null || !scope.locks.writers.has(one.backendPid)) return [];
    const { id, startedAt } = one.transaction;
    const head = [tenantId(one), "127.0.0.1", 2882, one.id, '"127.0.0.1:2882"', "UNDECIDED", id, 1001, null];
    return [
      [
        ...head,
        stamp(startedAt),
        stamp(startedAt + 86_400_000),
        "ACTIVE",
        "START",
        1,
        0,
        "LEADER",
        -1,
        stamp(startedAt),
      ],
    ];
  });
  return { columns, rows };
}

/** A leader and a follower of every tablet; an index has a tablet of its own. */
function locations({ session, locks }: Scope): View {
  const columns = named(
    "DATABASE_NAME TABLE_NAME TABLE_ID:int8 TABLE_TYPE PARTITION_NAME SUBPARTITION_NAME INDEX_NAME DATA_TABLE_ID:int8 TABLET_ID:int8 LS_ID:int8 ZONE SVR_IP SVR_PORT:int8 ROLE REPLICA_TYPE",
  );
  const name = (stored: string) => (session.mode === "oracle" ? stored.toUpperCase() : stored);
  const rows = locks.relations.flatMap(({ oid, schema, name: relation, kind, owner }) => {
    const isIndex = kind === "i";
    const table = isIndex ? `__idx_${tableId(owner ?? 0)}_${relation}` : relation;
    const head = [name(schema), name(table), tableId(oid), isIndex ? "INDEX" : "USER TABLE", null, null];
    const data = isIndex ? [name(relation), tableId(owner ?? 0)] : [null, null];
    return ["LEADER", "FOLLOWER"].map(
      (role, at): Row => [
        ...head,
        ...data,
        tabletId(oid),
        1001,
        `zone${at + 1}`,
        `127.0.0.${at + 1}`,
        2882,
        role,
        "FULL",
      ],
    );
  });
  return { columns, rows };
}

function privileges(name: string, { session, world }: Scope): View {
  const account = world.accounts.find(session.tenant, session.user);
  const held = account === undefined ? [] : privilegesOf(account, session.mode);
  switch (name) {
    case "session_privs":
      return { columns: named("PRIVILEGE"), rows: held.map((one) => [one]) };
    case "user_privileges":
      return {
        columns: named("GRANTEE TABLE_CATALOG PRIVILEGE_TYPE IS_GRANTABLE"),
        rows: held.map((one) => [`'${session.user}'@'%'`, "def", one, "NO"]),
      };
    default:
      return {
        columns: named(`${name === "dba_sys_privs" ? "GRANTEE" : "USERNAME"} PRIVILEGE ADMIN_OPTION`),
        rows: held.map((one) => [session.user, one, "NO"]),
      };
  }
}

/** Milliseconds since 1970 as a timestamp of UTC. */
function stamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace("T", " ").replace("Z", "");
}
