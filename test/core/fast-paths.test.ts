import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { heldLocks } from "../../src/core/held-locks.ts";
import { type Incident, lineageKey, noHistory, subjectKey } from "../../src/core/history.ts";
import { remember } from "../../src/core/remember.ts";
import { evaluate } from "../../src/core/rules.ts";
import type { Relation, Session } from "../../src/core/session.ts";
import type { Hold, Snapshot } from "../../src/core/snapshot.ts";
import { waitGraph } from "../../src/core/wait-graph.ts";
import { judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";

// What was made fast finds what asking everybody about everything finds.

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const described = fc.record({
  state: oneOf<Session["state"]>(
    "active",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
    "other",
    null,
  ),
  user: oneOf<string | null>("app", "etl", null),
  database: oneOf<string | null>("app", "shop", null),
  application: oneOf<string | null>("web", "worker-7", null),
  stateMs: oneOf<number | null>(0, 20_000, 90_000, null),
  queryMs: oneOf<number | null>(0, 20_000, 90_000, null),
  connectedMs: oneOf<number | null>(1_000, 90_000, null),
  ageMs: oneOf<number | null>(0, 45_000, 120_000, null),
  open: fc.boolean(),
});
const link = fc.record({
  waiter: fc.integer({ min: 0, max: 9 }),
  on: fc.integer({ min: 0, max: 9 }),
  locktype: oneOf("transactionid", "relation", "advisory"),
  table: oneOf("public.a", "public.b"),
});
const looks = fc.tuple(fc.array(described, { minLength: 10, maxLength: 10 }), fc.array(link, { maxLength: 12 }));
type Made = typeof looks extends fc.Arbitrary<infer T> ? T : never;

function lookOf([people, links]: Made): Snapshot {
  const crowd = people.reduce(
    (so, { open: _open, ageMs: _ageMs, ...session }, pid) => so.session(pid, session),
    snapshot(),
  );
  const look = links.reduce((so, { waiter, ...wait }) => so.waits(waiter, { ...wait, for: "30s" }), crowd).build();
  const sessions = look.sessions.map((session, pid): Session => {
    const { open = false, ageMs = null } = people[pid] ?? {};
    const transaction: Session["transaction"] = open
      ? { kind: "open", startedAt: `begun ${pid}`, ageMs, writeId: null }
      : { kind: "none" };
    return { ...session, transaction };
  });
  return { ...look, sessions };
}

const sources = [
  { match: { idle_for: "30s" } },
  { match: { idle_for: "30s", state: "idle", users: "etl" } },
  { match: { state: ["active", "idle in transaction"], transaction_for: "1m", users: ["app", "e*"] } },
  { match: { query_for: "30s", query: "update", databases: "shop" } },
  { match: { connected_for: "1m", applications: "worker-?" } },
  { match: { transaction_for: "1m", backend_types: "client*" } },
  { match: { idle_for: "10s", blocks: { waiters: 2, tables: "public.a", for: "5s" } } },
  { match: { waits: { for: "10s" }, blocks: { users: "etl" } } },
  { match: { waits: { tables: "public.b", locktypes: ["relation", "advisory"] } } },
  { match: { transaction_for: "10s", blocks: { applications: "web", locktypes: ["advisory"] } } },
];
// Enough of them to need more than one word of bits.
const rules = [...sources, ...sources, ...sources, ...sources].map((one, at) => ({
  name: `rule-${at}`,
  ...one,
  steps: ["terminate"],
}));
const { rules: compiled } = judge({ rules });

test("all that match are found, also after a cancel of our own, and nobody else", () => {
  fc.assert(
    fc.property(looks, fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 2 }), (made, cancelled) => {
      const look = lookOf(made);
      const incidents = new Map(cancelled.flatMap((pid) => incidentOf(look.sessions[pid])));
      const history = { ...noHistory, incidents };
      const found = evaluate(look, compiled, history).findings;
      assert.deepEqual(
        found.map(({ rule, subject, inMs }) => `${rule.rule.name} ${subject.session.key} ${inMs}`),
        slowly(look, history),
      );
    }),
  );
});

function incidentOf(session: Session | undefined): [string, Incident][] {
  const subject = session === undefined ? null : subjectKey(session);
  if (subject === null) return [];
  const key = `rule-0 ${subject}`;
  const moments = { openedMs: 0, step: 1, stepSinceMs: 0 };
  return [[key, { key, rule: "rule-0", subject, ...moments, cancelled: true, done: false, told: null, matched: true }]];
}

function slowly(look: Snapshot, history: typeof noHistory): string[] {
  const graph = waitGraph(look);
  const sessions = new Map(look.sessions.map((session) => [session.key, session]));
  return look.sessions.flatMap((session) => {
    const key = subjectKey(session);
    if (key === null || graph.inCycle(session.key)) return [];
    const subject = { session, key, snapshot: look, graph, sessions, history, locks: heldLocks([]) };
    return compiled.flatMap((rule) => {
      if (rule.ownWait === null && !graph.isRoot(session.key)) return [];
      const wasCancelled = history.incidents.get(`${rule.rule.name} ${key}`)?.cancelled === true;
      const asked = rule.match.filter(({ resets }) => !(resets && wasCancelled));
      const distances = asked.map((condition) => condition.distance(subject));
      return distances.every(Number.isFinite) ? [`${rule.rule.name} ${session.key} ${Math.max(0, ...distances)}`] : [];
    });
  });
}

