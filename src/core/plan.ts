import type { Config, Mode } from "../config/schema.ts";
import { lackingText } from "./abilities.ts";
import { openBreaker, openText } from "./breaker.ts";
import { byHandRule } from "./by-hand-outcome.ts";
import type { ActDecision, Decision, LimitCode, Reason, Signal, SpareBy } from "./decision.ts";
import { guardOf, reasonOf } from "./evidence.ts";
import type { Protection } from "./guards.ts";
import { type Cooldown, type History, isIn, lineageKey, offender, unopened } from "./history.ts";
import { type Rung, rungAt } from "./ladder.ts";
import { lazyDecision } from "./lazy-decision.ts";
import { limitText, overLimit, useLimits } from "./limits.ts";
import { blockedMs } from "./lock-condition.ts";
import type { Finding } from "./rules.ts";
import type { NodeKey, Session } from "./session.ts";
import { type Snapshot, serverClockMs } from "./snapshot.ts";
import { spokenDuration } from "./spoken-duration.ts";
import { unreachable } from "./unreachable.ts";

/** All that decides besides the snapshot and the rules. */
export type Circumstances = Readonly<{
  /** Digest of the config. */
  config: string;
  /** Of the target: observe when the config or the target says so. */
  mode: Mode;
  /** Why the mode is observe though the config says enforce: nobody may be signalled there; left out: nothing bars it. */
  barred?: string | null;
  paused: boolean;
  leader: boolean;
  /** Intents can be written. */
  journalled: boolean;
  protection: Protection;
  protectMaintenance: boolean;
  limits: Config["limits"];
  /** Steps that this server has no way to take; left out: none. */
  cannot?: readonly Signal[];
  atMs: number;
}>;

/** What is to happen to every finding, oldest transaction first; nothing is done here. */
export function plan(findings: readonly Finding[], history: History, circumstances: Circumstances): Decision[] {
  const { limits, atMs } = circumstances;
  const use = useLimits(history.acts, limits, atMs);
  const open = openBreaker(history, limits.breaker, atMs);
  const broken = open === null ? null : limited("breaker", openText(open, limits.breaker));
  const taken = new Map<NodeKey, string>();
  const oldest = new Set<string>();
  const verified = new Map(Array.from(history.verifying.values(), ({ subject, rule }) => [subject, rule]));
  const mayBeSuccessor = successors();
  return inTurn(findings, history).map((finding) => {
    const judged = judgedBy(finding, history, circumstances);
    const ready = draftOf(judged, circumstances, history.verifying);
    const { rule, subject } = finding;
    const name = rule.rule.name;
    if (ready !== null) {
      if (isOnLadder(finding, ready)) oldest.add(name);
      return ready;
    }
    const spare = ({ by, code, text, limit }: Hindrance): Decision =>
      decisionOn(judged, { kind: "spare", by, ...(limit && { limit }) }, amending(judged, code, text));
    if (rule.rule.victims === "oldest" && oldest.has(name)) return spare(notOldest);
    const held = heldBack(finding, circumstances) ?? broken ?? cooling(finding, history, atMs, mayBeSuccessor);
    if (held !== null) {
      oldest.add(name);
      return spare(held);
    }
    const other = taken.get(subject.session.key) ?? verified.get(finding.key);
    if (other !== undefined) return spare({ by: "other-rule", code: "other-rule", text: `rule ${other} acts on it` });
    const candidate = { subject: finding.key, who: offender(subject.session), rule: rule.rule };
    const over = overLimit(use, candidate, limits);
    if (over !== null) return spare(limited(over, limitText(over, { limits, rule: rule.rule })));
    use.take(candidate);
    taken.set(subject.session.key, name);
    oldest.add(name);
    return decisionOn(judged, { kind: "act", guard: guardOf(finding, circumstances.protectMaintenance) });
  });
}

