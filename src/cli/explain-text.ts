import type {
  Basis,
  ConditionExplanation,
  DecisionExplanation,
  Explanation,
  Person,
  RuleExplanation,
  SessionExplanation,
  Standing,
} from "../core/explanation.ts";
import { plainText } from "../core/plain-text.ts";
import { handleOf, type Ms, type Text } from "../core/session.ts";
import { spokenDuration, spokenWait } from "../core/spoken-duration.ts";
import { behindText, few, waitingText } from "../core/standing.ts";
import { unreachable } from "../core/unreachable.ts";
import { writtenText } from "../core/written.ts";
import { wrap } from "./wrap.ts";

export type Manner = Readonly<{
  columns: number;
  /** Every condition, not only those that decide. */
  detailed: boolean;
}>;

const longestName = 100;
const longestText = 400;
const leastLabelWidth = 10;

/** `basis`: without a daemon nobody is told anything. */
type Telling = Manner & Readonly<{ basis: Basis }>;

/** An explanation for people: what is acted on first, and of each rule first what decides. */
export function explanationLines(explanation: Explanation, { columns, detailed }: Manner): readonly string[] {
  const { basis, hindrances, gaps, sessions } = explanation;
  const say = (text: string, indent: string) => wrap(text, columns, indent);
  const head = [
    ...say(heading(explanation), ""),
    ...hindrances.flatMap(({ text }) => say(plainText(text, longestText), "  ")),
    ...gaps.flatMap((gap) => say(`not everything can be seen: ${plainText(gap, longestText)}`, "  ")),
  ];
  const blocks = sessions.map((session) => ["", ...sessionLines(session, { columns, detailed, basis })]);
  const rest = restText(explanation);
  const prepared = sessions.some(({ who }) => who.kind === "prepared");
  // Some servers name a session by an id of its own, and show no process.
  const word = sessions.some(({ who }) => who.kind === "session" && who.handle !== undefined) ? "SESSION" : "PID";
  const whom = prepared ? `with a ${word} or a gid` : word;
  const hint =
    detailed || sessions.length === 0 ? [] : say(`lockwarden explain ${whom} says it condition by condition`, "");
  const foot = [...(rest === "" ? [] : say(rest, "")), ...hint];
  return [...head, ...blocks.flat(), ...(foot.length === 0 ? [] : ["", ...foot])];
}

function heading({ target, at, basis }: Explanation): string {
  const place = `${plainText(target, longestName)} at ${at.slice(0, 19).replace("T", " ")} UTC`;
  switch (basis) {
    case "daemon":
      return `${place}, as the daemon sees it`;
    case "first look":
      return `${place}, a first look without a daemon's memory: how long somebody has blocked counts from the waiters' own waits, and every ladder begins anew`;
    case "recording":
      return `${place}, as recorded, without a daemon's memory: how long somebody has blocked counts from the waiters' own waits, and every ladder begins anew`;
    default:
      return unreachable(basis);
  }
}

function sessionLines({ who, standing, never, protection, rules }: SessionExplanation, manner: Telling): string[] {
  const say = (text: string) => wrap(text, manner.columns, "  ");
  const lines = who.kind === "session" ? personLines(who, manner) : [`prepared transaction ${plainText(who.gid, 200)}`];
  if (who.kind === "prepared") {
    const age = who.ageMs === null ? "" : `, prepared ${spokenDuration(who.ageMs)} ago`;
    lines.push(...say(`of ${name(who.user)}, in database ${name(who.database)}${age}`));
  }
  lines.push(...say(standingText(standing)));
  if (never !== null) lines.push(...say(`never touched: ${plainText(never, longestText)}`));
  if (protection !== null) lines.push(...say(`protected: ${plainText(protection, longestText)}`));
  return [...lines, ...rules.flatMap((rule) => ruleLines(rule, manner))];
}

/** Who it is, what it does and did last. */
export function personLines(who: Person, { columns, detailed }: Manner): string[] {
  const handle = plainText(handleOf(who), longestName);
  const client = who.client === null ? "" : ` from ${name(who.client)}`;
  const role = who.backendType === "client backend" || who.backendType === null ? "" : `, ${name(who.backendType)}`;
  const person = `user ${name(who.user)}, database ${name(who.database)}, ${name(who.application)}${client}${role}`;
  const lines = [...wrap(`${handle}  ${person}`, columns, ""), ...wrap(stateText(who), columns, "  ")];
  if (who.query !== null && who.query !== "") {
    const statement = plainText(who.query, detailed ? longestText : 120);
    lines.push(...wrap(`${who.state === "active" ? "statement" : "last statement"}: ${statement}`, columns, "  "));
  }
  return lines;
}

