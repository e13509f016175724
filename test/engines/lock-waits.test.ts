import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { conflicts, lockModes } from "../../src/core/lock-mode.ts";
import type { LockRow } from "../../src/engines/postgres/lock-rows.ts";
import { type LockContext, lockWaits } from "../../src/engines/postgres/lock-waits.ts";

const context: LockContext = {
  nodeOf: (one) => one.pid,
  relationOf: (one) => ({ database: "app", schema: "public", name: `t${one.relationId}`, ancestors: [] }),
  isRowless: () => false,
  ordered: true,
  holdsComplete: true,
};

function row(pid: string, mode: string, more: Partial<LockRow> = {}): LockRow {
  return {
    pid,
    lock: "relation 5/20000",
    locktype: "relation",
    databaseId: "5",
    relationId: "20000",
    transactionId: null,
    virtualTransaction: `${pid}/1`,
    mode,
    granted: true,
    contended: true,
    waitAt: null,
    waitMs: null,
    ...more,
  };
}

const waiting = (pid: string, mode: string, at: number): LockRow =>
  row(pid, mode, { granted: false, waitAt: `2026-01-01T00:00:00.${String(at).padStart(6, "0")}Z`, waitMs: 1 });

type Place = Readonly<{ one: LockRow; at: number }>;

function isBehind(waiter: Place, other: Place): boolean {
  const before = other.one.granted || other.at < waiter.at;
  return !waiter.one.granted && before && conflicts(waiter.one.mode, other.one.mode);
}

/** Who stands behind it, found by all pairs. */
function allPairs(rows: readonly LockRow[], from: string): ReadonlySet<string> {
  const places = rows.map((one, at) => ({ one, at }));
  const found = new Set([from]);
  for (let before = 0; found.size > before; ) {
    before = found.size;
    for (const waiter of places)
      if (places.some((other) => found.has(other.one.pid ?? "") && isBehind(waiter, other)))
        found.add(waiter.one.pid ?? "");
  }
  return found;
}

const mode = fc.constantFrom(...lockModes);
/** Who holds, and who waits behind it: everybody for somebody, as on a server. */
const queue = fc
  .tuple(mode, fc.array(mode, { maxLength: 14 }))
  .map(([held, wanted]): [string, readonly string[]] => [
    held,
    wanted.reduce<readonly string[]>(join, [held]).slice(1),
  ]);

function join(queued: readonly string[], one: string): readonly string[] {
  return queued.some((before) => conflicts(before, one)) ? [...queued, one] : queued;
}

test("property: soft edges that were left out are still reached over the others", () => {
  fc.assert(
    fc.property(queue, ([held, wanted]) => {
      const rows = [row("0", held), ...wanted.map((one, place) => waiting(String(place + 1), one, place + 1))];
      const { waits } = lockWaits(rows, context);
      for (const { pid } of rows) {
        const found = new Set([pid ?? ""]);
        for (let before = 0; found.size > before; ) {
          before = found.size;
          for (const wait of waits) if (wait.blockers.some(({ node }) => found.has(node))) found.add(wait.waiter);
        }
        assert.deepEqual([...found].toSorted(), [...allPairs(rows, pid ?? "")].toSorted());
      }
    }),
  );
});

test("property: whatever is drawn is a conflict, and hard only with who holds the lock", () => {
  fc.assert(
    fc.property(mode, fc.array(mode, { maxLength: 14 }), fc.boolean(), (held, wanted, ordered) => {
      const rows = [row("0", held), ...wanted.map((one, place) => waiting(String(place + 1), one, place + 1))];
      for (const wait of lockWaits(rows, { ...context, ordered }).waits) {
        for (const { node, soft } of wait.blockers) {
          const blocker = rows[Number(node)];
          assert.equal(blocker?.granted, !soft);
          assert.ok(conflicts(wait.mode, blocker?.mode ?? ""));
        }
        assert.equal(wait.hiddenBlocker, wait.blockers.length === 0);
      }
    }),
  );
});

