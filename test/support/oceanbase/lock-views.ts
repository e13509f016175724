import { type Hold, type Locks, lockMode, tableId, tabletId, type Wait } from "./locks.ts";
import { named, ofTenant, type Row, type Scope, server, transactionId, type View } from "./view.ts";
import { isFrom, type Session, tenantId, type World } from "./world.ts";

const newColumns =
  "SVR_IP SVR_PORT:int8 TENANT_ID:int8 TRANS_ID:int8 SESSION_ID:int8 TYPE ID1:int8 ID2:int8 ID3 LMODE REQUEST CTIME:int8 BLOCK:int8";
/** Without ID3; a row's key stands in ID2. */
const oldColumns =
  "SVR_IP SVR_PORT:int8 TENANT_ID:int8 TRANS_ID:int8 SESSION_ID:int8 TYPE ID1 ID2 LMODE REQUEST CTIME:int8 BLOCK:int8";

/** Waiters, whom ID1 and ID2 name the holder for, and holders. */
export function obLocks(scope: Scope): View {
  const { world, locks } = scope;
  const sessions = new Map(ofTenant(scope).map((one) => [one.backendPid, one]));
  const found: Row[] = [
    ...locks.waits.flatMap((wait) => waitRows(wait, sessions, scope)),
    ...[...sessions.values()].flatMap((one) =>
      locks.writers.has(one.backendPid) ? [{ ...held(one), TYPE: "TX", ID2: one.id }] : [],
    ),
    ...locks.holds.flatMap((hold) => tableRows(hold, sessions, world)),
  ];
  // Two who wait for one row tell twice who holds it.
  const rows = [...new Map(found.map((row) => [Object.values(row).map(String).join(" "), row])).values()];
  if (isFrom(world, "4.2.1")) return { columns: named(newColumns), rows };
  const older = rows.map((row) => (row["TYPE"] === "TR" ? { ...row, ID2: row["ID3"] ?? null } : row));
  return { columns: named(oldColumns), rows: older };
}

type Sessions = ReadonlyMap<number, Session>;

function waitRows(wait: Wait, sessions: Sessions, { world, locks }: Scope): Row[] {
  const waiter = sessions.get(wait.waiter);
  const holder = sessions.get(wait.holder);
  if (waiter === undefined || holder === undefined) return [];
  const isRow = wait.row !== null;
  const key = isRow ? rowKey(wait, waiter, locks) : null;
  const waiting = {
    ...server,
    TENANT_ID: tenantId(waiter),
    TRANS_ID: transactionId(waiter),
    SESSION_ID: world.switches.waiterIds === "exact" ? waiter.id : 134_217_728,
    TYPE: isRow ? "TR" : "TM",
    ID1: transactionId(holder),
    ID2: shownHolder(holder, world),
    ID3: key,
    LMODE: "NONE",
    REQUEST: isRow ? "X" : lockMode(wait.mode),
    CTIME: wait.microseconds,
    BLOCK: 1,
  };
  return isRow ? [waiting, { ...held(holder), TYPE: "TR", ID2: holder.id, ID3: key }] : [waiting];
}

function tableRows({ holder: pid, relation, mode }: Hold, sessions: Sessions, world: World): Row[] {
  const holder = sessions.get(pid);
  if (holder === undefined) return [];
  const ids = { TYPE: "TM", ID2: shownHolder(holder, world), ID3: String(tabletId(relation)) };
  return [{ ...held(holder), ...ids, LMODE: lockMode(mode) }];
}

function held(holder: Session): Row {
  const { transaction } = holder;
  return {
    ...server,
    TENANT_ID: tenantId(holder),
    TRANS_ID: transactionId(holder),
    SESSION_ID: holder.id,
    ID1: transactionId(holder),
    LMODE: "X",
    REQUEST: "NONE",
    CTIME: transaction === null ? 0 : Math.round((Date.now() - transaction.startedAt) * 1000),
    BLOCK: 0,
  };
}

/** 4294967295 is the server's own word for an id that it does not have. */
function shownHolder(holder: Session, { switches }: World): number {
  if (typeof switches.holderIds === "number") return switches.holderIds;
  if (switches.holderIds === "exact") return holder.id;
  return switches.holderIds === "invalid" ? 4_294_967_295 : 0;
}

/** `tablet-key`. PostgreSQL does not always name the table that a wait is about; the statement does. */
function rowKey(wait: Wait, waiter: Session, { relations }: Locks): string {
  const meant = relations.find(({ schema, name }) => `${schema}.${name}` === waiter.table);
  const relation = wait.relation ?? meant?.oid;
  return `${relation === undefined ? 0 : tabletId(relation)}-{"ROW":${wait.row}}`;
}

const locationColumns =
  "DATABASE_NAME TABLE_NAME TABLE_ID:int8 TABLE_TYPE PARTITION_NAME SUBPARTITION_NAME INDEX_NAME DATA_TABLE_ID:int8 TABLET_ID:int8 LS_ID:int8 ZONE SVR_IP SVR_PORT:int8 ROLE REPLICA_TYPE";

/** A leader and a follower of every tablet; an index has a tablet of its own. */
export function locations({ session, locks }: Scope): View {
  const shown = (stored: string) => (session.mode === "oracle" ? stored.toUpperCase() : stored);
  const rows = locks.relations.flatMap(({ oid, schema, name, kind, owner }) => {
    const index = {
      TABLE_NAME: shown(`__idx_${tableId(owner ?? 0)}_${name}`),
      TABLE_TYPE: "INDEX",
      INDEX_NAME: shown(name),
      DATA_TABLE_ID: tableId(owner ?? 0),
    };
    const table = { TABLE_NAME: shown(name), TABLE_TYPE: "USER TABLE" };
    const tablet = {
      DATABASE_NAME: shown(schema),
      ...(kind === "i" ? index : table),
      TABLE_ID: tableId(oid),
      TABLET_ID: tabletId(oid),
      LS_ID: 1001,
      REPLICA_TYPE: "FULL",
    };
    return [
      { ...tablet, ...server, ZONE: "zone1", ROLE: "LEADER" },
      { ...tablet, ...server, ZONE: "zone2", SVR_IP: "127.0.0.2", ROLE: "FOLLOWER" },
    ];
  });
  return { columns: named(locationColumns), rows };
}