/** The rule is busy with it, or has done with it what it can: it stays the oldest as long as it is there. */
function isOnLadder({ inMs }: Finding, decision: Decision): boolean {
  if (inMs > 0) return false;
  return decision.kind !== "spare" || decision.by === "done" || decision.by === "unable" || decision.by === "verifying";
}

/**
 * Oldest transaction first. A rule whose probe has spared somebody comes after the others, else it would take their victims
 * and the room within the limits look after look, and do nothing with them.
 */
function inTurn(findings: readonly Finding[], { probes }: History): readonly Finding[] {
  const sparedMs = ({ rule }: Finding["rule"]) => (rule.probe === undefined ? 0 : (probes.get(rule.name) ?? 0));
  const queue = findings.map((finding) => ({
    finding,
    ageMs: transactionAge(finding),
    sparedMs: probes.size === 0 ? 0 : sparedMs(finding.rule),
  }));
  return queue.sort((a, b) => a.sparedMs - b.sparedMs || b.ageMs - a.ageMs).map(({ finding }) => finding);
}

function transactionAge({ subject: { session } }: Finding): number {
  return session.transaction.kind === "open" ? (session.transaction.ageMs ?? 0) : (session.connectedMs ?? 0);
}

/** Most decisions are never told: they are put into words when somebody asks. */
type Why = () => Reason;
type Judged = Pick<Decision, "incident" | "rule" | "config" | "step" | "action"> &
  Readonly<{ finding: Finding; rung: Rung }>;
type Kind =
  | Pick<ActDecision, "kind" | "guard">
  | Readonly<{ kind: "wait"; inMs: number }>
  | Readonly<{ kind: "spare"; by: SpareBy; limit?: LimitCode }>;

function judgedBy(finding: Finding, { incidents }: History, { config, atMs }: Circumstances): Judged {
  const { rule, subject, incident } = finding;
  const { name } = rule.rule;
  const rung = rungAt(rule.rule, incidents.get(incident) ?? unopened(name, finding.key, atMs), subject.session, atMs);
  const action = rung.kind === "done" ? "notify" : rung.action;
  return { incident, rule: name, config, step: rung.step, action, finding, rung };
}

function decisionOn(judged: Judged, kind: Kind, why: Why = () => reasonOnRung(judged)): Decision {
  const { incident, rule, config, step, action, finding } = judged;
  return lazyDecision({ incident, rule, config, step, action, ...kind }, finding, why);
}

/** Everything about one finding that the other findings do not change; null: it is to be signalled. */
function draftOf(judged: Judged, circumstances: Circumstances, verifying: History["verifying"]): Decision | null {
  const { finding } = judged;
  const { subject, excepted, inMs } = finding;
  const spare = (by: SpareBy, why: Why): Decision => decisionOn(judged, { kind: "spare", by }, why);
  if (finding.halted) return spare("inactive", () => haltedReason(judged));
  if (excepted !== null) {
    const { condition, unknown } = excepted;
    const text = () =>
      unknown
        ? `except ${condition.name} is unknown, and an unknown spares`
        : `except ${condition.name}: ${condition.seen(subject)}`;
    return spare(unknown ? "unknown" : "except", () => amend(reasonOf(finding), "except", text()));
  }
  const shield = circumstances.protection(subject.session);
  if (shield !== null) {
    const { code, text } = shield.reason;
    return spare(shield.by, () => amend(reasonOf(finding), code, text));
  }
  if (isUnread(subject.snapshot)) {
    const text = "somebody waits for a lock, and too much was there to read who blocks whom; what is unknown is spared";
    return spare("unknown", () => amend(reasonOf(finding), "unread", text));
  }
  if (inMs > 0) return decisionOn(judged, { kind: "wait", inMs });
  const sent = verifying.get(judged.incident);
  if (sent === undefined) return onRung(judged, circumstances.cannot);
  const ago = () => spokenDuration(circumstances.atMs - sent.sentMs);
  const text = () => `${sent.action} was sent ${ago()} ago, and whether it worked is not known yet`;
  return spare("verifying", () => amend(reasonOf(finding), "verifying", text()));
}

