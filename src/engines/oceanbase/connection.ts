import type { LinkLost } from "../engine.ts";

/** One row: column names in capitals, every value the server's own text. */
export type Row = Readonly<Record<string, string | null>>;

/** Which of the server's views answer to our user. */
export type Views = Readonly<{
  schedulers: boolean;
  locks: boolean;
  /** GV$OB_LOCKS has ID3, and with it tells rows and tables apart. */
  lockId3: boolean;
  participants: boolean;
  locations: boolean;
}>;

/** What is known of the server and of our own session since the connection was opened. */
export type Server = Readonly<{
  mode: "oracle" | "mysql";
  version: string;
  tenant: string | null;
  /** Ours, as the server's own views call it. */
  sessionId: string;
  throughProxy: boolean;
  /** The proxy numbers sessions itself: what it lists and kills are not the server's ids. */
  proxySessionIds: boolean;
  views: Views;
}>;

/** One open session on an OceanBase server, with Lockwarden's own settings on it. */
export type Connection = Readonly<{
  server: Server;
  /** Runs one autocommit statement. Throws LinkLost when the connection is gone or silent, else the server's own error. */
  query(sql: string, signal: AbortSignal): Promise<readonly Row[]>;
  /** Why the connection is gone; null while it is open. */
  failure(): LinkLost | null;
  close(): Promise<void>;
}>;
