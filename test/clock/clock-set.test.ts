import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeTime, fakeTimeLibrary } from "../support/fake-time.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { type LoginService, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

const { file: library, missing: skip } = fakeTimeLibrary();
const idleForMs = 8_000;

function config(url: string, more: Readonly<{ poll?: string; statementTimeout?: string }> = {}): string {
  return `
mode: enforce
targets: [{name: app, url: "${url}", poll: "${more.poll ?? "1s"}", statement_timeout: ${more.statementTimeout ?? "5s"}}]
rules:
  - name: stuck-login
    match: {state: idle in transaction, idle_for: ${idleForMs}ms, blocks: {tables: [public.user_session]}}
    steps: [terminate]
`;
}

/** Somebody abandons a row; `freed` resolves, with the true age of the abandonment, when the one who waits for it has it. */
async function abandoned(service: LoginService, id: number) {
  const crashed = await service.person("web-1");
  const waiter = await service.person("web-2");
  const pid = await pidOf(crashed);
  await crashed.query("begin");
  const begun = performance.now();
  await logIn(crashed, id);
  const freed = logIn(waiter, id).then(() => performance.now() - begun);
  return { pid, freed };
}

function says(daemon: Running, text: string | RegExp): Promise<unknown> {
  return eventually(() => daemon.lines().some(({ msg }) => String(msg).match(text) !== null), 60_000);
}

/** The ages in ms that the daemon went by, of everybody it acted on. */
async function agesActedOn(here: Place): Promise<readonly number[]> {
  return (await here.journal()).flatMap((event) => {
    if (event.event !== "intent" || event.decision.evidence.victim.kind !== "session") return [];
    return [event.decision.evidence.victim.stateMs ?? 0];
  });
}

test("the server's clock is set under a daemon that may act", { skip }, async (t) => {
  const time = await fakeTime(library);
  const service = await loginService({ major: 18, environment: time.environment });
  const here = await place(config(service.url));
  const daemon = here.run();
  await says(daemon, "nobody waits for a lock");

  await t.test(
    "an hour forward: a young transaction is left alone until it is really old, and freed then",
    async () => {
      const young = await abandoned(service, 1);
      await says(daemon, `session ${young.pid},.* is watched`);
      await time.set(3_600);
      await says(daemon, /jumped forward by 1 h since the last look/);
      assert.ok((await young.freed) >= idleForMs);
    },
  );

  await t.test("a reconnect and a reload forget nothing of the jump", async () => {
    await time.set(7_200);
    await says(daemon, /jumped forward by 1 h since the last look/);
    const young = await abandoned(service, 2);
    await says(daemon, `session ${young.pid},.* is watched`);
    await time.set(10_800);
    await eventually(() => daemon.lines().filter(({ msg }) => String(msg).includes("jumped forward")).length === 3);
    await service.admin.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'lockwarden'");
    await eventually(() => connections(daemon) === 2, 60_000);
    await here.write(config(service.url, { statementTimeout: "6s" }));
    daemon.child.kill("SIGHUP");
    await eventually(() => connections(daemon) === 3, 60_000);
    assert.ok((await young.freed) >= idleForMs);
  });

  await t.test("put right again: whoever begins then is freed when it is due, and not before", async () => {
    await time.set(0);
    await says(daemon, /jumped back by 3 h since the last look/);
    const young = await abandoned(service, 3);
    assert.ok((await young.freed) >= idleForMs);
    const ages = await agesActedOn(here);
    assert.equal(ages.length, 3);
    assert.ok(ages.every((ms) => ms >= idleForMs && ms < 300_000));
  });
});

for (const poll of ["1s", "*/2 * * * * *"]) {
  test(`the host's clock alone, poll ${poll}: set forward, back and right again, it changes nothing`, {
    skip,
  }, async () => {
    const time = await fakeTime(library);
    const service = await loginService({ major: 18 });
    const here = await place(config(service.url, { poll }));
    const daemon = here.run(time.environment);
    await says(daemon, "nobody waits for a lock");
    for (const [id, ahead] of [7_200, -86_400, 0].entries()) {
      const young = await abandoned(service, id + 1);
      await time.set(ahead);
      assert.ok((await young.freed) >= idleForMs);
    }
    const ages = await agesActedOn(here);
    assert.ok(ages.length === 3 && ages.every((ms) => ms >= idleForMs && ms < 300_000));
    assert.ok(!daemon.said().includes("jumped"));
    daemon.child.kill("SIGTERM");
    assert.equal((await daemon.ended).code, 0);
  });
}

function connections(daemon: Running): number {
  return daemon.lines().filter(({ msg }) => String(msg).startsWith("connected")).length;
}
