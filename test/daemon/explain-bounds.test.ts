import assert from "node:assert/strict";
import { test } from "node:test";
import { patterns } from "../../src/config/patterns.ts";
import { configSchema } from "../../src/config/schema.ts";
import { noHistory } from "../../src/core/history.ts";
import { explainLook } from "../../src/daemon/explain.ts";
import { settingsFor } from "../../src/daemon/settings.ts";
import { snapshot } from "../support/snapshot.ts";
import { target } from "../support/targets.ts";

test("a daemon that is asked about everybody says so when it is too much, and goes on", async () => {
  const app = target("postgres://lockwarden@db/app");
  const rules = ["a", "b"].map((name) => ({ name, match: { idle_for: "5s" }, steps: ["notify"] }));
  const config = { ...configSchema.parse({ targets: [{ name: "app" }], rules }), targets: [app], channels: [] };
  const settings = settingsFor(config, "digest", app, patterns);
  const standing = { settings, history: noHistory, leader: true, paused: false, journal: { works: () => true } };
  const look = { snapshot: snapshot().session(1).session(2).session(3).build(), standing };
  const ask = (session: string | null) =>
    explainLook(look, { scope: { session, all: true }, basis: "daemon", most: 4 });
  await assert.rejects(
    ask(null),
    /at most 4 explanations at once.*each of 2 rules; name a session, or leave out --all/,
  );
  assert.equal((await ask("1")).sessions.length, 1);
});
