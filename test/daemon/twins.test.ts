import assert from "node:assert/strict";
import { test } from "node:test";
import { intentsOf, pidOfVictim } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { lockwarden, place, start } from "../support/lockwarden.ts";
import { loginService, pidOf } from "../support/login-service.ts";

const service = await loginService({ major: 18 });

// Whom it could hit, it hits: everybody who has been connected for a second and is idle, or is in a transaction for one.
const config = `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: 200ms}]
limits: {per_tick: 1000, per_minute: 10000, repeat: {times: 1000, within: 1m}}
rules:
  - {name: idle, match: {state: idle, idle_for: 1s}, steps: [terminate]}
  - {name: busy, match: {state: active, connected_for: 1s}, steps: [cancel, terminate]}
`;

const ownSql = `select pid, backend_start::text as since from pg_stat_activity
  where usename = 'lockwarden' and application_name = 'lockwarden' order by backend_start`;

test("with rules that match everybody, daemons with one role leave each other and other commands alone, and nobody else", async (t) => {
  const [here, there] = [await place(config), await place(config)];
  const daemons = [here.run()];
  await eventually("the first leads", () => daemons[0]?.said().includes("nobody waits"));
  daemons.push(there.run());
  await eventually("the second follows", () => daemons[1]?.said().includes("another Lockwarden acts"));
  const tree = start(["tree", "--watch", "--config", here.config]);
  t.after(async () => {
    tree.child.kill("SIGKILL");
    await tree.ended;
  });
  const own = async () => (await service.admin.query<{ pid: number; since: string }>(ownSql)).rows;
  const before = await eventually("two daemons and a tree have their sessions", async () => {
    const rows = await own();
    return rows.length >= 6 ? rows : null;
  });

  // Anybody can call himself so: the role makes the twin.
  const impostor = await service.person("lockwarden");
  const stranger = await service.person("web");
  const hit = [impostor, stranger].map((one) => new Promise<void>((resolve) => one.once("end", resolve)));
  const pids = [String(await pidOf(impostor)), String(await pidOf(stranger))];
  await Promise.all(hit);
  for (let round = 0; round < 3; round++) {
    const elsewhere = await place(config);
    const looked = await lockwarden(["once", "--config", elsewhere.config]);
    assert.equal(looked.code, 0, looked.err);
    const shot = await lockwarden(["snapshot", "--config", elsewhere.config]);
    assert.equal(shot.code, 0, shot.err);
    assert.deepEqual(await intentsOf(elsewhere), []);
  }

  const still = await own();
  assert.deepEqual(still.slice(0, before.length), before);
  const victims = (await intentsOf(here)).map(({ decision }) => pidOfVictim(decision));
  for (const pid of pids) assert.ok(victims.includes(pid), `${pid} was hit`);
  for (const { pid } of before) assert.ok(!victims.includes(String(pid)), `${pid} was left alone`);
  assert.deepEqual(await intentsOf(there), []);
  for (const daemon of daemons) {
    assert.equal(daemon.lines().filter(({ msg }) => String(msg).startsWith("connected")).length, 1);
  }
});
