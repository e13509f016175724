import assert from "node:assert/strict";
import { test } from "node:test";
import { patterns } from "../../src/config/patterns.ts";
import { noHistory } from "../../src/core/history.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { openActs } from "../../src/daemon/open-acts.ts";
import { settingsFor } from "../../src/daemon/settings.ts";
import { type TickContext, tick } from "../../src/daemon/tick.ts";
import { engineFor } from "../../src/engines/registry.ts";
import type { Gate } from "../../src/executor.ts";
import type { Notice } from "../../src/notify/channel.ts";
import { goodConfig } from "../support/load-text.ts";
import { loginService } from "../support/login-service.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();

test("pressed while the intent is being written, nothing is sent, and the intent is closed by an outcome that says so", async () => {
  const config = goodConfig(`mode: enforce\ntargets: [{name: app, url: "${service.url}"}]\n${stuckRule}\n`);
  const [target] = config.targets;
  assert.ok(target !== undefined);
  const { lives, release } = await stuckLogin(service, 1);
  const { signal } = new AbortController();
  const link = await engineFor(target).connect(target, signal);
  let paused = false;
  const gate: Gate = { paused: () => paused, send: (act) => (paused ? null : act()) };
  const events: JournalEvent[] = [];
  const told: Notice[] = [];
  let ids = 0;
  const context: TickContext = {
    settings: settingsFor(config, "digest", target, patterns),
    link,
    memory: { history: noHistory, open: openActs() },
    leader: true,
    paused,
    gate,
    journal: {
      works: () => true,
      write: (event) => {
        events.push(event);
        if (event.event === "intent") paused = true;
        return Promise.resolve();
      },
    },
    tell: (notice) => void told.push(notice),
    report: () => undefined,
    newId: () => String(ids++),
    now: () => new Date(),
    alive: () => undefined,
    signal,
  };
  const { judgements } = await tick(context);
  await link.close();
  assert.ok(await lives());
  const [intent, outcome, observed] = events;
  assert.ok(intent?.event === "intent" && outcome?.event === "outcome" && observed?.event === "observed");
  assert.equal(outcome.id, intent.id);
  assert.equal(outcome.outcome.kind, "changed");
  assert.match(outcome.outcome.text, /paused before the signal went out; nothing was sent/);
  const [{ decision } = { decision: null }] = judgements;
  assert.ok(decision?.kind === "spare" && decision.by === "paused");
  assert.match(told.map(({ text }) => text).join("\n"), /^did not terminate session \S+ .*; paused by hand before/);
  // It counts as no act: neither the limits nor the ladder know of it.
  assert.deepEqual(context.memory.history.acts, []);
  await release();
});
