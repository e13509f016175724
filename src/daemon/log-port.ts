export const levels = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof levels)[number];

/** Facts for programs; secrets in them are struck out. */
export type Fields = Readonly<Record<string, unknown>>;

/** What the daemon says: fields for facts, one sentence for people. Never throws, never waits. */
export type Log = Readonly<{
  debug(fields: Fields, text: string): void;
  info(fields: Fields, text: string): void;
  warn(fields: Fields, text: string): void;
  error(fields: Fields, text: string): void;
  /** The same log, with these fields on every line. */
  child(fields: Fields): Log;
  /** Until what was said is written, or cannot be within a second. Await it before the process exits. */
  flush(): Promise<void>;
}>;
