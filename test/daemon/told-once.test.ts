import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { noticesOf, outcomesOf } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { place } from "../support/lockwarden.ts";
import { abandon, loginService, pidOf } from "../support/login-service.ts";

// What is tried again and again is told once. The version cannot matter.
const service = await loginService({ major: 18 });
const owner = await service.person("owner", "postgres");
await owner.query("grant select, update on public.user_session to lockwarden");

function config(rule: string): string {
  return `
mode: enforce
verify_for: 3s
targets: [{name: app, url: "${service.url}", poll: 500ms, statement_timeout: 1m}]
rules: [${rule}]`;
}

test("what our role was denied is tried again after a reload, told once, and done when the right is there", async () => {
  const victim = await service.person("denied");
  await abandon(victim, 1);
  await service.admin.query("revoke pg_signal_backend from lockwarden");
  const match = "{state: idle in transaction, idle_for: 200ms, applications: [denied]}";
  const here = await place(config(`{name: denied, match: ${match}, steps: [terminate]}`));
  const daemon = here.run();
  const outcomes = async () => (await outcomesOf(here)).map(({ outcome }) => outcome.kind);
  await eventually("it is denied", async () => (await outcomes()).length === 1);
  await eventually("it is tried again", async () => {
    daemon.child.kill("SIGHUP");
    return (await outcomes()).length >= 2;
  });
  assert.deepEqual(new Set(await outcomes()), new Set(["denied"]));
  await service.admin.query("grant pg_signal_backend to lockwarden");
  await eventually("it is ended", async () => {
    daemon.child.kill("SIGHUP");
    return (await outcomes()).at(-1) === "released";
  });
  const told = await eventually("its end is told", () => {
    const found = noticesOf(daemon).filter((text) => text.includes(", denied)"));
    return found.some((text) => text.includes("released") || text.startsWith("resolved")) ? found : null;
  });
  assert.deepEqual(
    told.map((text) => text.split(" ", 1)[0]),
    ["changed", "resolved"],
  );
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});

test("a busy transaction that is another one whenever the act is to go out is told after ten refusals, once, and lives", async () => {
  const busy = await service.person("busy");
  const pid = await pidOf(busy);
  await abandon(busy, 6);
  const enough = new AbortController();
  await owner.query("create sequence public.statements; grant all on public.statements to login_service, lockwarden");
  await busy.query("select nextval('public.statements')");
  const working = (async () => {
    while (!enough.signal.aborted) {
      await busy.query("select nextval('public.statements')");
      await pause(100);
    }
  })();
  // The probe, between the look and the act, takes until that one has done something again, and says that it is stuck.
  await owner.query(`create function public.stuck() returns void language plpgsql as $$
    declare seen bigint := last_value from public.statements;
    begin
      while (select last_value from public.statements) < seen + 2 loop perform pg_sleep(0.01); end loop;
      raise lock_not_available;
    end $$`);
  const probe = "{sql: select public.stuck(), timeout: 30s}";
  const match = "{state: idle in transaction, idle_for: 50ms, applications: [busy]}";
  const here = await place(config(`{name: busy, match: ${match}, steps: [terminate], probe: ${probe}}`));
  const daemon = here.run();
  const refused = async () => (await outcomesOf(here)).filter(({ outcome }) => outcome.kind === "changed").length;
  await eventually("twelve refusals", async () => (await refused()) >= 12, 120_000);
  const told = noticesOf(daemon).filter((text) => text.includes(`session ${pid},`));
  assert.equal(told.length, 1, told.join("\n"));
  assert.match(
    told[0] ?? "",
    /^changed session \S+ \(login_service, busy\) cannot be hit safely: it keeps changing; 10 times in a row .*; Lockwarden goes on trying/,
  );
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
  enough.abort();
  await working;
});
