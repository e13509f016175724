/** One row; every value is the server's own text (no Date, no number: both lose digits). */
export type Row = Readonly<Record<string, string | null>>;
export type Value = string | null | readonly (string | null)[];

/** One open session on a PostgreSQL server, with Lockwarden's own settings on it. */
export type Connection = Readonly<{
  /** pg_backend_pid() of this session. */
  pid: string;
  /** server_version_num, such as 180004. */
  versionNumber: number;
  /** Runs one autocommit statement. Throws LinkLost when the connection is gone or silent, else the server's own error. */
  query(sql: string, values: readonly Value[], signal: AbortSignal): Promise<readonly Row[]>;
  /**
   * The same, for a statement that is sent again and again: the server parses and plans it once for each session. Not for
   * the guarded one, whose plan must be made for its values.
   */
  queryPrepared(sql: string, values: readonly Value[], signal: AbortSignal): Promise<readonly Row[]>;
  isOpen(): boolean;
  close(): Promise<void>;
}>;
