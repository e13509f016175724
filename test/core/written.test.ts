import assert from "node:assert/strict";
import { test } from "node:test";
import { patterns } from "../../src/config/patterns.ts";
import { configSchema } from "../../src/config/schema.ts";
import { noHistory } from "../../src/core/history.ts";
import { evaluate } from "../../src/core/rules.ts";
import type { Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { settingsFor } from "../../src/daemon/settings.ts";
import { judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";
import { target } from "../support/targets.ts";

const idle = { state: "idle in transaction", idle_for: "30s" };

function matched(seen: Snapshot, match: object, except?: object): readonly string[] {
  const { rules } = judge({ rules: [{ name: "r", match, except, steps: ["terminate"] }] });
  const { findings } = evaluate(seen, rules, noHistory);
  return findings.map(({ subject, excepted }) => `${subject.session.pid}${excepted === null ? "" : " spared"}`);
}

const look = snapshot().session(1, { idle: "40s" }).session(2, { idle: "40s", wrote: false }).build();

/** The same look by an engine that was not asked who has written. */
const unasked = {
  ...look,
  sessions: look.sessions.map((one): Session => {
    const { transaction } = one;
    return transaction.kind === "open"
      ? { ...one, transaction: { ...transaction, writeId: null, writeUnknown: true } }
      : one;
  }),
};

test("where a look does not say who has written, a rule that asks matches nobody, and its exception spares everybody", () => {
  for (const has_written of [true, false]) {
    const who = has_written ? "1" : "2";
    assert.deepEqual(matched(look, { ...idle, has_written }), [who]);
    assert.deepEqual(matched(unasked, { ...idle, has_written }), []);
    assert.deepEqual(
      matched(look, idle, { has_written }).toSorted(),
      ["1", "2"].map((pid) => (pid === who ? `${pid} spared` : pid)),
    );
    assert.deepEqual(matched(unasked, idle, { has_written }), ["1 spared", "2 spared"]);
  }
});

test("a look asks who has written as soon as one rule does, in a match or an exception", () => {
  const written = (rule: object) => {
    const app = target("postgres://lockwarden@127.0.0.1/postgres");
    const rules = [{ name: "r", steps: ["notify"], ...rule }];
    const config = configSchema.parse({ targets: [{ name: "app", url: app.url }], rules });
    return settingsFor({ ...config, targets: [app], channels: [] }, "digest", app, patterns).written;
  };
  assert.equal(written({ match: idle }), false);
  assert.equal(written({ match: { ...idle, has_written: false } }), true);
  assert.equal(written({ match: idle, except: { has_written: true } }), true);
});
