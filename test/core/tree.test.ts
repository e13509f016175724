import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { type Forest, hiddenNode, treeOf } from "../../src/core/tree.ts";
import { snapshot } from "../support/snapshot.ts";

/** `1(2(3) 4 ^3)`: 1 is a root, 3 is drawn under 2, and named once more under 1. */
function drawing(forest: Forest): string {
  const under = (node: string): string => {
    const own = (forest.branches.get(node) ?? []).map(({ here, soft, waiter }) =>
      here ? `${soft ? "~" : ""}${waiter}${under(waiter)}` : `^${waiter}`,
    );
    return own.length === 0 ? "" : `(${own.join(" ")})`;
  };
  return forest.roots.map(({ kind, node }) => `${kind === "blocker" ? node : kind}${under(node)}`).join(" ");
}

function withHidden(seen: Snapshot, waiter: string): Snapshot {
  const waits = (seen.waits ?? []).map((wait) => (wait.waiter === waiter ? { ...wait, hiddenBlocker: true } : wait));
  return { ...seen, waits };
}

const inTable = { locktype: "relation", table: "public.t", lock: "relation 1/2" };

test("who waits for nobody is a root, and everybody else stands under whom he waits for", () => {
  const seen = snapshot()
    .session(1)
    .session(2)
    .session(3)
    .waits(2, { on: 1, for: "5s" })
    .waits(3, { on: 2, for: "4s" });
  const forest = treeOf(seen.build());
  assert.equal(drawing(forest), "1(2(3))");
  assert.deepEqual([forest.waiters, forest.longestMs, forest.roots[0]?.waiters], [2, 5_000, 2]);
});

test("when nobody waits there is nothing, and when the waits were not read that is known", () => {
  const calm = treeOf(snapshot().session(1, { idle: "1m" }).build());
  assert.deepEqual([calm.roots.length, calm.waiters, calm.unread], [0, 0, false]);
  const unread = treeOf({ ...snapshot().session(1).calm(), contended: true });
  assert.deepEqual([unread.roots.length, unread.unread], [0, true]);
});

test("the root with most waiters comes first, then the one that is waited for longest", () => {
  const seen = snapshot()
    .waits(11, { on: 1, for: "9s" })
    .waits(12, { on: 2, for: "1s" })
    .waits(13, { on: 2, for: "2s" })
    .waits(14, { on: 3, for: "10s" });
  assert.equal(drawing(treeOf(seen.build())), "2(13 12) 3(14) 1(11)");
});

test("under a blocker whoever holds up most comes first, then who waits longest", () => {
  const seen = snapshot()
    .waits(2, { on: 1, for: "9s" })
    .waits(3, { on: 1, for: "2s" })
    .waits(4, { on: 3, for: "1s" })
    .waits(5, { on: 1, for: "10s" });
  assert.equal(drawing(treeOf(seen.build())), "1(3(4) 5 2)");
});

test("one who waits for two is drawn once, and only named under the other", () => {
  const seen = snapshot()
    .waits(2, { on: 1, for: "9s" })
    .waits(3, { on: 1, for: "8s" })
    .waits(4, { on: [2, 3], for: "7s" });
  assert.equal(drawing(treeOf(seen.build())), "1(2(4) 3(^4))");
  const twoRoots = snapshot()
    .waits(4, { on: [1, 2], for: "7s" })
    .waits(5, { on: 2, for: "7s" });
  assert.equal(drawing(treeOf(twoRoots.build())), "2(4 5) 1(^4)");
});

test("a reader behind a queued ALTER stands under it, softly", () => {
  const seen = snapshot()
    .waits(2, { ...inTable, on: 1, for: "9s", mode: "AccessExclusiveLock" })
    .waits(3, { ...inTable, on: 2, for: "8s", mode: "AccessShareLock", soft: true });
  const forest = treeOf(seen.build());
  assert.equal(drawing(forest), "1(2(~3))");
  assert.equal(forest.roots[0]?.waiters, 2);
});

test("in the queue of a hot row each stands under the holder, and his line says who is ahead", () => {
  const built = snapshot().waits(2, { on: 1, for: "9s" }).waits(3, { on: 1, for: "8s" }).build();
  const waits = (built.waits ?? []).map((wait) =>
    wait.waiter === "3" ? { ...wait, blockers: [...wait.blockers, { node: "2", soft: true }] } : wait,
  );
  const forest = treeOf({ ...built, waits });
  assert.equal(drawing(forest), "1(2 3)");
  assert.deepEqual(
    forest.branches.get("1")?.map(({ ahead }) => ahead),
    [[], ["2"]],
  );
  assert.deepEqual(
    forest.edges.map(({ waiter, blocker, soft }) => `${waiter}${soft ? "~" : "-"}${blocker}`),
    ["2-1", "3-1", "3~2"],
  );
});