function stateText({ state, stateMs, transaction, transactionMs, hasWritten }: Person): string {
  const now = state === null ? "its state is unknown" : `${state} for ${ago(stateMs)}`;
  switch (transaction) {
    case "none":
      return `${now}; no transaction`;
    case "unknown":
      return `${now}; its transaction is unknown`;
    case "open":
      return `${now}; transaction open for ${ago(transactionMs)}, ${writtenText(hasWritten)}`;
    default:
      return unreachable(transaction);
  }
}

/** Whom it blocks, and what it waits for. */
export function standingText(standing: Standing): string {
  const { kind, blocks, relation, blocksMs } = standing;
  const where = relation === null ? "" : ` on ${plainText(relation, longestName)}`;
  const blocked = spokenWait(blocksMs);
  const since = blocked === null ? "" : `, for ${blocked}`;
  const blocking = blocks === 0 ? "blocks nobody" : `blocks ${count(blocks, "session")}${where}${since}`;
  switch (kind) {
    case "free":
      return "waits for nobody, blocks nobody";
    case "root":
      return `${blocking}; waits for nobody`;
    case "waiter":
    case "cycle":
      return [waitText(standing), ...(blocks === 0 ? [] : [blocking])].join("; ");
    case "unread":
      return "who waits for whom was not read in this look";
    default:
      return unreachable(kind);
  }
}

function waitText(standing: Standing): string {
  const [wait] = standing.waits;
  if (wait === undefined) return waitingText(standing);
  const waited = spokenWait(wait.waitMs);
  const since = waited === null ? "" : ` for ${waited}`;
  const deadlock = standing.kind === "cycle" ? ", in a deadlock" : "";
  return plainText(`waits for ${lockText(wait)}${since}, ${behindText(standing)}${deadlock}`, longestText);
}

/** Whoever waits for a row waits for the lock of another's transaction: that is no lock on the table. */
function lockText({ mode, locktype, relation }: Standing["waits"][number]): string {
  switch (locktype) {
    case "tuple":
    case "transactionid":
      return relation === null ? `${mode} (${locktype})` : `a row of ${relation} (${mode})`;
    default:
      return relation === null ? `${mode} (${locktype})` : `${mode} on ${relation}`;
  }
}

function ruleLines(rule: RuleExplanation, { columns, detailed, basis }: Telling): string[] {
  const say = (text: string, indent: string) => wrap(plainText(text, longestText * 2), columns, indent);
  if (!detailed) {
    const seen = seenText(rule);
    const said = `${rule.rule}: ${headline(rule, basis)}${failing(rule)}`;
    return [...say(said, "  "), ...(seen === "" ? [] : say(seen, "    "))];
  }
  const conditions = rule.conditions.map(conditionRow);
  const except = rule.except.map(exceptRow);
  const spared = rule.decision?.code === "except";
  const rows = spared ? [...except, ...conditions] : [...conditions, ...except];
  return [...say(`${rule.rule}: ${headline(rule, basis)}`, "  "), ...labelled(rows, columns)];
}

/** Of a rule that does not match: what was seen that decided, and all the conditions that do not hold. */
function failing({ verdict, conditions, decision }: RuleExplanation): string {
  if (verdict !== "not" || decision !== null) return "";
  const open = conditions.filter(({ holds }) => holds === "no" || holds === "unknown" || holds === "later");
  const [first] = open;
  return first === undefined ? "" : `: ${first.seen} (fails ${open.map((one) => one.name).join(", ")})`;
}

/** Of a rule that matches: what it saw; of one that will: what is not yet as it wants it. */
function seenText({ verdict, conditions }: RuleExplanation): string {
  if (verdict === "not") return "";
  const rows = conditions.filter(({ name: condition, holds }) =>
    verdict === "matched" ? condition !== "root" && holds === "yes" : holds === "later",
  );
  return rows.map(({ seen, wanted }) => (verdict === "matched" ? seen : `${seen}, wanted: ${wanted}`)).join(", ");
}

function headline({ verdict, inMs, decision, mode, conditions }: RuleExplanation, basis: Basis): string {
  if (decision === null) return verdict === "not" ? "not matched" : "matched";
  const will = mode === "observe" ? "would " : "";
  const why = decision.why === null ? "" : `: ${decision.why}`;
  const probed = mode === "enforce" && decision.action !== "notify" && conditions.some((row) => row.name === "probe");
  switch (decision.kind) {
    case "act":
      if (decision.action === "notify") return `matched; people ${basis === "daemon" ? "are" : "would be"} told`;
      return `matched; ${decision.action} is due now${probed ? `, if ${stuck}` : ""}${why}`;
    case "wait":
      if (verdict === "matched")
        return `matched; ${will}${decision.why ?? "wait"}, as its steps say${probed ? ` and if ${stuck}` : ""}`;
      return `${willText({ inMs, decision, conditions, will })}${probed ? ` and ${stuck}` : ""}`;
    case "spare":
      return `${sparedWhen(verdict, inMs)}; ${spareVerb(decision)}${why}`;
    default:
      return unreachable(decision.kind);
  }
}

