import type { Evidence, Order, Probe, Probed, Proof, Sent } from "../core/decision.ts";
import type { Snapshot } from "../core/snapshot.ts";
import type { Survey, TableQuestion } from "../core/survey.ts";

/** What an engine can do; the rest of the code asks these, never a product's name. */
export type Capabilities = Readonly<{
  /** Identity and blocking are re-checked in the signalling statement itself. */
  atomicGuard: boolean;
  cancel: boolean;
  rollbackPrepared: boolean;
  softBlocks: boolean;
  /** The server says since when a lock is waited for. */
  waitAge: boolean;
  transactionAge: boolean;
  lease: boolean;
  /** Signals are sent here. Not to a server in recovery, unless the target asks for one: what is stuck is on the primary. */
  acts: boolean;
}>;

/** What a look needs. */
export type Look = Readonly<{
  /** `transactions`: sessions in a transaction, and whoever waits. `all`: plain idle ones too. */
  sessions: "transactions" | "all";
  locks: boolean;
  /** Whether transactions have written; an engine may read that in any look, and does in one with locks. */
  written?: boolean;
  /** Prepared transactions too, though nobody waits for one; those that somebody waits for come with the locks. */
  prepared?: boolean;
}>;

export type Lease = "held" | "taken" | "unsupported";

/** Something that the role lacks, and the SQL that grants it. `fatal`: seeing, or acting, is impossible without. */
export type Missing = Readonly<{ missing: string; grant: string }> &
  (
    | Readonly<{ fatal: true; needed: "to see" | "to act" }>
    /** `advised`: a warning; `known`: nothing is wrong, but it should be known. */
    | Readonly<{ fatal: false; needed: "advised" | "known" }>
  );

export type ServerFacts = Readonly<{
  /** The product that answered, where an engine speaks to several. */
  engine?: string;
  version: string;
  role: string;
  database: string;
  recovery: boolean;
  encrypted: boolean;
}>;

/**
 * An open connection to one target. Every call throws LinkLost when the connection is gone or cannot be trusted any more:
 * close it and connect anew. A signal that aborts makes the call throw its reason.
 */
export type Link = Readonly<{
  capabilities: Capabilities;
  facts: ServerFacts;
  read(look: Look, signal: AbortSignal): Promise<Snapshot>;
  /** One guarded statement. Called by the executor only. Throws LinkLost only when nothing was sent. */
  act(order: Order, signal: AbortSignal): Promise<Sent>;
  prove(evidence: Evidence, signal: AbortSignal): Promise<Proof>;
  /** Opens what a probe in this database (left out: the url's) will need. */
  readyToProbe(database: string | undefined, signal: AbortSignal): Promise<void>;
  /** Runs it and rolls it back. A probe whose own connection is lost has failed; the link is as it was. */
  probe(probe: Probe, signal: AbortSignal): Promise<Probed>;
  /** Asks without waiting for the right to act on this target. */
  lease(signal: AbortSignal): Promise<Lease>;
  check(signal: AbortSignal): Promise<readonly Missing[]>;
  /** What decides whether rules can fire on this target at all. */
  survey(tables: readonly TableQuestion[], signal: AbortSignal): Promise<Survey>;
  close(): Promise<void>;
}>;

export type Engine<Target> = Readonly<{
  name: string;
  connect(target: Target, signal: AbortSignal): Promise<Link>;
  /** SQL that makes a least-privilege role. */
  grants(role: string): string;
}>;

/** The connection is gone. `kind` says whether trying again soon can help. */
export class LinkLost extends Error {
  override readonly name = "LinkLost";
  readonly kind: "unreachable" | "denied" | "lost" | "refused";
  /** What to do about it. */
  readonly hint: string | null;
  /** A password was refused: many accounts are locked after so many of those, so it is tried again seldom. */
  readonly wrongPassword: boolean;
  constructor(
    kind: LinkLost["kind"],
    message: string,
    options: { cause?: unknown; hint?: string | null; wrongPassword?: boolean } = {},
  ) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.hint = options.hint ?? null;
    this.wrongPassword = options.wrongPassword ?? false;
  }
}
