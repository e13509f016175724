import assert from "node:assert/strict";
import { test } from "node:test";
import { logChannel } from "../../src/notify/log-channel.ts";
import { logLines } from "../support/log-lines.ts";
import { notice, outcome, spare } from "../support/notice-samples.ts";

for (const [name, told, level] of [
  ["what was freed", notice(), "info"],
  ["what survived", notice({ outcome: outcome({ kind: "survived" }) }), "error"],
  ["what has begun", notice({ phase: "opened", decision: spare("observe"), outcome: null }), "warn"],
  ["the daemon's own news", notice({ phase: "system", decision: null, outcome: null }), "info"],
] as const) {
  test(`${name} is logged as ${level}, in one line`, async () => {
    const { log, lines } = logLines();
    const channel = logChannel("log", log);
    assert.deepEqual(await channel.deliver(told, AbortSignal.timeout(30_000)), { kind: "delivered" });
    await channel.close();
    assert.equal(lines.length, 1);
    assert.ok(lines[0]?.startsWith(`${level} [lockwarden app] `));
  });
}

test("the facts are fields", async () => {
  const seen: unknown[] = [];
  const write = (fields: unknown) => void seen.push(fields);
  const channel = logChannel("log", { info: write, warn: write, error: write });
  await channel.deliver(notice(), AbortSignal.timeout(30_000));
  const fields = seen[0] as Record<string, unknown>;
  const { pid, sessionId, rule, action, outcome: kind, waiters } = fields;
  assert.deepEqual(
    [pid, sessionId, rule, action, kind, waiters],
    ["4711", "69a39c60.1267", "stuck-login", "terminate", "released", 2],
  );
});
