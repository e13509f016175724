import { hostname } from "node:os";
import type { Decision, Evidence } from "../core/decision.ts";
import { plainText } from "../core/plain-text.ts";
import { handleOf, type Ms, type Prepared, type Relation, type Session, type Text } from "../core/session.ts";
import type { LockWait } from "../core/snapshot.ts";
import { spokenDuration, spokenWait } from "../core/spoken-duration.ts";
import { unreachable } from "../core/unreachable.ts";
import { hasWritten, writtenText } from "../core/written.ts";
import { advice, deed } from "./advice.ts";
import type { Notice } from "./channel.ts";

// Read at 3 a.m., on a telephone, half asleep: one fact a line, the most important first.
// Every piece that a client or a server could have chosen goes through plainText.

const longestName = 100;
const longestSentence = 500;
const longestQuery = 1_500;
const mostWaiters = 20;

/** One line for a subject or a list. */
export function subject(notice: Notice): string {
  const place = notice.target === null ? "lockwarden" : `lockwarden ${plainText(notice.target, longestName)}`;
  const resolved = notice.phase === "resolved" ? "resolved: " : "";
  return plainText(`[${place}] ${resolved}${notice.text}`, 200);
}

/** The whole notice as plain text. */
export function body(notice: Notice): string {
  const { decision } = notice;
  const sections = [plainText(notice.text, longestSentence)];
  if (decision !== null) {
    const { evidence } = decision;
    sections.push(
      section("STUCK", [...victimRows(evidence.victim), ...ownWaitRows(evidence)]),
      section(`BLOCKED (${blockedCount(decision)})`, waiterRows(evidence, blockedCount(decision))),
      section("DONE", doneRows(decision, notice)),
      section("NOW", nowRows(notice)),
      section(
        "WHAT TO DO",
        advice(decision, notice.outcome, notice.target).map((line) => plainText(line, longestSentence)),
      ),
    );
  }
  for (const { title, lines } of notice.details ?? [])
    sections.push(
      section(
        plainText(title, longestName),
        lines.map((line) => plainText(line, longestSentence)),
      ),
    );
  const server = decision?.evidence.server === undefined ? "" : `, ${plainText(decision.evidence.server, longestName)}`;
  const place = notice.target === null ? "" : ` for target ${plainText(notice.target, longestName)}${server}`;
  sections.push(`-- \nlockwarden${place}, on ${plainText(hostname(), longestName)}, ${plainText(notice.at, 40)}`);
  return `${sections.filter((text) => text !== "").join("\n\n")}\n`;
}

function section(title: string, rows: readonly string[]): string {
  return rows.length === 0 ? "" : [title, ...rows.map((line) => `  ${line}`)].join("\n");
}

function row(label: string, text: Text): string {
  return `${label.padEnd(15)}${name(text)}`;
}

function victimRows(victim: Session | Prepared): string[] {
  if (victim.kind === "prepared") {
    return [
      row("prepared", victim.gid),
      row("transaction", `${victim.transactionId}, prepared ${ago(victim.ageMs)} ago`),
      row("user", victim.user),
      row("database", victim.database),
    ];
  }
  return [
    row("session", handle(victim)),
    row("user", victim.user),
    row("database", victim.database),
    row("application", victim.application),
    row("client", victim.client),
    row("state", victim.state === null ? null : `${victim.state} for ${ago(victim.stateMs)}`),
    row("transaction", transactionText(victim)),
    // An idle session's text is only the last statement: not necessarily the one that took the lock.
    `${(victim.state === "active" ? "statement" : "last statement").padEnd(15)}${statement(victim.query)}`,
  ];
}

/** Of a victim that itself waits, what for. */
function ownWaitRows({ victim, waits }: Evidence): string[] {
  return waits.filter((wait) => wait.waiter === victim.key).map((wait) => `${"waits".padEnd(15)}${waitText(wait)}`);
}

/** What people and the server's log call a session. */
export function handle(session: Session): string {
  return plainText(handleOf(session), longestName);
}

function statement(query: Text): string {
  return query === null || query === "" ? "unknown" : plainText(query, longestQuery);
}

function transactionText(victim: Session): string {
  const { transaction } = victim;
  if (transaction.kind !== "open") return transaction.kind;
  return `open for ${ago(transaction.ageMs)}, ${writtenText(hasWritten(transaction))}`;
}

function ago(ms: Ms): string {
  return ms === null ? "an unknown time" : spokenDuration(ms);
}

/** Of a crowd the evidence keeps the nearest only, and the facts say how many there are. */
function blockedCount({ evidence, reason }: Decision): number {
  const { waiters: counted } = reason.facts;
  return Math.max(evidence.waiters.length, typeof counted === "number" ? counted : 0);
}

function waiterRows(evidence: Evidence, count: number): string[] {
  const rows = evidence.waiters.slice(0, mostWaiters).map((waiter) => waiterRow(waiter, evidence.waits));
  const more = count - rows.length;
  if (more > 0) rows.push(`and ${more} more`);
  return rows;
}

function waiterRow(waiter: Session, waits: readonly LockWait[]): string {
  const who = `${handle(waiter)} ${name(waiter.user)} (${name(waiter.application)})`;
  const wait = waits.find((one) => one.waiter === waiter.key);
  if (wait === undefined) return `${who}, behind another waiter`;
  return `${who}, ${waitText(wait)}`;
}

function waitText(wait: LockWait): string {
  return `for ${spokenWait(wait.waitMs) ?? ago(null)}, ${table(wait)}, ${plainText(`${wait.mode} ${wait.locktype}`, longestName)}`;
}

function name(text: Text): string {
  if (text === null) return "unknown";
  return text === "" ? "no name" : plainText(text, longestName);
}

function table(wait: LockWait): string {
  if (wait.relation !== null) return relationName(wait.relation);
  if (wait.candidates.length === 0) return "no table known";
  return `one of ${wait.candidates.slice(0, 5).map(relationName).join(", ")}`;
}

function relationName(relation: Relation): string {
  return plainText(`${relation.schema}.${relation.name}`, longestName);
}

function doneRows(decision: Decision, notice: Notice): string[] {
  const rows = [plainText(deed(decision, notice.outcome), longestSentence)];
  rows.push(
    `rule ${name(decision.rule)}, step ${decision.step + 1}: ${plainText(decision.reason.text, longestSentence)}`,
  );
  if (notice.outcome !== null) {
    const { kind, tookMs, text } = notice.outcome;
    rows.push(`outcome ${kind} after ${spokenDuration(tookMs)}: ${plainText(text, longestSentence)}`);
  }
  return rows;
}

function nowRows({ outcome }: Notice): string[] {
  if (outcome === null) return [];
  const rows = [freedom(outcome.kind, outcome.freed.length)];
  if (outcome.next !== null) rows.push(`now blocked by ${plainText(outcome.next, longestSentence)}`);
  return rows;
}

function freedom(kind: NonNullable<Notice["outcome"]>["kind"], freed: number): string {
  const moved = freed === 1 ? "1 session does not wait any more" : `${freed} sessions do not wait any more`;
  switch (kind) {
    case "released":
      return `The lock is free: ${moved}.`;
    case "gone":
      return `That transaction has ended by itself: ${moved}.`;
    case "changed":
      return "That session is there, but does something else than what was judged.";
    case "survived":
      return "The lock is NOT free: the session still holds it.";
    case "denied":
    case "failed":
      return "The lock is NOT free: nothing could be done.";
    case "unknown":
      return "It is not known whether the lock is free.";
    default:
      return unreachable(kind);
  }
}