test("a cycle that nobody else holds up is a root of its own, drawn once", () => {
  const seen = snapshot().waits(1, { on: 2, for: "2s" }).waits(2, { on: 1, for: "1s" }).waits(3, { on: 2, for: "1s" });
  const forest = treeOf(seen.build());
  assert.equal(drawing(forest), "cycle(1(2(3 ^1)))");
  assert.deepEqual(
    forest.roots.map(({ members, waiters }) => [members.toSorted(), waiters]),
    [[["1", "2"], 3]],
  );
  assert.equal(forest.cycles.length, 1);
  assert.deepEqual(
    forest.branches.get("2")?.map(({ waiter, cycle }) => [waiter, ...cycle]),
    [["3"], ["1", "2"]],
  );
});

test("a cycle behind a root, or behind another cycle, hangs on it", () => {
  const behindRoot = snapshot()
    .waits(1, { on: [2, 9], for: "2s" })
    .waits(2, { on: 1, for: "1s" });
  const hung = treeOf(behindRoot.build());
  assert.equal(drawing(hung), "9(1(2(^1)))");
  const cycleOf = (node: string) => hung.branches.get(node)?.map(({ cycle }) => cycle);
  // What it waits for there is no part of the cycle.
  assert.deepEqual([cycleOf("9"), cycleOf("1")], [[[]], [["1"]]]);
  const behindCycle = snapshot()
    .waits(1, { on: [2, 3] })
    .waits(2, { on: 1 })
    .waits(3, { on: 4 })
    .waits(4, { on: 3 });
  assert.equal(drawing(treeOf(behindCycle.build())), "cycle(3(1(2(^1)) 4(^3)))");
});

test("a parallel worker stands for its leader, and workers that wait for each other are told as such", () => {
  const seen = snapshot()
    .session(1)
    .session(2)
    .session(3, { group: "2" })
    .waits(3, { on: [1, 2] });
  assert.equal(drawing(treeOf(seen.build())), "1(2)");
  const among = snapshot().session(2).session(3, { group: "2" }).waits(3, { on: 2 });
  const forest = treeOf(among.build());
  assert.equal(drawing(forest), "cycle(2)");
  assert.deepEqual(forest.roots[0]?.members, ["2"]);
});

test("what cannot be seen is a root, and so is a prepared transaction", () => {
  const seen = withHidden(snapshot().waits(2, { on: [], for: "1s" }).waits(3, { on: 2 }).build(), "2");
  const forest = treeOf(seen);
  assert.equal(drawing(forest), "hidden(2(3))");
  assert.equal(forest.roots[0]?.node, hiddenNode);

  const prepared = { kind: "prepared", key: "prepared/7", gid: "g", transactionId: "7", user: "u", database: "d" };
  const built = snapshot().waits(2, { on: 1 }).build();
  const waits = (built.waits ?? []).map((wait) => ({ ...wait, blockers: [{ node: "prepared/7", soft: false }] }));
  const withPrepared = treeOf({ ...built, waits, prepared: [{ ...prepared, kind: "prepared", ageMs: 1 }] });
  assert.equal(drawing(withPrepared), "prepared/7(2)");
  assert.equal(withPrepared.parties.get("prepared/7")?.kind, "prepared");
});

test("a chain of ten thousand is no deeper than the stack", () => {
  const built = snapshot().build();
  const [proto] = snapshot().waits(2, { on: 1 }).build().waits ?? [];
  assert.ok(proto);
  const waits = Array.from({ length: 10_000 }, (_, place) => ({
    ...proto,
    waiter: String(place + 1),
    blockers: [{ node: String(place), soft: false }],
  }));
  const forest = treeOf({ ...built, waits });
  assert.deepEqual([forest.roots.length, forest.roots[0]?.waiters, forest.sizes.get("0")], [1, 10_000, 10_000]);
});

const node = fc.integer({ min: 1, max: 12 });
const anyWaits = fc.array(
  fc.record({
    waiter: node,
    blockers: fc.array(fc.record({ node: node.map(String), soft: fc.boolean() }), { maxLength: 4 }),
    hiddenBlocker: fc.boolean(),
  }),
  { maxLength: 14 },
);

test("whatever waits for whatever, each waiter is drawn once, and no hard edge is left out", () => {
  fc.assert(
    fc.property(anyWaits, (described) => {
      const built = described.reduce((seen, { waiter }) => seen.waits(waiter, { on: [] }), snapshot()).build();
      const waits = (built.waits ?? []).map((wait, place) => ({ ...wait, ...described[place], waiter: wait.waiter }));
      const forest = treeOf({ ...built, waits });
      const branches = [...forest.branches.values()].flat();
      const drawn = branches.filter(({ here }) => here).map(({ waiter }) => waiter);
      assert.deepEqual(drawn.toSorted(), [...new Set(waits.map(({ waiter }) => waiter))].toSorted());
      const total = forest.roots.reduce((sum, { node: root }) => sum + (forest.sizes.get(root) ?? 0), 0);
      assert.equal(total, forest.waiters);
      const kept = new Set(branches.map(({ waiter, blocker }) => `${waiter} ${blocker}`));
      for (const { waiter, blocker, soft } of forest.edges) {
        if (!soft && waiter !== blocker) assert.ok(kept.has(`${waiter} ${blocker}`), `${waiter} ${blocker}`);
      }
    }),
  );
});
