import { plainText } from "../core/plain-text.ts";
import { relationText } from "../core/relation.ts";
import { handleOf, isIdle, type NodeKey, type Session } from "../core/session.ts";
import type { LockWait } from "../core/snapshot.ts";
import { spokenDuration, spokenWait } from "../core/spoken-duration.ts";
import { type Branch, type Forest, hiddenNode, type Root } from "../core/tree.ts";
import { unreachable } from "../core/unreachable.ts";
import type { QueryText } from "../query-text.ts";
import type { Line, Span } from "./terminal-text.ts";

export type TreeTextOptions = Readonly<{
  /** Everybody, however many wait. */
  all: boolean;
  /** What of a statement may be shown. */
  show: QueryText;
}>;

const mostRoots = 20;
const mostBranches = 10;
const deepest = 10;
/** Deeper than this nothing is indented further. */
const deepestGuides = 20;
const longestName = 80;
const longestOfWaiter = 20;
const longestQuery = 240;

/** One target's forest for people. */
export function forestLines(forest: Forest, options: TreeTextOptions): readonly Line[] {
  const roots = firstOf(forest.roots, mostRoots, options.all);
  const shown = new Set<NodeKey>();
  const trees = roots.flatMap((root) => treeLines(root, { forest, options, shown }));
  const lines: Line[] = [headerLine(forest), ...trees];
  const rest = forest.roots.slice(roots.length);
  if (rest.length > 0) {
    const waiting = sessions(sum(rest.map(({ node }) => forest.sizes.get(node) ?? 0)));
    lines.push([dim(`and ${rest.length} more that block others, with ${waiting} behind them (--all shows them)`)]);
  }
  return lines;
}

function headerLine(forest: Forest): Line {
  const { target, engine, serverVersion, recovery, gaps } = forest.snapshot;
  const head: Span = { style: "bold", text: target };
  const server = ` (${engine} ${serverVersion}${recovery ? ", a standby" : ""}): `;
  if (forest.unread) return [head, server, "sessions wait for locks, but who waits for whom could not be read"];
  if (forest.waiters === 0) {
    return [head, server, `nobody ${gaps.length > 0 ? "that can be seen " : ""}waits for a lock`];
  }
  const wait = forest.waiters === 1 ? "waits" : "wait";
  const longest = spokenWait(forest.longestMs);
  const since = longest === null ? "" : `, the longest for ${longest}`;
  return [head, server, { style: "yellow", text: `${sessions(forest.waiters)} ${wait} for a lock${since}` }];
}

/** What is still to be drawn: a waiter, or the word for those who are not. */
type Pending = Readonly<{ depth: number; guides: string; last: boolean; what: Branch | string }>;

/** `shown`: who is drawn so far. */
type Drawing = Readonly<{ forest: Forest; options: TreeTextOptions; shown: Set<NodeKey> }>;

/** Top down, without recursion. */
function treeLines(root: Root, { forest, options, shown }: Drawing): readonly Line[] {
  const lines: Line[] = [...rootLines(root, forest, options)];
  const pending: Pending[] = [];
  const plan = (node: NodeKey, depth: number, guides: string) => {
    const children = childrenOf(node, depth, forest, options);
    for (const [place, what] of [...children.entries()].toReversed()) {
      pending.push({ depth, guides, last: place === children.length - 1, what });
    }
  };
  plan(root.node, 1, "");
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { depth, guides, last, what } = next;
    const deep = depth > deepestGuides ? `${depth} deep: ` : "";
    const guide = `${guides}${last ? "└─ " : "├─ "}${deep}`;
    if (typeof what === "string") {
      lines.push([guide, dim(what)]);
      continue;
    }
    lines.push([guide, ...(what.here ? waiterSpans(what, forest, options) : referenceSpans(what, forest, shown))]);
    if (!what.here) continue;
    shown.add(what.waiter);
    plan(what.waiter, depth + 1, depth < deepestGuides ? `${guides}${last ? "   " : "│  "}` : guides);
  }
  return lines;
}

