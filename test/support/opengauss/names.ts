import type { Version } from "./versions.ts";

// Which names mean something else on openGauss than on the PostgreSQL behind the double. All of them are looked up in the
// schema `gauss` there; what openGauss does not have is not in it, so that the server itself says that it is missing.

export const views: ReadonlySet<string> = new Set([
  "pg_stat_activity",
  "pg_locks",
  "pg_thread_wait_status",
  "pg_settings",
  "pg_proc",
  "pg_roles",
  "pg_database",
  "pg_class",
  "pg_namespace",
]);

export const functions: ReadonlySet<string> = new Set([
  "version",
  "opengauss_version",
  "working_version_num",
  "gs_deployment",
  "current_setting",
  "set_config",
  "pg_backend_pid",
  "pg_current_sessid",
  "pg_current_sessionid",
  "pg_terminate_backend",
  "pg_terminate_session",
  "pg_cancel_backend",
  "pg_cancel_session",
  "unnest",
  "pg_stat_get_wal_senders",
  "pg_stat_get_activity",
]);

/** Functions of later PostgreSQL releases. Seen live: the first six. The others came after 9.2 and are inferred. */
export const absentFunctions: ReadonlySet<string> = new Set([
  "pg_blocking_pids",
  "to_regclass",
  "array_position",
  "cardinality",
  "jsonb_build_object",
  "make_interval",
  "to_regproc",
  "to_regtype",
  "to_regrole",
  "to_regnamespace",
  "array_positions",
  "jsonb_agg",
  "jsonb_object_agg",
  "num_nulls",
  "num_nonnulls",
  "pg_current_xact_id",
  "pg_safe_snapshot_blocking_pids",
  "pg_lock_status",
  "pg_control_system",
  "pg_control_checkpoint",
  "txid_current_if_assigned",
  "starts_with",
  "gen_random_uuid",
]);

/** 9.5 and later. */
export const absentTypes: ReadonlySet<string> = new Set(["regnamespace", "regrole"]);

export type Setting = Readonly<{
  value: string;
  unit: string | null;
  /** Who may change it. */
  context: "user" | "superuser" | "sighup" | "postmaster" | "internal";
}>;

/** Settings that only openGauss has, and those that it has other values for. Recorded live, but the last two. */
export function settings(
  threadPool: boolean,
  compatibility: string,
  onlineDdlLock: boolean,
): Readonly<Record<string, Setting>> {
  return {
    enable_thread_pool: { value: threadPool ? "on" : "off", unit: null, context: "postmaster" },
    thread_pool_attr: { value: "4,1,(nobind)", unit: null, context: "postmaster" },
    enable_online_ddl_waitlock: { value: onlineDdlLock ? "on" : "off", unit: null, context: "sighup" },
    session_timeout: { value: "600", unit: "s", context: "user" },
    lockwait_timeout: { value: "1200000", unit: "ms", context: "superuser" },
    update_lockwait_timeout: { value: "120000", unit: "ms", context: "superuser" },
    sql_compatibility: { value: compatibility, unit: null, context: "internal" },
    server_version: { value: "9.2.4", unit: null, context: "internal" },
    server_version_num: { value: "90204", unit: null, context: "internal" },
    password_encryption_type: { value: "2", unit: null, context: "sighup" },
    auth_iteration_count: { value: "10000", unit: null, context: "sighup" },
  };
}

/** Seen live: lock_timeout. The others came after 9.2 and are inferred. */
export const unknownSettings: ReadonlySet<string> = new Set([
  "lock_timeout",
  "idle_session_timeout",
  "transaction_timeout",
  "client_connection_check_interval",
  "reserved_connections",
  "jit",
]);

/** `set role` and the like name no setting. */
export const settingVerbs: ReadonlySet<string> = new Set(["set", "show", "reset", "alter"]);

/** Words that this release cannot parse, and what it stumbles over. */
export function syntaxGaps(version: Version): readonly (readonly [words: readonly string[], near: number])[] {
  return [
    [["with", "ordinality"], 0],
    [["on", "conflict"], 1],
    [["as", "materialized", "("], 1],
    [["as", "not", "materialized"], 1],
    ...(version.filter ? [] : [[[")", "filter", "("], 2] as const]),
    ...(version.lateral ? [] : [[["lateral", "("], 1] as const]),
  ];
}
