import assert from "node:assert/strict";
import { test } from "node:test";
import { actOf, intentsOf, noticesOf, observedOf, outcomesOf, pidOfVictim } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { swallower } from "../support/swallower.ts";

const service = await loginService({ major: 18, settings: { deadlock_timeout: "30s" } });
// One lock for each test: whoever leads in one is a stranger to the others.
for (const name of ["three", "storm", "rare", "never"]) await service.admin.query(`create database ${name}`);

type Given = Readonly<{ leaders: string; rule: string; poll?: string; more?: string }>;

function config({ leaders, rule, poll = "1s", more = "" }: Given): string {
  return `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: "${poll}", leader_database: ${leaders}}]
rules:
  - ${rule}
${more}`;
}

type Member = Readonly<{ here: Place; daemon: Running }>;

const acts = "this Lockwarden acts on this target now";
const follows = "another Lockwarden acts on this target";

/** Daemons with state folders of their own; the first of them leads. */
async function daemons(given: Given, count: number): Promise<readonly Member[]> {
  const members: Member[] = [];
  for (let number = 0; number < count; number++) {
    const here = await place(config(given));
    const daemon = here.run();
    const ready = number === 0 ? /nobody waits|somebody waits|the first look is at/ : new RegExp(follows);
    await eventually(`daemon ${number} is there`, () => ready.test(daemon.said()));
    members.push({ here, daemon });
  }
  return members;
}

async function kill({ daemon }: Member): Promise<number> {
  daemon.child.kill("SIGKILL");
  await daemon.ended;
  return performance.now();
}

test("of three daemons one acts; killed in the middle of a ladder, another begins it anew, and the third goes on to observe", async (t) => {
  const rule =
    "{name: deaf, match: {state: active, query_for: 1s, applications: [deaf]}, steps: [notify, {wait: 1s}, cancel, {wait: 1s}, terminate]}";
  const members = await daemons({ leaders: "three", rule, more: "verify_for: 300ms" }, 3);
  const [leader, ...others] = members;
  assert.ok(leader !== undefined);
  const { pid, ended } = await swallower(service, "deaf", 1);
  await eventually("the leader has cancelled", async () => (await outcomesOf(leader.here)).length === 1);
  const killedAt = await kill(leader);

  const next = await eventually("another one acts", () => others.find(({ daemon }) => daemon.said().includes(acts)));
  t.diagnostic(`kill -9 to takeover with poll 1s: ${Math.round(performance.now() - killedAt)} ms`);
  await ended;
  t.diagnostic(`kill -9 to the release at the end of a new ladder: ${Math.round(performance.now() - killedAt)} ms`);
  await eventually("the end is on record", async () => (await outcomesOf(next.here)).length === 2);
  assert.deepEqual((await intentsOf(leader.here)).map(actOf), [`cancel ${pid}`]);
  assert.deepEqual((await intentsOf(next.here)).map(actOf), [`cancel ${pid}`, `terminate ${pid}`]);
  // People hear of it once from the one and once from the other, and nothing from whoever never led.
  const opened = ({ daemon }: Member) => noticesOf(daemon).filter((text) => text.startsWith("opened"));
  await eventually("the release is told", () => noticesOf(next.daemon).some((text) => text.startsWith("resolved")));
  assert.deepEqual([opened(leader).length, opened(next).length], [1, 1]);
  const third = others.find((one) => one !== next);
  assert.ok(third !== undefined);
  assert.deepEqual([await intentsOf(third.here), noticesOf(third.daemon)], [[], []]);
  const observed = (await observedOf(third.here)).map(({ decision }) => decision.kind === "spare" && decision.by);
  assert.deepEqual(observed, ["follower"]);
});

test("killed in the middle of a storm of victims, each of them is hit by one daemon", async () => {
  const rule =
    "{name: stuck, match: {state: idle in transaction, idle_for: 1s, blocks: {tables: [public.user_session]}, applications: [storm]}, steps: [terminate]}";
  const more = "limits: {per_tick: 20, per_minute: 100, repeat: {times: 100}}";
  const [leader, follower] = await daemons({ leaders: "storm", rule, more }, 2);
  assert.ok(leader !== undefined && follower !== undefined);
  const logins: Promise<unknown>[] = [];
  const victims: string[] = [];
  for (let id = 2; id < 14; id++) {
    const crashed = await service.person("storm");
    victims.push(String(await pidOf(crashed)));
    await abandon(crashed, id);
    logins.push(logIn(await service.person("web"), id));
  }
  await eventually("the leader has begun", async () => (await intentsOf(leader.here)).length > 0);
  await kill(leader);
  await Promise.all(logins);
  const [first, second] = [await intentsOf(leader.here), await intentsOf(follower.here)];
  const hit = [...first, ...second].map(({ decision }) => pidOfVictim(decision));
  assert.deepEqual([...new Set(hit)].sort(), victims.sort());
  // The one that was under way when it died may be tried again; its guarded statement then finds nobody.
  const open = first.length - (await outcomesOf(leader.here)).length;
  assert.ok(
    open <= 1 && hit.length - victims.length <= open,
    `${first.length} and ${second.length} intents, ${open} open`,
  );
});

for (const [what, poll, leaders] of [
  ["an hour", "1h", "rare"],
  ["a schedule", "0 0 3 29 2 *", "never"],
] as const) {
  test(`a follower stands by between its looks: with ${what} as poll it takes over all the same`, async (t) => {
    const rule = "{name: old, match: {transaction_for: 10h, applications: [nobody]}, steps: [terminate]}";
    const [leader, follower] = await daemons({ leaders, rule, poll }, 2);
    assert.ok(leader !== undefined && follower !== undefined);
    const killedAt = await kill(leader);
    await eventually("the follower acts", () => follower.daemon.said().includes(acts));
    t.diagnostic(`kill -9 to takeover with poll ${poll}: ${Math.round(performance.now() - killedAt)} ms`);
  });
}