function childrenOf(
  node: NodeKey,
  depth: number,
  forest: Forest,
  { all }: TreeTextOptions,
): readonly (Branch | string)[] {
  const branches = forest.branches.get(node) ?? [];
  if (branches.length === 0) return [];
  if (depth > deepest && !all)
    return [`and ${forest.sizes.get(node) ?? branches.length} more behind it (--all shows them)`];
  const first = firstOf(branches, mostBranches, all);
  const rest = branches.slice(first.length);
  if (rest.length === 0) return first;
  const more = sum(rest.map(({ here, waiter }) => (here ? 1 + (forest.sizes.get(waiter) ?? 0) : 1)));
  return [...first, `and ${more} more (--all shows them)`];
}

/** One more than the most is shown rather than spoken of. */
function firstOf<T>(items: readonly T[], most: number, all: boolean): readonly T[] {
  return all || items.length <= most + 1 ? items : items.slice(0, most);
}

function rootLines(root: Root, forest: Forest, { show }: TreeTextOptions): readonly Line[] {
  switch (root.kind) {
    case "blocker":
      return blockerLines(root, forest, show);
    case "hidden": {
      const head = { style: "red", text: `blockers that cannot be seen block ${root.waiters}` } as const;
      return [[head, ": they ended meanwhile, or the server does not show them"]];
    }
    case "cycle": {
      if (root.members.length === 1)
        return [[red(`${nameOf(root.members[0] ?? "", forest)} waits for its own workers`)]];
      const head = red(`a cycle of ${root.members.length}: ${namesOf(root.members, forest)} wait for each other`);
      return [[head, "; the server's deadlock detector ends one of them"]];
    }
    default:
      return unreachable(root.kind);
  }
}

function blockerLines({ node, waiters }: Root, forest: Forest, show: QueryText): readonly Line[] {
  const guide = dim("│  ");
  const blocks: Span = { style: "yellow", text: `blocks ${waiters}` };
  const party = forest.parties.get(node);
  if (party === undefined) return [[red(nameOf(node, forest)), ", which is not listed any more, ", blocks]];
  if (party.kind === "prepared") {
    const gid = plainText(party.gid, longestName);
    const age = party.ageMs === null ? "" : `prepared ${spokenDuration(party.ageMs)} ago, `;
    const facts = `, transaction ${party.transactionId}, user ${shortText(party.user)}, database ${shortText(party.database)}`;
    const way = `; its owner ends it: rollback prepared '${gid.replaceAll("'", "''")}'`;
    return [
      [red(`prepared transaction ${gid}`), facts],
      [guide, age, blocks, way],
    ];
  }
  const head: Line = [red(handleOf(party)), `  ${who(party)}`];
  const query = show(party);
  const statement = plainText(query ?? "", longestQuery);
  const label = isIdle(party) ? "last statement" : "statement";
  const facts: Line = [guide, `${stateText(party)}, `, blocks];
  return statement === "" ? [head, facts] : [head, facts, [guide, dim(`${label}: ${statement}`)]];
}

function who(session: Session): string {
  const parts = [
    session.own ? "Lockwarden" : whatText(session) || "no application name",
    ...(session.user === null ? [] : [`user ${shortText(session.user)}`]),
    ...(session.database === null ? [] : [`database ${shortText(session.database)}`]),
    ...(session.client === null ? [] : [session.client === "local" ? "local" : `from ${shortText(session.client)}`]),
  ];
  return parts.join(", ");
}

/** The application of a client, the kind of a process of the server's own. */
function whatText({ role, application, backendType }: Session, longest = longestName): string {
  const isOwn = role === "internal" || role === "replication";
  return plainText((isOwn ? backendType : application) ?? "", longest);
}

function stateText(session: Session): string {
  const { state, stateMs, queryMs, transaction } = session;
  if (state === null) return "state unknown (not tracked, or hidden from our role)";
  const age = state === "active" ? queryMs : stateMs;
  const word = state === "other" ? "in a state without a name here" : state;
  const since = age === null ? word : `${word} for ${spokenDuration(age)}`;
  const maintenance = session.maintenance === true ? ", maintenance" : "";
  switch (transaction.kind) {
    case "none":
      return `${since}${maintenance}, no transaction`;
    case "unknown":
      return `${since}${maintenance}`;
    case "open": {
      const open = transaction.ageMs === null ? "" : `, transaction ${spokenDuration(transaction.ageMs)} old`;
      return `${since}${maintenance}${open}`;
    }
    default:
      return unreachable(transaction);
  }
}

