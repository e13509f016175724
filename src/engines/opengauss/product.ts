/** What the server is and what it offers; asked once, when a connection is opened. */
export type Product = Readonly<{
  name: "openGauss" | "GaussDB";
  version: string;
  /** enable_thread_pool */
  threadPool: boolean;
  terminateSession: boolean;
  cancelSession: boolean;
  /**
   * Where sessions are read. The view joins pg_database and pg_authid, and so leaves out the session of a user who has been
   * dropped; the function reads no table. Where it should not be, the view serves.
   */
  activity: "pg_catalog.pg_stat_get_activity(null)" | "pg_catalog.pg_stat_activity";
  /** pg_locks.locktag and block_sessionid are there */
  lockTags: boolean;
  /** pg_stat_get_wal_senders() answers this role: a logical one keeps the name that its client gave itself */
  walSenders?: boolean;
  /** an empty string is NULL in this database */
  emptyIsNull: boolean;
  /** what ALTER SYSTEM KILL SESSION calls here; null: not asked or unknown */
  killSession: "pg_terminate_session" | "pg_terminate_backend" | null;
}>;