type Coming = Pick<RuleExplanation, "inMs" | "conditions"> & Readonly<{ decision: DecisionExplanation; will: string }>;

/** What happens when it matches: at once, or as the ladder says. */
function willText({ inMs, decision: { action, code, why }, conditions, will }: Coming): string {
  const when = `in ${spokenDuration(inMs ?? 0)}, ${ifStill(conditions)}`;
  return code === "ladder" ? `matches ${when}; ${will}${why ?? ""}` : `${will}${action} ${when}`;
}

const stuck = "its probe finds the way stuck";

/** `not`: it had begun with it before its hours ended. */
function sparedWhen(verdict: RuleExplanation["verdict"], inMs: Ms): string {
  switch (verdict) {
    case "not":
      return "not matched";
    case "matched":
      return "matched";
    case "will match":
      return `matches in ${spokenDuration(inMs ?? 0)}`;
    default:
      return unreachable(verdict);
  }
}

function spareVerb({ by, action }: DecisionExplanation): string {
  return by === "observe" || by === "paused" || by === "follower" ? `would ${action}` : "spared";
}

const stills: Readonly<Record<string, string>> = {
  idle_for: "if it is still idle then",
  query_for: "if it still runs then",
  transaction_for: "if its transaction is still open then",
  connected_for: "if it is still connected then",
  "blocks.for": "if it still blocks them then",
  waits: "if it still waits then",
  "prepared.for": "if it is still prepared then",
  active: "when its hours begin, if nothing changes",
};

function ifStill([first]: readonly ConditionExplanation[]): string {
  return stills[first?.name ?? ""] ?? "if nothing changes";
}

type Row = Readonly<{ label: string; text: string }>;

function conditionRow({ name: condition, wanted, seen, holds, inMs }: ConditionExplanation): Row {
  const label = holds === "later" ? `in ${spokenDuration(inMs ?? 0)}` : holds === "passed over" ? "-" : holds;
  return { label, text: `${condition}: ${seen}; wanted: ${wanted}` };
}

function exceptRow({ name: condition, wanted, seen, holds, inMs }: ConditionExplanation): Row {
  const label = holds === "yes" || holds === "unknown" ? "spares" : "-";
  const later =
    holds === "later" ? ` in ${spokenDuration(inMs ?? 0)}` : holds === "unknown" ? ", as what is unknown" : "";
  return { label, text: `except ${condition}: ${seen}; spares${later}: ${wanted}` };
}

function labelled(rows: readonly Row[], columns: number): readonly string[] {
  const width = Math.max(leastLabelWidth, ...rows.map(({ label }) => label.length + 2));
  return rows.flatMap(({ label, text }) => {
    const lines = wrap(plainText(text, longestText * 2), Math.max(20, columns - 4 - width), "");
    return lines.map((line, at) => `    ${(at === 0 ? label : "").padEnd(width)}${line}`);
  });
}

function restText({ rest: { behind, busy, idle, own, internal }, sessions }: Explanation): string {
  const waiting = behind.reduce((sum, one) => sum + one.sessions, 0);
  const roots = few(behind.map(({ root }) => plainText(root, longestName)));
  const parts = [
    ...(waiting === 0 ? [] : [`${waiting} more that wait behind ${roots}`]),
    ...(busy === 0 ? [] : [`${busy} more that wait, block or are in a transaction`]),
    ...(idle === 0 ? [] : [`${count(idle, "idle session")} that no rule is about`]),
    ...(own === 0 ? [] : [`${own} of Lockwarden's own`]),
    ...(internal === 0 ? [] : [`${internal} of the server's own`]),
  ];
  if (parts.length === 0) return sessions.length === 0 ? "nobody is connected" : "";
  const lead = sessions.length === 0 ? "nobody waits, blocks or is in a transaction; there are" : "and";
  return `${lead} ${few(parts)} (--all shows them)`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function ago(ms: Ms): string {
  return ms === null ? "an unknown time" : spokenDuration(ms);
}

function name(text: Text): string {
  return text === null ? "unknown" : text === "" ? "without a name" : plainText(text, longestName);
}
