import assert from "node:assert/strict";
import { test } from "node:test";
import { noHistory } from "../../src/core/history.ts";
import { evaluate } from "../../src/core/rules.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { unruledRoots } from "../../src/core/unruled.ts";
import { judge } from "../support/judge.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const rule = {
  name: "stuck-login",
  match: { state: "idle in transaction", idle_for: "30s", blocks: { tables: ["public.user_session"] } },
  steps: ["terminate"],
};

function named(look: SnapshotBuilder): readonly string[] {
  return namedIn(look.build());
}

function namedIn(built: Snapshot): readonly string[] {
  const { rules } = judge({ rules: [rule] });
  const seen = { snapshot: built, evaluation: evaluate(built, rules, noHistory) };
  return unruledRoots(seen).map(
    ({ blocker, relation }) => `${blocker.kind === "session" ? blocker.pid : blocker.gid} on ${relation}`,
  );
}

function stuck(waited: string | undefined, table: string): SnapshotBuilder {
  return snapshot()
    .session(1, { idle: "40s" })
    .session(2, { xact: "9s", query_age: "9s" })
    .waits(2, { on: 1, table, ...(waited === undefined ? {} : { for: waited }) });
}

test("a root that somebody has long been waiting behind, and that no rule is about, is named", () => {
  assert.deepEqual(named(stuck("5s", "public.orders")), ["1 on public.orders"]);
});

test("waits of the moment are what locks are for", () => {
  assert.deepEqual(named(stuck("4s", "public.orders")), []);
});

test("where the server does not say since when somebody waits, the statement's age bounds it", () => {
  assert.deepEqual(named(stuck(undefined, "public.orders")), ["1 on public.orders"]);
});

test("whom a rule is about, acted on or not, the rule's own part of the sentence names", () => {
  assert.deepEqual(named(stuck("9s", "public.user_session")), []);
});

test("only the root is named, not the waiters in the middle", () => {
  const chain = stuck("9s", "public.orders").session(3, { xact: "9s" }).waits(3, { on: 2, for: "9s" });
  assert.deepEqual(named(chain), ["1 on public.orders"]);
});

test("in a busy queue for a table its holder of the moment is not named, however long others have queued", () => {
  const queue = snapshot()
    .session(1, { xact: "1m" })
    .session(2, { xact: "9s" })
    .waits(2, { on: 1, for: "9s", table: "public.orders", locktype: "relation" });
  assert.deepEqual(named(queue), []);
});

test("a prepared transaction is named by its gid", () => {
  const key = "prepared 7";
  const gone = {
    kind: "prepared",
    gid: "order-7",
    transactionId: "7",
    user: "app",
    database: "app",
    ageMs: 9_000,
  } as const;
  const built = snapshot().session(2, { xact: "9s" }).waits(2, { on: 1, for: "9s", table: "public.orders" }).build();
  const waits = (built.waits ?? []).map((wait) => ({ ...wait, blockers: [{ node: key, soft: false }] }));
  assert.deepEqual(namedIn({ ...built, prepared: [{ ...gone, key }], waits }), ["order-7 on public.orders"]);
});
