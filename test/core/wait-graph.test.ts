import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Session } from "../../src/core/session.ts";
import type { LockWait, Snapshot } from "../../src/core/snapshot.ts";
import { waitGraph } from "../../src/core/wait-graph.ts";

type Link = Readonly<{ waiter: string; blockers: readonly string[]; locktype?: string; soft?: boolean }>;

function session(key: string, group: string | null = null): Session {
  return {
    kind: "session",
    key,
    identity: key,
    pid: key,
    sessionId: key,
    role: "client",
    backendType: "client backend",
    group,
    own: false,
    superuser: false,
    maintenance: false,
    user: null,
    database: null,
    application: null,
    client: null,
    query: null,
    waitEvent: null,
    state: "active",
    stateMs: null,
    stateAt: null,
    queryMs: null,
    queryAt: null,
    connectedMs: null,
    xminAge: null,
    transaction: { kind: "unknown" },
  };
}

function waitOf({ waiter, blockers, locktype = "relation", soft = false }: Link): LockWait {
  return {
    waiter,
    pid: waiter,
    lock: `lock of ${waiter}`,
    locktype,
    mode: "ExclusiveLock",
    relation: null,
    candidates: [],
    waitMs: 0,
    waitAt: null,
    blockers: blockers.map((node) => ({ node, soft })),
    hiddenBlocker: false,
  };
}

function snapshot(sessions: readonly Session[], links: readonly Link[] | null): Snapshot {
  return {
    version: 1,
    target: "app",
    engine: "postgres",
    serverVersion: "18",
    serverId: "1",
    at: "2026-01-01T00:00:00.000000Z",
    atMs: 0,
    recovery: false,
    sessions,
    prepared: [],
    holds: [],
    waits: links?.map(waitOf) ?? null,
    contended: true,
    gaps: [],
  };
}

const people = (...keys: string[]) => keys.map((key) => session(key));
const tables = new Set(["relation", "tuple", "transactionid"]);
const names = (graph: ReturnType<typeof waitGraph>, node: string) =>
  Array.from(graph.behind(node, tables), (one) => one.waiter);

test("everybody behind a root is found once, nearest first, by the one through whom it was reached", () => {
  const links = [
    { waiter: "d", blockers: ["c", "b"] },
    { waiter: "c", blockers: ["b", "a"] },
    { waiter: "b", blockers: ["a"] },
  ];
  const graph = waitGraph(snapshot(people("a", "b", "c", "d"), links));
  const found = [...graph.behind("a", tables)];
  assert.deepEqual(
    found.map((one) => [one.waiter, one.blocker, one.depth]),
    [
      ["c", "a", 1],
      ["b", "a", 1],
      ["d", "c", 2],
    ],
  );
  assert.deepEqual(graph.roots(), ["a"]);
  assert.equal(graph.waitsOf("d").length, 1);
});

test("only waits of the wanted lock types lead further, but any wait makes a waiter", () => {
  const links = [
    { waiter: "b", blockers: ["a"], locktype: "advisory" },
    { waiter: "c", blockers: ["b"] },
  ];
  const graph = waitGraph(snapshot(people("a", "b", "c"), links));
  assert.deepEqual(names(graph, "a"), []);
  assert.deepEqual(names(graph, "b"), ["c"]);
  assert.equal(graph.isRoot("b"), false);
  assert.equal(graph.isRoot("a"), true);
});

test("a parallel worker is its leader, as a waiter and as a blocker", () => {
  const sessions = [session("leader"), session("worker", "leader"), ...people("a", "c")];
  const links = [
    { waiter: "worker", blockers: ["a", "leader"] },
    { waiter: "c", blockers: ["worker"] },
  ];
  const graph = waitGraph(snapshot(sessions, links));
  assert.deepEqual(names(graph, "a"), ["leader", "c"]);
  assert.deepEqual(names(graph, "worker"), names(graph, "leader"));
  assert.equal(graph.isRoot("leader"), false);
  assert.equal(graph.isRoot("worker"), false);
  assert.equal(graph.inCycle("leader"), false);
});

test("nobody is a root who is not in the snapshot, nor while it is not known who waits", () => {
  const graph = waitGraph(snapshot(people("b"), [{ waiter: "b", blockers: ["ghost"] }]));
  assert.equal(graph.isRoot("ghost"), false);
  assert.deepEqual(graph.roots(), []);
  assert.equal(waitGraph(snapshot(people("a"), null)).isRoot("a"), false);
  assert.equal(waitGraph({ ...snapshot(people("a"), null), contended: false }).isRoot("a"), true);
});

test("who waits behind a cycle is not in it", () => {
  const links = [
    { waiter: "a", blockers: ["b"] },
    { waiter: "b", blockers: ["a"] },
    { waiter: "c", blockers: ["a"] },
  ];
  const graph = waitGraph(snapshot(people("a", "b", "c"), links));
  assert.deepEqual(["a", "b", "c"].map(graph.inCycle), [true, true, false]);
});

test("a chain of a hundred thousand is no deeper than the stack", () => {
  const keys = Array.from({ length: 100_000 }, (_, place) => String(place));
  const links = keys.slice(1).map((waiter, place) => ({ waiter, blockers: [String(place)] }));
  const graph = waitGraph(snapshot(people(...keys), links));
  assert.equal([...graph.behind("0", tables)].length, 99_999);
  assert.equal(graph.inCycle("99999"), false);
});

const ten = Array.from({ length: 10 }, (_, place) => String(place));

const graphs = fc
  .array(fc.tuple(fc.nat(9), fc.array(fc.nat(9), { maxLength: 3 })), { maxLength: 14 })
  .map((edges) => edges.map(([waiter, blockers]) => ({ waiter: String(waiter), blockers: blockers.map(String) })));

/** All that can be reached from the blocker, found the slow way. */
function closure(links: readonly Link[], from: string): Set<string> {
  const found = new Set<string>();
  for (let grown = true; grown; ) {
    const before = found.size;
    for (const { waiter, blockers } of links)
      if (blockers.some((one) => one !== waiter && (one === from || found.has(one)))) found.add(waiter);
    grown = found.size > before;
  }
  return found;
}

test("property: behind, cycles and roots are what the plain definition says", () => {
  fc.assert(
    fc.property(graphs, (links) => {
      const graph = waitGraph(snapshot(people(...ten), links));
      const waiting = new Set(links.map((link) => link.waiter));
      for (const key of ten) {
        const reachable = closure(links, key);
        const found = [...graph.behind(key, tables)];
        assert.deepEqual(new Set(found.map((one) => one.waiter)), new Set([...reachable].filter((one) => one !== key)));
        assert.equal(new Set(found.map((one) => one.waiter)).size, found.length);
        const depths = found.map((one) => one.depth);
        assert.deepEqual(
          depths,
          depths.toSorted((a, b) => a - b),
        );
        for (const { wait, blocker } of found) assert.ok(wait.blockers.some((one) => one.node === blocker));
        assert.equal(graph.inCycle(key), reachable.has(key));
        assert.equal(graph.isRoot(key), !waiting.has(key));
      }
    }),
  );
});

test("property: each step back from a waiter towards the blocker is one nearer", () => {
  fc.assert(
    fc.property(graphs, (links) => {
      const graph = waitGraph(snapshot(people(...ten), links));
      for (const start of ten) {
        const depth = new Map([[start, 0]]);
        for (const one of graph.behind(start, tables)) {
          assert.equal(depth.get(one.blocker), one.depth - 1);
          depth.set(one.waiter, one.depth);
        }
      }
    }),
  );
});
