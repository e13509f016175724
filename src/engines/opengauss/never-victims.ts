// Whom no signal may reach on these servers, whatever a rule says. There is no backend_type: what a client is shows by its port.

/** The first user of a cluster, which owns it; the server's own threads run as this one too. */
export const initialUserId = "10";

/** What the server's own threads call themselves. They have no client port; that is the rule, and these names are its second lock. */
export const internalApplications: readonly string[] = [
  "WLMArbiter",
  "WorkloadMonitor",
  "workload",
  "JobScheduler",
  "JobWorker",
  "ApplyLauncher",
  "ApplyWorker",
  "CfsShrinker",
  "statement flush thread",
  "clean statement thread",
  "Asp",
  "PercentileJob",
  "AutoVacLauncher",
  "AutoVacWorker",
  "WDRSnapshot",
  "TxnSnapCapturer",
  "TxnSnapWorker",
  "UndoLauncher",
  "UndoWorker",
  "ThreadPoolWorker",
  "ThreadPoolListener",
  "ThreadPoolScheduler",
  "CheckPointer",
  "Wal Writer",
  "SqlLimit",
  "ComputePoolMonitor",
  "statctl",
  "LWLock Monitor",
  "stack perf",
  "RbCleaner",
];

/** `WalSender to Standby[…]`; one of logical replication keeps the name that its client gave itself. */
export const walSender = "WalSender";

/** Threads that send WAL, whatever they call themselves. */
export const walSenderThreads = "select w.pid from pg_catalog.pg_stat_get_wal_senders() as w where w.pid is not null";

/** Statements that leave something half done when they are ended; there are no progress views. Begins one, comments aside. */
const maintenanceWords =
  "(vacuum|analyze|analyse|reindex|cluster|create[[:space:]]+(unique[[:space:]]+)?index|refresh[[:space:]]+materialized)";

/** For the server's `~*`. */
export const maintenanceSql = `^[[:space:]]*(/[*].*[*]/[[:space:]]*)?${maintenanceWords}`;

const maintenance = new RegExp(maintenanceSql.replaceAll("[[:space:]]", "\\s").replace(".*", "[^]*"), "i");

export function isMaintenance(query: string): boolean {
  return maintenance.test(query);
}

/** What the server says of a thread in its wait status while it does such work, also from within a function. */
export const maintenanceStatuses: readonly string[] = ["create index", "analyze", "vacuum", "vacuum full"];

/** Its commit waits for a standby: a cancel would report success without the standby having it. */
export const syncStatus = "wait wal sync";
