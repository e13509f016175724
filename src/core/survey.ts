// What a server says of itself that decides whether a rule can ever fire there. Engines fill it in; `check` judges by it.

export type TimeoutKind = "idle in transaction" | "idle" | "statement" | "lock" | "transaction" | "deadlock";

/** One setting of a timeout. Neither role nor database: for everybody who has none of his own. */
export type ServerTimeout = Readonly<{
  /** The server's word for it. */
  name: string;
  kind: TimeoutKind;
  /** 0: off. */
  ms: number;
  role: string | null;
  database: string | null;
}>;

export type SurveyedRole = Readonly<{ name: string; login: boolean; superuser: boolean }>;

/** Which of the patterns asked for match a table of this database. */
export type DatabaseTables = Readonly<{
  database: string;
  found: readonly string[];
  /** Some names (schema.table), for a guess at what was meant. */
  names: readonly string[];
  /** Why its tables are unknown; null: they are known. */
  refused: string | null;
}>;

export type Survey = Readonly<{
  /** A value that could not be read is missing here, and said in `gaps`. */
  timeouts: readonly ServerTimeout[];
  roles: readonly SurveyedRole[];
  /** The server does not show all of them to our own: that a name is missing says nothing. */
  rolesHidden?: boolean;
  ownRole: string;
  databases: readonly string[];
  mostSessions: number | null;
  /** 0: none can be prepared at all; null: unknown. */
  mostPrepared: number | null;
  tables: readonly DatabaseTables[];
  gaps: readonly string[];
}>;

/** A table pattern of a rule, and the databases (globs) that the rule is about; null: all. */
export type TableQuestion = Readonly<{ pattern: string; databases: readonly string[] | null }>;

/** Something that speaks against a rule on one target; without a rule: against the config. */
export type Doubt = Readonly<{ rule: string | null; text: string }>;
