import assert from "node:assert/strict";
import { test } from "node:test";
import { place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin } from "../support/stuck-login.ts";

const service = await loginService();
await service.person("owner", "postgres").then(async (owner) => {
  await owner.query("grant select, update on public.user_session to lockwarden");
  await owner.query("create table public.private (id int)");
});

const probeOf = (id: number) => `select 1 from public.user_session where id = ${id} for no key update`;

function config(probe: string, mode = "enforce"): string {
  return `
mode: ${mode}
targets: [{name: app, url: "${service.url}", poll: 200ms}]
rules:
  - name: stuck-login
    match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}}
    steps: [terminate]
    probe: {sql: "${probe}", timeout: 2s}
`;
}

test("the probe finds the login stuck, the act frees it, and the probe says that it works", async () => {
  const here = await place(config(probeOf(1)));
  const stuck = await stuckLogin(service, 1);
  const daemon = here.run();
  await stuck.login;
  const events = await eventually(async () => {
    const all = await here.journal();
    return all.some(({ event }) => event === "outcome") && all;
  });
  const outcome = events.find((event) => event.event === "outcome");
  assert.ok(outcome?.event === "outcome");
  assert.equal(outcome.outcome.kind, "released");
  assert.equal(outcome.outcome.probe?.kind, "works");
  assert.match(outcome.outcome.text, /the probe got through in .*: the way is free/);
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});

for (const [what, probe, said] of [
  ["the probe gets through", probeOf(2), "spared (probe)"],
  ["the probe cannot be run", "select 1 from public.private", "permission denied for table private"],
] as const) {
  test(`${what}: nobody is touched`, async () => {
    const here = await place(config(probe));
    const stuck = await stuckLogin(service, 3);
    const daemon = here.run();
    await eventually(() => daemon.said().includes("spared (probe)"));
    const looks = await eventually(async () => {
      const { rowCount } = await service.admin.query(
        "select 1 from pg_stat_activity where application_name = 'lockwarden' and query like '%pg_advisory_unlock_all%'",
      );
      return rowCount === 1;
    });
    assert.ok(looks);
    daemon.child.kill("SIGTERM");
    await daemon.ended;
    assert.ok(await stuck.lives());
    const events = await here.journal();
    assert.ok(events.every(({ event }) => event !== "intent"));
    const told = events.filter((event) => event.event === "observed");
    assert.equal(told.length, said.startsWith("spared") ? 0 : 1);
    assert.ok(`${daemon.said()}${JSON.stringify(told)}`.includes(said));
    await stuck.release();
  });
}

test("in observe no probe is run", async () => {
  const here = await place(config(probeOf(4), "observe"));
  const stuck = await stuckLogin(service, 4);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("spared (observe)"));
  const { rowCount } = await service.admin.query(
    "select 1 from pg_stat_activity where application_name = 'lockwarden' and query like '%pg_advisory_unlock_all%'",
  );
  assert.equal(rowCount, 0);
  daemon.child.kill("SIGTERM");
  await daemon.ended;
  await stuck.release();
});

const slow = "select pg_catalog.pg_sleep(30)";

for (const [what, probe, most] of [
  ["gets through", "select 1", 1],
  ["takes longer than what a look has seen stays true", slow, 5],
] as const) {
  test(`a rule whose probe ${what} keeps no other rule from its victims`, async () => {
    const here = await place(`
mode: enforce
targets: [{name: app, url: "${service.url}", poll: 200ms}]
rules:
  - name: careful
    match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}}
    steps: [terminate]
    probe: {sql: "${probe}", timeout: 1200ms}
  - name: plain
    match: {state: idle in transaction, idle_for: 200ms, applications: [plain]}
    steps: [terminate]
limits: {per_tick: ${most}}
`);
    const stuck = await stuckLogin(service, 5);
    const plain = await service.person("plain");
    plain.on("error", () => undefined);
    await plain.query("begin; select 1");
    const daemon = here.run();
    const events = await eventually(async () => {
      const all = await here.journal();
      return all.some(({ event }) => event === "outcome") && all;
    });
    assert.deepEqual(
      events.flatMap((event) => (event.event === "intent" ? [event.decision.rule] : [])),
      ["plain"],
    );
    daemon.child.kill("SIGTERM");
    await daemon.ended;
    assert.ok(await stuck.lives());
    await stuck.release();
  });
}

test("a probe that comes with a reload is made ready at once, and told when it cannot be", async () => {
  const here = await place(config(probeOf(1)));
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nobody waits for a lock"));
  assert.ok(!daemon.said().includes("a probe will not work"));
  await here.write(config(probeOf(1)).replace("timeout: 2s", "timeout: 2s, database: nowhere"));
  daemon.child.kill("SIGHUP");
  await eventually(() => daemon.said().includes("a probe will not work"));
  daemon.child.kill("SIGTERM");
  await daemon.ended;
});