/** The look that decides has no locks although somebody waits for one. */
function isUnread({ waits, contended }: Snapshot): boolean {
  return waits === null && contended;
}

function onRung(judged: Judged, cannot: Circumstances["cannot"] = []): Decision | null {
  const { rung } = judged;
  switch (rung.kind) {
    case "wait": {
      const text = `${rung.action} in ${spokenDuration(rung.inMs)}`;
      return decisionOn(judged, { kind: "wait", inMs: rung.inMs }, amending(judged, "ladder", text));
    }
    case "done": {
      if (!rung.cancelUseless)
        return decisionOn(judged, { kind: "spare", by: "done" }, amending(judged, "done", doneText(rung.retryMs)));
      const text = "a cancel does nothing to an idle session, and the rule has no terminate";
      return decisionOn(judged, { kind: "spare", by: "idle" }, amending(judged, "cancel-useless", text));
    }
    case "do":
      return rung.action === "notify"
        ? notifyDecision(judged)
        : (beyondServer(judged, cannot) ?? transactionless(judged));
    default:
      return unreachable(rung);
  }
}

function doneText(retryMs: number | null): string {
  if (retryMs === null) return "the rule's steps are over";
  return `the server denied it to our role; it is tried again in ${spokenDuration(retryMs)}, or after a reload`;
}

/** A notify step sends nothing to the server: it needs no guard, and no mode or limit holds it back. */
function notifyDecision(judged: Judged): Decision {
  const guard = { sinceState: false, sinceQuery: false, blocks: null, waits: null, notMaintenance: false };
  return decisionOn(judged, { kind: "act", guard });
}

/** What this server cannot do is not tried, and no firmer step taken in its place. */
function beyondServer(judged: Judged, cannot: readonly Signal[]): Decision | null {
  const { action } = judged;
  if (!cannot.some((one) => one === action)) return null;
  return decisionOn(judged, { kind: "spare", by: "unable" }, amending(judged, "unable", lackingText(action)));
}

/** A session without a transaction, as an aborted one is to the server, is only hit by a rule that names its very state. */
function transactionless(judged: Judged): Decision | null {
  const { rule, subject } = judged.finding;
  const { transaction, state } = subject.session;
  if (transaction.kind !== "none") return null;
  const named = rule.rule.match.state?.some((one) => one === state) === true;
  if (named && (state === "idle" || state === "idle in transaction (aborted)")) return null;
  const text = `it has no transaction, and the rule does not name the state ${state ?? "that it is in"}`;
  return decisionOn(judged, { kind: "spare", by: "no-transaction" }, amending(judged, "no-transaction", text));
}

type Hindrance = Readonly<{ by: SpareBy; code: string; text: string; limit?: LimitCode }>;

const notOldest: Hindrance = {
  by: "victims",
  code: "not-oldest",
  text: "an older one matched, and the rule takes the oldest only",
};

function limited(limit: LimitCode, text: string): Hindrance {
  return { by: limit === "breaker" ? "breaker" : "limit", code: limit, text, limit };
}

function observed(barred: string | null): Hindrance {
  return barred === null
    ? { by: "observe", code: "observe", text: "mode is observe" }
    : { by: "observe", code: "barred", text: barred };
}

function heldBack(finding: Finding, circumstances: Circumstances): Hindrance | null {
  const { rule } = finding.rule;
  if (circumstances.mode === "observe" || rule.mode === "observe")
    return observed(rule.mode === "observe" ? null : (circumstances.barred ?? null));
  if (circumstances.paused) return { by: "paused", code: "paused", text: "paused by hand" };
  if (!circumstances.leader)
    return { by: "follower", code: "follower", text: "another Lockwarden acts on this target" };
  if (!circumstances.journalled) return { by: "journal", code: "journal", text: "the journal cannot be written" };
  return null;
}

