import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { patterns } from "../../src/config/patterns.ts";
import { configSchema } from "../../src/config/schema.ts";
import { noHistory } from "../../src/core/history.ts";
import { createPulse } from "../../src/daemon/pulse.ts";
import { type Settings, settingsFor } from "../../src/daemon/settings.ts";
import { watch } from "../../src/daemon/watch.ts";
import { postgres } from "../../src/engines/postgres/index.ts";
import { openGate } from "../../src/executor.ts";
import { loginService } from "../support/login-service.ts";
import { muteLog } from "../support/mute-log.ts";
import { stuckLogin } from "../support/stuck-login.ts";
import { target } from "../support/targets.ts";
import { quiet } from "../support/text-connection.ts";

const service = await loginService({ major: 18 });
const nothing = (): undefined => undefined;

function settingsIn(mode: "observe" | "enforce"): Settings {
  const match = { state: "idle in transaction", idle_for: "200ms", blocks: { tables: ["public.user_session"] } };
  const config = configSchema.parse({
    mode,
    targets: [{ name: "app", url: service.url, poll: "1h" }],
    rules: [{ name: "stuck-login", match, steps: ["terminate"] }],
  });
  const app = target(service.url, { poll: "1h" });
  return settingsFor({ ...config, targets: [app], channels: [] }, mode, app, patterns);
}

test("a config that says enforce, and comes between the asking for the right to act and the look, lets nobody act without it", async (t) => {
  const rival = await postgres.connect(target(service.url), quiet);
  assert.equal(await rival.lease(quiet), "held");
  const [observe, enforce] = [settingsIn("observe"), settingsIn("enforce")];
  let inForce = observe;
  let checks = 0;
  const stop = new AbortController();
  const journal = {
    works: () => true,
    trouble: () => null,
    write: () => Promise.resolve(),
    mend: () => Promise.resolve(),
  };
  const one = watch({
    settings: () => inForce,
    engine: {
      ...postgres,
      connect: async (...where) => {
        const link = await postgres.connect(...where);
        // Somebody who asks for a look is told what the role lacks, right before it: the reload is over by then.
        const check: typeof link.check = async (signal) => {
          const missing = await link.check(signal);
          if (++checks > 1) inForce = enforce;
          return missing;
        };
        return { ...link, check };
      },
    },
    history: noHistory,
    journal: { ...journal, close: () => Promise.resolve() },
    tell: nothing,
    gate: openGate,
    recover: () => Promise.resolve(),
    record: nothing,
    log: muteLog,
    pulse: createPulse(),
    absence: { fails: nothing, works: nothing, isAway: () => false, rest: nothing },
    newId: randomUUID,
    now: () => new Date(),
    clock: { last: null },
    signal: stop.signal,
  });
  t.after(async () => {
    stop.abort(new Error("the test is over"));
    await one.ended;
    await rival.close();
  });
  const { lives, release } = await stuckLogin(service, 1);
  const { result } = await one.lookNow();
  assert.equal(checks, 2);
  assert.equal(await lives(), true);
  assert.deepEqual(
    result.judgements.map(({ decision }) => [decision.kind, decision.kind === "spare" && decision.by]),
    [["spare", "follower"]],
  );
  await release();
});
