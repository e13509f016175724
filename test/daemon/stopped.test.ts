import assert from "node:assert/strict";
import { test } from "node:test";
import { intentsOf } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { silentProxy } from "../support/silent-proxy.ts";

const service = await loginService({ major: 18, settings: { deadlock_timeout: "30s" } });

/** Past it, what a look has seen is too old (tick.ts). */
const staleMs = 2_000;

test("stopped in the middle of a look and continued, it judges anew: whom it saw is not sent for, and the right stayed its own", async () => {
  let daemon: Running | null = null;
  let stopAt = Number.POSITIVE_INFINITY;
  let stopped = 0;
  // The daemon stands still when the server has answered its look and it has not read the answer.
  const proxy = await silentProxy(service.postgres.port, {
    fromServer: (chunk) => {
      if (stopped === 0 && chunk.includes("stale-victim") && --stopAt === 0) {
        daemon?.child.kill("SIGSTOP");
        stopped = performance.now();
      }
      return chunk;
    },
  });
  const config = (url: string) => `
mode: enforce
targets: [{name: app, url: "${url}", poll: 1h}]
rules:
  - name: stuck
    match: {state: idle in transaction, idle_for: 500ms, blocks: {tables: [public.user_session]}, applications: [stale-victim]}
    steps: [terminate]
`;
  const victim = await service.person("stale-victim");
  const pid = await pidOf(victim);
  await abandon(victim, 1);
  const login = logIn(await service.person("web"), 1);
  const due = "select 1 from pg_stat_activity where pid = $1 and state_change < clock_timestamp() - interval '600 ms'";
  await eventually("it is due", async () => (await service.admin.query(due, [pid])).rowCount === 1);
  const here = await place(config(service.postgres.url("lockwarden", "app").replace(/:\d+\//, `:${proxy.port}/`)));
  const there = await place(config(service.url).replace("1h", "200ms"));
  // The first answer that names the victim is the calm look; the second has the locks, and decides.
  stopAt = 2;
  daemon = here.run();
  await eventually("it stands still", () => stopped > 0);
  const follower = there.run();
  await eventually("its right is still its own", () => follower.said().includes("another Lockwarden acts"));

  await victim.query("commit");
  await login;
  await abandon(victim, 2);
  await eventually("what it saw is too old", () => performance.now() - stopped > staleMs + 500);
  daemon.child.kill("SIGCONT");
  const running = daemon;
  await eventually("it has looked again", () => running.said().includes("nobody waits for a lock"));
  assert.deepEqual(await intentsOf(here), []);
  assert.deepEqual(await intentsOf(there), []);
  assert.ok(!follower.said().includes("this Lockwarden acts on this target now"), follower.said());
  await victim.query("commit");
});
