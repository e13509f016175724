import type { LinkLost } from "../engine.ts";

/** One row: names of columns in capitals; every value is the server's own text (no Date, no number: both lose digits). */
export type Row = Readonly<Record<string, string | null>>;

/** What the server says of itself and of this session. */
export type Server = Readonly<{
  mode: "oracle" | "mysql";
  version: string;
  tenant: string | null;
  /** Of this session, as the views list it. Never the one of the greeting: that may be a proxy's. */
  sessionId: string;
  throughProxy: boolean;
  /** The ids that SHOW PROCESSLIST and KILL know here are the proxy's own, not the server's. */
  proxySessionIds: boolean;
  /** What this user may read here, and this version has. */
  views: Views;
}>;

export type Views = Readonly<{
  schedulers: boolean;
  locks: boolean;
  lockId3: boolean;
  participants: boolean;
  locations: boolean;
  /** DBA_OBJECTS, which knows the tablets of tables too: where there are no locations. */
  objects: boolean;
  /** Sessions are listed with the address of their server; not in one that has a single server. */
  addresses: boolean;
}>;

/** One open session on an OceanBase server. */
export type Connection = Readonly<{
  server: Server;
  /** Runs one autocommit statement. Throws LinkLost when the connection is gone or silent, else the server's own error. */
  query(sql: string, signal: AbortSignal): Promise<readonly Row[]>;
  /** Why it is not open any more; null: it is. */
  failure(): LinkLost | null;
  close(): Promise<void>;
}>;
