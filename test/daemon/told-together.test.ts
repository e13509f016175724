import assert from "node:assert/strict";
import { test } from "node:test";
import { noticesOf, observedOf } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { idleTransactions } from "../support/raw-sessions.ts";

// Many match at once and nobody is acted on. The version cannot matter.
const service = await loginService({ major: 18, settings: { max_connections: "200" } });
const many = 45;

function config(application: string, mode: string, step: string): string {
  return `
mode: ${mode}
targets: [{name: app, url: "${service.url}", poll: 30s}]
rules: [{name: crowd, match: {state: idle in transaction, idle_for: 100ms, applications: [${application}]}, steps: [${step}]}]`;
}

function crowd(application: string) {
  const { port } = service.postgres;
  return idleTransactions(many, { port, user: "login_service", database: "app", application });
}

test("whom observe mode would end is told one by one up to ten, the oldest, and of the others in one notice; the journal has all", async () => {
  const { pids } = await crowd("observed");
  const here = await place(config("observed", "observe", "terminate"));
  const daemon = here.run();
  const told = await eventually("all are told", () => {
    const found = noticesOf(daemon);
    return found.some((text) => text.includes("more of rule crowd")) ? found : null;
  });
  assert.equal(told.length, 11);
  for (const [at, pid] of pids.slice(0, 10).entries())
    assert.ok(told[at]?.startsWith(`opened would terminate session ${pid},`), told[at]);
  const rest = `opened 35 more of rule crowd, the oldest of them: would terminate session ${pids[10]},`;
  assert.ok(told[10]?.startsWith(rest), told[10]);
  await eventually("all are on record", async () => (await observedOf(here)).length === many);
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});

test("those who were told of together are told of together when the last of them has ended, and the others one by one", async () => {
  const sessions = await crowd("notified");
  const here = await place(config("notified", "enforce", "notify"));
  const daemon = here.run();
  const texts = (phase: string) => noticesOf(daemon).filter((text) => text.startsWith(`${phase} `));
  await eventually("all are told", () => texts("opened").some((text) => text.includes("35 more of rule crowd")));
  assert.equal(texts("opened").length, 11);
  sessions.end();
  const together = "resolved rule crowd: the 35 that were told of together have ended, or are told of by themselves";
  await eventually("the end is told", async () => {
    // The daemon has no reason of its own to look.
    daemon.child.kill("SIGHUP");
    return texts("resolved").includes(together) && texts("resolved").length >= 11;
  });
  assert.equal(texts("resolved").length, 11);
  assert.equal(texts("resolved").filter((text) => text === "resolved rule crowd: the transaction ended").length, 10);
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});
