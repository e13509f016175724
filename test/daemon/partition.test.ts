import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { leaseKeys } from "../../src/engines/postgres/lease.ts";
import { actOf, intentsOf, noticesOf } from "../support/acts.ts";
import { type OtherHost, otherHost } from "../support/cut-network.ts";
import { eventually } from "../support/eventually.ts";
import { place } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";

// Behind `npm run test:partition`: silence takes its time.

const host = process.env["PARTITION"] === undefined ? "takes half a minute: npm run test:partition" : otherHost();
const skip = typeof host === "string" ? host : false;
const away = host as OtherHost;
const service =
  skip === false
    ? await loginService({
        major: 18,
        settings: { listen_addresses: `127.0.0.1,${away.address}`, deadlock_timeout: "30s" },
        hba: "host all all samenet trust\n",
      })
    : null;

function config(url: string): string {
  return `
mode: enforce
targets: [{name: app, url: "${url}", poll: 1s}]
rules:
  - {name: stuck, match: {state: idle in transaction, idle_for: 1s, blocks: {tables: [public.user_session]}}, steps: [terminate]}
`;
}

const holderSql = `select pid from pg_locks where locktype = 'advisory' and granted
  and classid = ${leaseKeys.class} and objid = ${leaseKeys.object}`;

/** Who holds the right to act, at every moment. */
function monitor(): Readonly<{
  holders: ReadonlySet<string>;
  most(): number;
  samples(): number;
  stop(): Promise<void>;
}> {
  const holders = new Set<string>();
  const over = new AbortController();
  let [most, samples] = [0, 0];
  const watch = async () => {
    for (; !over.signal.aborted; samples++) {
      const rows = (await service?.admin.query<{ pid: number }>(holderSql))?.rows ?? [];
      most = Math.max(most, rows.length);
      for (const { pid } of rows) holders.add(String(pid));
      await pause(10);
    }
  };
  const watching = watch();
  return {
    holders,
    most: () => most,
    samples: () => samples,
    stop: () => {
      over.abort();
      return watching;
    },
  };
}

async function stuck(id: number): Promise<{ pid: string; login: Promise<unknown> }> {
  assert.ok(service !== null);
  const crashed = await service.person("crashed");
  const pid = String(await pidOf(crashed));
  await abandon(crashed, id);
  return { pid, login: logIn(await service.person("web"), id) };
}

test("a leader whose network goes silent is replaced within 15 s, never are there two, and when it comes back it follows", {
  skip,
}, async (t) => {
  assert.ok(service !== null);
  const url = service.url.replace("127.0.0.1", away.address);
  const [there, here] = [await place(config(url)), await place(config(service.url))];
  const leader = there.run({}, away.command);
  await eventually("the one there leads", () => leader.said().includes("nobody waits"));
  const follower = here.run();
  await eventually("the one here follows", () => follower.said().includes("another Lockwarden acts"));
  const seen = monitor();
  await eventually("the monitor sees the leader", () => seen.holders.size === 1);

  away.cut();
  const cutAt = performance.now();
  const first = await stuck(1);
  // The promise is 15 s; without keepalives it would be hours.
  await eventually(
    "the one here acts",
    () => follower.said().includes("this Lockwarden acts on this target now"),
    20_000,
  );
  const tookMs = Math.round(performance.now() - cutAt);
  await first.login;
  t.diagnostic(
    `network silent to takeover: ${tookMs} ms; to the first release: ${Math.round(performance.now() - cutAt)} ms`,
  );
  assert.deepEqual((await intentsOf(here)).map(actOf), [`terminate ${first.pid}`]);
  assert.ok(leader.child.exitCode === null && noticesOf(leader).length === 0);

  away.mend();
  await eventually(
    "the one there is back, and follows",
    () => leader.said().includes("another Lockwarden acts"),
    60_000,
  );
  const second = await stuck(2);
  await second.login;
  await eventually("both are done", async () => (await intentsOf(here)).length === 2);
  assert.deepEqual(await intentsOf(there), []);
  await seen.stop();
  t.diagnostic(
    `${seen.samples()} samples of pg_locks: ${seen.holders.size} holders one after the other, at most ${seen.most()} at once`,
  );
  assert.deepEqual([seen.most(), seen.holders.size], [1, 2]);
  for (const { child, ended } of [leader, follower]) {
    child.kill("SIGTERM");
    await ended;
  }
});

test("a leader that stands still keeps the right for as long as its host answers, and acts again when it is continued", {
  skip,
}, async (t) => {
  assert.ok(service !== null);
  const [there, here] = [await place(config(service.url)), await place(config(service.url))];
  const leader = there.run();
  await eventually("it leads", () => leader.said().includes("nobody waits"));
  const follower = here.run();
  await eventually("the other one follows", () => follower.said().includes("another Lockwarden acts"));
  const seen = monitor();
  const { pid, login } = await stuck(3);
  leader.child.kill("SIGSTOP");
  const passed = "select clock_timestamp() > $1::timestamptz + interval '16 s' as over";
  const { rows } = await service.admin.query<{ now: string }>("select clock_timestamp()::text as now");
  await eventually("more time has passed than a silent host is given", async () => {
    return (await service?.admin.query<{ over: boolean }>(passed, [rows[0]?.now]))?.rows[0]?.over;
  });
  assert.deepEqual(await intentsOf(here), []);
  leader.child.kill("SIGCONT");
  await login;
  await eventually("it is on record", async () => (await intentsOf(there)).length === 1);
  assert.deepEqual((await intentsOf(there)).map(actOf), [`terminate ${pid}`]);
  assert.deepEqual(await intentsOf(here), []);
  await seen.stop();
  t.diagnostic(`${seen.samples()} samples of pg_locks: at most ${seen.most()} holder`);
  assert.deepEqual([seen.most(), seen.holders.size], [1, 1]);
});
