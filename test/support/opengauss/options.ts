import type { SecureContextOptions } from "node:tls";
import type { EmbeddedPostgres } from "../../../src/demo/embedded-postgres.ts";
import type { Method } from "./accounts.ts";
import type { Signalled } from "./ledger.ts";
import type { KillGrammar, Version, VersionName } from "./versions.ts";

export type Options = Readonly<{
  threadPool?: boolean;
  /** Default: a 7.0.0-RC2. */
  version?: VersionName | Version;
  /** Default: the version's own. */
  killGrammar?: KillGrammar;
  /** More functions that are not there, such as pg_terminate_session. */
  missing?: readonly string[];
  /** False: a database of another compatibility than A, where '' is not NULL. */
  emptyIsNull?: boolean;
  /** enable_online_ddl_waitlock: nobody may signal anybody. */
  onlineDdlLock?: boolean;
  /** Threads of the pool at the start. */
  workers?: number;
  /** With it the front speaks TLS to whoever asks. */
  tls?: SecureContextOptions;
  /** More settings of the PostgreSQL behind. */
  backend?: Readonly<Record<string, string>>;
}>;

export type NewUser = Readonly<{
  name: string;
  password?: string;
  sysadmin?: boolean;
  /** Sees everybody's sessions. */
  monadmin?: boolean;
  /** Member of gs_role_signal_backend. */
  signalBackend?: boolean;
  /** Nobody but a sysadmin may signal it. */
  persistence?: boolean;
  /** How it is asked for its password; default md5, which the stock driver can answer. */
  auth?: Method;
  iterations?: number;
  forged?: boolean;
}>;

export type Heard = Readonly<{ user: string; sessionId: string; sql: string }>;

export type OpenGaussDouble = Readonly<{
  /** Of `dba`, a sysadmin who logs in by md5, unless another user is named; with the password. */
  url(user?: string, database?: string): string;
  port: number;
  threadPool: boolean;
  createUser(user: NewUser): Promise<void>;
  /** Statements that came in, in their order and as they were sent. */
  sqlLog: readonly Heard[];
  /** Users who answered when they were asked for a password, rightly or not. */
  answers: readonly string[];
  /** Signals that were sent to sessions and workers. */
  signalled: readonly Signalled[];
  /** Thread pool off: whether the next session gets the id of the one that ended last, as on a real server. Default: yes. */
  recycleIds(on: boolean): void;
  /** As in a database of compatibility B whose sql_mode lacks pipes_as_concat: `||` means or. */
  pipesMeanOr(on: boolean): void;
  killGrammar: KillGrammar;
  /** What version() says from now on. */
  setVersion(text: string): void;
  /** The PostgreSQL behind. Sessions that go there directly are shown as ones that are not pooled. */
  backend: EmbeddedPostgres;
  stop(): Promise<void>;
}>;