function cooling(
  finding: Finding,
  { cooldowns }: History,
  atMs: number,
  mayBeSuccessor: MayBeSuccessor,
): Hindrance | null {
  const cooldown = cooldowns.find((one) => mayBeSuccessor(finding, one) && isSuccessor(finding, one, atMs));
  if (cooldown === undefined) return null;
  const left = spokenDuration(cooldown.untilMs - atMs);
  return {
    by: "cooldown",
    code: "cooldown",
    text: `it became the blocker after an act ${actorText(cooldown)}; cooldown for another ${left}`,
  };
}

function actorText({ rule }: Pick<Cooldown, "rule">): string {
  return rule === byHandRule ? rule : `of rule ${rule}`;
}

type MayBeSuccessor = (finding: Finding, cooldown: Cooldown) => boolean;

/** For one look. Rules out most in one pass for all of them, where each of a long queue would look at everybody behind it. */
function successors(): MayBeSuccessor {
  const known = new Map<Cooldown, (session: Session) => boolean>();
  return ({ subject: { session, graph, sessions } }, cooldown) => {
    const before = known.get(cooldown);
    if (before !== undefined) return before(session);
    const descends = isIn(cooldown.lineage);
    const concerned = (waiter: NodeKey) => {
      const person = sessions.get(waiter);
      if (person !== undefined && descends(person)) return true;
      return graph.waitsOf(waiter).some(({ lock }) => cooldown.locks.has(lock));
    };
    const ahead = graph.aheadOf([...graph.waiters()].filter(concerned), null);
    const mayBe = (one: Session) => ahead(one.key) || descends(one);
    known.set(cooldown, mayBe);
    return mayBe(session);
  };
}

/** It came to block the lock only after an act had freed it. */
function isSuccessor({ rule, subject }: Finding, cooldown: Cooldown, atMs: number): boolean {
  if (cooldown.untilMs <= atMs) return false;
  if (cooldown.lineage.has(lineageKey(subject.session))) return true;
  const ms = blockedMs(rule.rule.name, subject, rule.nearest(subject));
  if (ms === null || atMs - ms <= cooldown.atMs) return false;
  for (const { waiter, wait } of rule.counted(subject)) {
    const person = subject.sessions.get(waiter);
    if (cooldown.locks.has(wait.lock)) return true;
    if (person !== undefined && cooldown.lineage.has(lineageKey(person))) return true;
  }
  return false;
}

/** It is not asked whether it still matches, so nothing is said of what was seen. */
function haltedReason(judged: Judged): Reason {
  const { rule, subject } = judged.finding;
  const { nextChangeMs: ms } = rule.activeAt(serverClockMs(subject.snapshot));
  const again = Number.isFinite(ms) ? ` for another ${spokenDuration(ms)}` : "";
  const text = `the rule's hours are over${again}; its ladder stops before ${judged.action}, and begins anew with them`;
  return { ...reasonOnRung(judged), code: "inactive", text };
}

function reasonOnRung({ finding, rung }: Judged): Reason {
  const reason = reasonOf(finding);
  if (rung.kind !== "do") return reason;
  // No statement can look and roll back at once, and a gid may be given anew: people are to know.
  if (rung.action === "rollback-prepared")
    return amend(reason, reason.code, "its identity is read again just before the rollback, not within it");
  return rung.skippedCancel ? skipCancel(reason) : reason;
}

function skipCancel(reason: Reason): Reason {
  return amend(reason, reason.code, "the cancel is passed over: it does nothing to an idle session");
}

function amending(judged: Judged, code: string, text: string): Why {
  return () => amend(reasonOnRung(judged), code, text);
}

function amend(reason: Reason, code: string, text: string): Reason {
  return { ...reason, code, text: `${reason.text}; ${text}` };
}