function waiterSpans(branch: Branch, forest: Forest, { show }: TreeTextOptions): Line {
  const { waiter, wait, soft, ahead, cycle } = branch;
  const party = forest.parties.get(waiter);
  const session = party?.kind === "session" ? party : null;
  // Whoever blocks others may be the one to end: its handle is what the server's log and the commands call it.
  const blocks = forest.branches.has(waiter) && session !== null;
  const person = session === null ? "" : ` ${personText(session)}`;
  const query = session === null ? null : show(session);
  const waited = spokenWait(wait.waitMs);
  const since = waited === null ? "" : ` ${waited}`;
  const statement = plainText(query ?? "", longestQuery);
  // What matters most comes first: a narrow terminal cuts the rest.
  return [
    { style: "bold", text: blocks ? handleOf(session) : nameOf(waiter, forest) },
    `${person} `,
    soft ? { style: "cyan", text: `queues behind it${since}` } : { style: "yellow", text: `waits${since}` },
    ...(cycle.length === 0 ? [] : [red(` in a cycle with ${namesOf(cycle, forest)}`)]),
    ` for ${lockText(wait)} (${wait.mode})`,
    ...(ahead.length === 0 ? [] : [`, after ${namesOf(ahead, forest)}`]),
    ...(statement === "" ? [] : [dim(`: ${statement}`)]),
  ];
}

function referenceSpans({ waiter, soft, cycle }: Branch, forest: Forest, shown: ReadonlySet<NodeKey>): Line {
  const above = forest.under.get(waiter) ?? "";
  const place = above === hiddenNode ? "" : above.startsWith("cycle ") ? "" : ` under ${nameOf(above, forest)}`;
  const seen = shown.has(waiter) ? `see above${place === "" ? "" : `,${place}`}` : `drawn${place}`;
  const closes = cycle.length === 0 ? "" : "; the cycle closes here";
  return [dim(`${nameOf(waiter, forest)} ${soft ? "queues behind" : "waits for"} it too: ${seen}${closes}`)];
}

/** What a wait is about, beside its mode. */
function lockText(wait: LockWait): string {
  const relation = relationText(wait);
  const table = relation === null ? null : plainText(relation, longestName);
  const of = table === null ? "" : ` of ${table}`;
  switch (wait.locktype) {
    case "relation":
      return table ?? "a relation without a known name";
    case "tuple":
      return `a row${of}`;
    case "transactionid":
      // Without a certain relation it may be a unique key that the other has just written.
      if (wait.relation !== null) return `a row${of}`;
      return `another's transaction${table === null ? "" : `, a row of ${table}`}`;
    case "virtualxid":
      return "another's transaction (virtualxid)";
    case "extend":
      return `the extension${of}`;
    case "page":
      return `a page${of}`;
    default:
      return `${plainText(wait.lock, longestName)}${table === null ? "" : ` (${table})`}`;
  }
}

function namesOf(nodes: readonly NodeKey[], forest: Forest): string {
  const names = nodes.slice(0, 4).map((node) => nameOf(node, forest));
  const more = nodes.length - names.length;
  return more > 0 ? `${names.join(", ")} and ${more} more` : names.join(", ").replace(/, ([^,]*)$/, " and $1");
}

function nameOf(node: NodeKey, forest: Forest): string {
  if (node === hiddenNode) return "somebody who cannot be seen";
  const party = forest.parties.get(node);
  if (party?.kind === "prepared") return `prepared transaction ${plainText(party.gid, longestName)}`;
  return party === undefined ? node : (party.pid ?? handleOf(party));
}

/** Of a waiter: how long it waits and for what comes behind it, and is to be seen at 80 columns. */
function personText(session: Session): string {
  const user = session.user === null ? "" : shortText(session.user, longestOfWaiter);
  const what = whatText(session, longestOfWaiter);
  return what === "" || user === "" ? what || user || "unknown user" : `${what} (${user})`;
}

function shortText(text: string, longest = longestName): string {
  return plainText(text, longest) || "?";
}

function sessions(count: number): string {
  return count === 1 ? "1 session" : `${count} sessions`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((one, other) => one + other, 0);
}

function red(text: string): Span {
  return { style: "red", text };
}

function dim(text: string): Span {
  return { style: "dim", text };
}
