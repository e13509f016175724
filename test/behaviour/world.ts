// What the shared scenarios need of a server, whatever its product: people with transactions on one table, and who is alive.

/** Somebody at the server, with one session. */
export type Person = Readonly<{
  /** As the vendor's own tools name the session at this moment; what `kill` takes. */
  handle(): Promise<string>;
  begin(): Promise<void>;
  /** Writes one's own row of the login table; waits for whoever holds it. */
  logIn(row: number): Promise<unknown>;
  commit(): Promise<void>;
  /** Runs a statement of a minute, which leaves the transaction open when it is cancelled; resolves then. */
  runLong(): Promise<unknown>;
  /** The server still lists the session. */
  isAlive(): Promise<boolean>;
  /** The server lists it as waiting for a lock. */
  isWaiting(): Promise<boolean>;
}>;

export type User = "app" | "clerk" | "precious";

export type World = Readonly<{
  /** The target's keys but its name, in one line of YAML. */
  target: string;
  /** The same with a role that sees everybody and may end nobody else's session; null: on this server everybody may. */
  powerless: string | null;
  /** The login table as rules name it. */
  table: string;
  /** As the server lists this user. */
  shown(user: User): string;
  person(user: User): Promise<Person>;
  /** Handles that mean this session to the vendor as well, or nobody, and are refused or taken as said. */
  variants(handle: string): readonly Readonly<{ written: string; ends: "found" | "gone" | "changed" | "usage" }>[];
  /** The signal is guarded in its own statement. */
  guarded: boolean;
}>;