test("who is ahead of somebody is who has them behind", () => {
  const types = [new Set(["transactionid"]), new Set(["relation", "advisory"]), null];
  fc.assert(
    fc.property(looks, fc.uniqueArray(fc.integer({ min: 0, max: 9 })), oneOf(...types), (made, some, locktypes) => {
      const graph = waitGraph(lookOf(made));
      const wanted = new Set(some.map(String));
      const ahead = graph.aheadOf(wanted, locktypes);
      for (let pid = 0; pid < 10; pid++) {
        const node = String(pid);
        const behind = [...graph.behind(node, locktypes ?? new Set(["transactionid", "relation", "advisory"]))];
        const has = behind.some(({ waiter }) => wanted.has(waiter));
        // Who waits for itself is ahead of itself too; it is never asked about, as the server ends its cycle.
        if (has || !graph.inCycle(node)) assert.equal(ahead(node), has, node);
      }
    }),
  );
});

test("the waiters that a filter counts are all that the whole queue behind a session has of them", () => {
  fc.assert(
    fc.property(looks, (made) => {
      const look = lookOf(made);
      const graph = waitGraph(look);
      const sessions = new Map(look.sessions.map((session) => [session.key, session]));
      const { counted } = compiled[6] ?? {};
      for (const session of look.sessions) {
        const all = [...graph.behind(session.key, new Set(["relation", "tuple", "transactionid"]))];
        assert.deepEqual(
          Array.from(counted?.({ session, graph, sessions }) ?? [], ({ waiter }) => waiter),
          all.filter(({ wait }) => wait.relation?.name === "a").map(({ waiter }) => waiter),
        );
      }
    }),
  );
});

test("of those whom a rule counts the first, their number and the direct waits are what all of them show", () => {
  fc.assert(
    fc.property(looks, fc.integer({ min: 1, max: 4 }), (made, most) => {
      const look = lookOf(made);
      const graph = waitGraph(look);
      const sessions = new Map(look.sessions.map((session) => [session.key, session]));
      for (const { counted, count, nearest } of compiled.slice(6, 10)) {
        for (const session of look.sessions) {
          const from = { session, graph, sessions };
          const all = counted(from);
          assert.deepEqual(counted(from, most), all.slice(0, most));
          assert.deepEqual([count(from), count(from)], [all.length, all.length]);
          const direct = all.filter(({ depth }) => depth === 1).map(({ wait }) => wait);
          assert.deepEqual(nearest(from), all.length === 0 ? null : direct);
        }
      }
    }),
  );
});

test("who holds such a lock is found among all locks at once as among each one's own", () => {
  const hold = fc.record({
    holder: fc.integer({ min: 0, max: 5 }).map(String),
    mode: oneOf("AccessShareLock", "RowExclusiveLock", "SIReadLock"),
    relation: oneOf(null, relationOf("a"), relationOf("b")),
  });
  fc.assert(
    fc.property(fc.array(hold), oneOf("AccessShareLock", "SIReadLock"), oneOf(null, "a"), (made, mode, table) => {
      const holds = made.map((one) => ({ ...one, lock: "l", locktype: "relation" }));
      const locks = heldLocks(holds);
      const fits = (one: Pick<Hold, "mode" | "relation">) =>
        one.mode === mode && (one.relation?.name ?? null) === table;
      const people = Array.from({ length: 6 }, (_, pid) => String(pid));
      for (const pid of people)
        assert.deepEqual(
          locks.of(pid),
          holds.filter(({ holder }) => holder === pid),
        );
      assert.deepEqual(
        [...locks.holders(fits)].sort(),
        people.filter((pid) => locks.of(pid).some(fits)),
      );
    }),
  );
});

function relationOf(name: string): Relation {
  return { database: "app", schema: "public", name, ancestors: [] };
}

test("a lineage grows by everybody behind it, in whatever order they are listed", () => {
  fc.assert(
    fc.property(looks, fc.uniqueArray(fc.integer({ min: 0, max: 9 })), (made, some) => {
      const look = lookOf(made);
      const identities = new Map(look.sessions.map((session) => [session.key, lineageKey(session)]));
      const lineage = new Set(some.map((pid) => identities.get(String(pid)) ?? ""));
      const cooldown = { rule: "r", atMs: look.atMs, untilMs: look.atMs + 1, lineage, locks: new Set<string>() };
      const history = { ...noHistory, cooldowns: [cooldown] };
      const after = remember(history, look, evaluate(look, compiled, history), compiled).cooldowns[0]?.lineage;
      const slow = new Set(lineage);
      for (let round = 0; round < 10; round++) {
        for (const { waiter, blockers } of look.waits ?? []) {
          if (blockers.some(({ node }) => slow.has(identities.get(node) ?? ""))) slow.add(identities.get(waiter) ?? "");
        }
      }
      assert.deepEqual([...(after ?? [])].sort(), [...slow].sort());
    }),
  );
});
