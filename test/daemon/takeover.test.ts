import assert from "node:assert/strict";
import { test } from "node:test";
import { actOf, intentsOf, noticesOf, observedOf, outcomesOf, pidOfVictim } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { lockwarden, type Place, place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { swallower } from "../support/swallower.ts";

const service = await loginService({ major: 18, settings: { deadlock_timeout: "30s" } });
// One lock for each test: whoever leads in one is a stranger to the others.
for (const name of ["three", "slow", "storm", "rare", "never"]) await service.admin.query(`create database ${name}`);

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
    "{name: deaf, match: {state: active, query_for: 1s, applications: [deaf]}, steps: [notify, {wait: 1s}, cancel, {wait: 4s}, terminate]}";
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

test("a session that waits on its ladder is told by whoever takes over, once: the other one may have died before it told", async () => {
  const rule =
    "{name: slow, match: {state: active, query_for: 500ms, applications: [slow]}, steps: [notify, {wait: 1h}, terminate]}";
  const [leader, follower] = await daemons({ leaders: "slow", rule }, 2);
  assert.ok(leader !== undefined && follower !== undefined);
  const { pid } = await swallower(service, "slow", 16);
  await eventually("the leader has told", () => noticesOf(leader.daemon).length === 1);
  const watched = `slow: session ${pid},`;
  await eventually("the follower waits, too", () => follower.daemon.said().includes(watched));
  assert.deepEqual(noticesOf(follower.daemon), []);
  await kill(leader);
  await eventually("it is told again", () => noticesOf(follower.daemon).length === 1);
  await service.admin.query("select pg_terminate_backend($1::int)", [pid]);
  await eventually("and its end", () => noticesOf(follower.daemon).length === 2);
  assert.deepEqual(
    noticesOf(follower.daemon).map((text) => text.split(" ")[0]),
    ["opened", "resolved"],
  );
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

test("a follower stands by between its looks: with an hour as poll it takes over all the same", async (t) => {
  const rule = "{name: old, match: {transaction_for: 10h, applications: [nobody]}, steps: [terminate]}";
  const [leader, follower] = await daemons({ leaders: "rare", rule, poll: "1h" }, 2);
  assert.ok(leader !== undefined && follower !== undefined);
  const killedAt = await kill(leader);
  await eventually("the follower acts", () => follower.daemon.said().includes(acts));
  t.diagnostic(`kill -9 to takeover with poll 1h: ${Math.round(performance.now() - killedAt)} ms`);
});

test("on a schedule, too, and whom it saw before as a follower it looks at again at once", async () => {
  const rule = "{name: late, match: {idle_for: 500ms, applications: [late]}, steps: [terminate]}";
  const [leader, follower] = await daemons({ leaders: "never", rule, poll: "0 0 3 29 2 *" }, 2);
  assert.ok(leader !== undefined && follower !== undefined);
  const victim = await service.person("late");
  const pid = await pidOf(victim);
  const ended = new Promise<void>((resolve) => victim.once("end", resolve));
  await abandon(victim, 15);
  const due = "select 1 from pg_stat_activity where pid = $1 and state_change < clock_timestamp() - interval '600 ms'";
  await eventually("it is due", async () => (await service.admin.query(due, [pid])).rowCount === 1);
  // Nobody looks before February otherwise.
  const asked = await lockwarden(["once", "--config", follower.here.config]);
  assert.match(asked.out, /would terminate .*another Lockwarden acts on this target/);
  await kill(leader);
  await ended;
  await eventually("it is on record", async () => (await intentsOf(follower.here)).length === 1);
  assert.deepEqual((await intentsOf(follower.here)).map(actOf), [`terminate ${pid}`]);
});
