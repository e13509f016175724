import { listed, proxySessionId } from "./show.ts";
import { named, ofTenant, type Row, type Scope, server, stamp, transactionId, type View } from "./view.ts";
import { isFrom, type Session, tenantId } from "./world.ts";

const processColumns =
  "SVR_IP SVR_PORT:int8 SQL_PORT:int8 ID:int8 USER HOST DB TENANT COMMAND TIME:numeric TOTAL_TIME:numeric STATE INFO PROXY_SESSID:int8 MASTER_SESSID:int8 USER_CLIENT_IP USER_HOST RETRY_CNT:int8 RETRY_INFO:int8 SQL_ID TRANS_ID:int8 THREAD_ID:int8 SSL_CIPHER TRACE_ID TRANS_STATE ACTION MODULE CLIENT_INFO";
const columnsFrom42 =
  "LEVEL:int8 SAMPLE_PERCENTAGE:int8 RECORD_POLICY LB_VID LB_VIP LB_VPORT:int8 IN_BYTES:int8 OUT_BYTES:int8 USER_CLIENT_PORT:int8";
const columnsFrom43 = "SERVICE_NAME TOTAL_CPU_TIME:numeric TOP_INFO MEMORY_USAGE:int8";

export function processlist({ session, world }: Scope): View {
  const columns = named(processColumns);
  if (isFrom(world, "4.2")) columns.push(...named(columnsFrom42));
  if (isFrom(world, "4.3")) columns.push(...named(columnsFrom43));
  const hasDecimals = isFrom(world, session.mode === "oracle" ? "4.3" : "4.2.1");
  const rows = listed(session, world).map((one): Row => {
    const seconds = (performance.now() - one.since) / 1000;
    const time = hasDecimals ? seconds.toFixed(6) : Math.floor(seconds);
    return { ...processRow(one), SQL_PORT: world.port(), TIME: time, TOTAL_TIME: time };
  });
  return { columns, rows };
}

function processRow(one: Session): Row {
  const triesToLock = one.command === "Query" && one.table !== null;
  return {
    ...server,
    ID: one.id,
    USER: one.user,
    HOST: one.host,
    DB: one.database ?? "NULL",
    TENANT: one.tenant,
    COMMAND: one.command,
    STATE: one.state,
    INFO: one.info,
    PROXY_SESSID: one.proxyId === null ? null : proxySessionId(one.proxyId),
    USER_CLIENT_IP: one.host.split(":")[0] ?? "",
    USER_HOST: "%",
    RETRY_CNT: triesToLock ? 1 : 0,
    RETRY_INFO: triesToLock ? -6005 : 0,
    SQL_ID: "",
    TRANS_ID: transactionId(one),
    THREAD_ID: one.command === "Query" ? 1 : 0,
    TRACE_ID: traceOf(one),
    TRANS_STATE: transactionState(one),
    ACTION: "",
    MODULE: one.module,
    CLIENT_INFO: "",
    LEVEL: 1,
    SAMPLE_PERCENTAGE: 10,
    RECORD_POLICY: "SAMPLE_AND_SLOW_QUERY",
    IN_BYTES: 0,
    OUT_BYTES: 0,
    USER_CLIENT_PORT: 0,
    SERVICE_NAME: "",
    TOTAL_CPU_TIME: "0",
    TOP_INFO: "",
    MEMORY_USAGE: 0,
  };
}

/** A running statement's own; a session that sleeps has none. */
function traceOf({ command, id, statements }: Session): string | null {
  if (command !== "Query") return null;
  return `YB427F000001-${id.toString(16).padStart(16, "0").toUpperCase()}-${statements}-0`;
}

function transactionState({ transaction }: Session): string {
  if (transaction === null) return "";
  return transaction.explicit ? "ACTIVE" : "IMPLICIT_ACTIVE";
}

const schedulerColumns =
  "TENANT_ID:int8 SVR_IP SVR_PORT:int8 SESSION_ID:int8 TX_ID:int8 STATE CLUSTER_ID:int8 COORDINATOR:int8 PARTICIPANTS ISOLATION_LEVEL SNAPSHOT_VERSION:int8 ACCESS_MODE TX_OP_SN:int8 ACTIVE_TIME:timestamp EXPIRE_TIME:timestamp CAN_EARLY_LOCK_RELEASE FORMATID:int8 GLOBALID BRANCHID";

export function schedulers(scope: Scope): View {
  const rows = ofTenant(scope).flatMap((one): Row[] => {
    if (one.transaction === null) return [];
    const { id, explicit, startedAt } = one.transaction;
    const row = {
      ...server,
      TENANT_ID: tenantId(one),
      SESSION_ID: one.id,
      TX_ID: id,
      STATE: explicit ? "EXPLICIT_ACTIVE" : "IMPLICIT_ACTIVE",
      CLUSTER_ID: 1,
      COORDINATOR: -1,
      ISOLATION_LEVEL: "READ COMMITTED",
      ACCESS_MODE: "READ_WRITE",
      TX_OP_SN: 1,
      ACTIVE_TIME: stamp(startedAt),
      EXPIRE_TIME: stamp(startedAt + 86_400_000),
      CAN_EARLY_LOCK_RELEASE: "FALSE",
      FORMATID: -1,
    };
    return [row];
  });
  return { columns: named(schedulerColumns), rows };
}

const participantColumns =
  "TENANT_ID:int8 SVR_IP SVR_PORT:int8 SESSION_ID:int8 SCHEDULER_ADDR TX_TYPE TX_ID:int8 LS_ID:int8 PARTICIPANTS CTX_CREATE_TIME:timestamp TX_EXPIRED_TIME:timestamp STATE ACTION PENDING_LOG_SIZE:int8 FLUSHED_LOG_SIZE:int8 ROLE COORDINATOR:int8 LAST_REQUEST_TIME:timestamp";

/** A transaction has participants only once it has written. */
export function participants(scope: Scope): View {
  const rows = ofTenant(scope).flatMap((one): Row[] => {
    if (one.transaction === null || !scope.locks.writers.has(one.backendPid)) return [];
    const { id, startedAt } = one.transaction;
    const row = {
      ...server,
      TENANT_ID: tenantId(one),
      SESSION_ID: one.id,
      SCHEDULER_ADDR: '"127.0.0.1:2882"',
      TX_TYPE: "UNDECIDED",
      TX_ID: id,
      LS_ID: 1001,
      CTX_CREATE_TIME: stamp(startedAt),
      TX_EXPIRED_TIME: stamp(startedAt + 86_400_000),
      STATE: "ACTIVE",
      ACTION: "START",
      PENDING_LOG_SIZE: 1,
      FLUSHED_LOG_SIZE: 0,
      ROLE: "LEADER",
      COORDINATOR: -1,
      LAST_REQUEST_TIME: stamp(startedAt),
    };
    return [row];
  });
  return { columns: named(participantColumns), rows };
}