test("who has noted its moment before the one it waits for is behind it all the same, and makes no cycle with it", () => {
  const rows = [row("0", "AccessShareLock"), waiting("1", "RowShareLock", 1), waiting("2", "AccessExclusiveLock", 2)];
  const drawn = lockWaits(rows, context).waits.map(({ blockers, hiddenBlocker }) => ({ blockers, hiddenBlocker }));
  assert.deepEqual(drawn, [
    { blockers: [{ node: "2", soft: true }], hiddenBlocker: false },
    { blockers: [{ node: "0", soft: false }], hiddenBlocker: false },
  ]);
});

test("a thousand writers behind a queued ALTER make about a thousand edges", () => {
  const rows = [row("0", "AccessShareLock"), waiting("1", "AccessExclusiveLock", 1)];
  for (let pid = 2; pid <= 1_001; pid++) rows.push(waiting(String(pid), "RowExclusiveLock", pid));
  rows.push(waiting("1002", "AccessExclusiveLock", 1_002));
  rows.push(...Array.from({ length: 1_000 }, (_, n) => waiting(String(n + 1_003), "AccessExclusiveLock", n + 1_003)));
  const edges = lockWaits(rows, context).waits.flatMap((wait) => wait.blockers.filter(({ soft }) => soft));
  // The writers to the first ALTER; the second to each writer and the first; each later one to the one before it.
  assert.equal(edges.length, 1_000 + 1_001 + 1_000);
});

test("before 14, without an order, there is no cycle by guessing, and a free waiter is behind those that are kept out", () => {
  const rows = [
    row("0", "AccessShareLock"),
    row("1", "AccessExclusiveLock", { granted: false }),
    row("2", "AccessExclusiveLock", { granted: false }),
    row("3", "AccessShareLock", { granted: false }),
  ];
  const { waits } = lockWaits(rows, { ...context, ordered: false });
  const drawn = waits.map((wait) => wait.blockers.map(({ node, soft }) => (soft ? `~${node}` : node)).join(" "));
  assert.deepEqual(drawn, ["0", "0", "~1 ~2"]);
});

test("a holder that cannot be seen is a hidden blocker", () => {
  const rows = [row("0", "AccessExclusiveLock"), row("9", "ExclusiveLock"), waiting("1", "ShareLock", 1)];
  const [wait] = lockWaits(rows, { ...context, nodeOf: (one) => (one.pid === "9" ? null : one.pid) }).waits;
  assert.deepEqual(wait?.blockers, [{ node: "0", soft: false }]);
  assert.equal(wait?.hiddenBlocker, true);
});

const xid = { lock: "transactionid 700", locktype: "transactionid", relationId: null, databaseId: null };
const table = (pid: string, id: string, tableMode = "RowExclusiveLock") =>
  row(pid, tableMode, { lock: `relation 5/${id}`, relationId: id, contended: false });
const rowWait = [row("0", "ExclusiveLock", xid), { ...waiting("1", "ShareLock", 1), ...xid }];
const candidates = (rows: readonly LockRow[], more: Partial<LockContext> = {}) =>
  lockWaits([...rowWait, ...rows], { ...context, ...more }).waits[0]?.candidates.map((one) => one.name);

test("candidates of a row-lock wait are the tables that both sides hold for rows", () => {
  const shared = [table("0", "20000"), table("1", "20000"), table("0", "20001"), table("1", "20002")];
  assert.deepEqual(candidates([...shared, table("0", "20003", "AccessShareLock"), table("1", "20003")]), ["t20000"]);
  assert.deepEqual(candidates(shared, { isRowless: (one) => one.relationId === "20000" }), []);
});

test("nothing is said of a row-lock wait when a name is missing, locks were left out, or a catalog is held", () => {
  const both = [table("0", "20000"), table("1", "20000"), table("0", "20001"), table("1", "20001")];
  assert.deepEqual(candidates(both), ["t20000", "t20001"]);
  assert.deepEqual(
    candidates(both, {
      relationOf: (one) => (one.relationId === "20001" ? null : context.relationOf(one)),
    }),
    [],
  );
  assert.deepEqual(candidates(both, { holdsComplete: false }), []);
  assert.deepEqual(candidates([...both, table("1", "1259")]), []);
});
