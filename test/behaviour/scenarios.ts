import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { handleOf } from "../../src/core/session.ts";
import { eventually } from "../support/eventually.ts";
import { lockwarden, type Place, place } from "../support/lockwarden.ts";
import { mailServer } from "../support/mail-server.ts";
import type { Person, User, World } from "./world.ts";

// One list of scenarios for every engine: what people rely on is the same, whatever the server.

type Scene = Readonly<{ world: World }>;

/** Somebody who abandoned a transaction that holds a row, and somebody who waits for it. */
async function stuck({ world }: Scene, row: number, user: User = "app") {
  const victim = await world.person(user);
  await victim.begin();
  await victim.logIn(row);
  const waiter = await world.person("clerk");
  const login = waiter.logIn(row);
  login.catch(() => undefined);
  await eventually("the other one waits", () => waiter.isWaiting());
  return { victim, waiter, login, handle: await victim.handle() };
}

type Configured = Readonly<{ rules: string; target?: string; more?: string; mode?: string }>;

function configOf({ world }: Scene, { rules, target = world.target, more = "", mode = "enforce" }: Configured): string {
  return `mode: ${mode}\nverify_for: 4s\ntargets: [{name: app, poll: 30s, ${target}}]\nrules:\n  ${rules}\n${more}\n`;
}

/** Of the people of one scenario alone: others may be left over from the one before. */
function ruleOn({ world }: Scene, user: User, more = "steps: [terminate]"): string {
  const users = `users: ["${world.shown(user)}"]`;
  return `- {name: stuck-login, match: {state: idle in transaction, ${users}, idle_for: 1s, blocks: {tables: ["${world.table}"], waiters: 1}}, ${more}}`;
}

const acts = (events: readonly JournalEvent[]) =>
  events.flatMap((event) => {
    if (event.event === "intent") return [`intent ${event.decision.action}`];
    return event.event === "outcome" ? [event.outcome.kind] : [];
  });

function run(here: Place, ...words: string[]) {
  return lockwarden([...words, "--config", here.config]);
}

async function ended(person: Person): Promise<void> {
  await eventually("its session is gone", async () => !(await person.isAlive()));
}

type Once = Readonly<{ targets: readonly Readonly<{ decisions: readonly OnceDecision[] }>[] }>;
type OnceDecision = Readonly<{ decision: string; by: string | null; outcome: string | null; code: string }>;

/** Looks once, as often as it takes for so many decisions that are not only to wait. */
async function decided(here: Place, count: number): Promise<readonly OnceDecision[]> {
  return eventually(`${count} decisions`, async () => {
    const { out, err } = await run(here, "once", "--json");
    assert.ok(out.startsWith("{"), err);
    const decisions = (JSON.parse(out) as Once).targets.flatMap((one) => one.decisions);
    const ripe = decisions.filter(({ decision }) => decision !== "wait");
    return ripe.length >= count ? ripe : null;
  });
}

const scenarios: Readonly<Record<string, (scene: Scene, t: Parameters<typeof mailServer>[0]) => Promise<void>>> = {
  "a stuck login frees itself: the waiter gets through, the innocent live, journal and mail say it": async (
    scene,
    t,
  ) => {
    const { world } = scene;
    const mail = await mailServer(t);
    const innocent = await world.person("app");
    await innocent.begin();
    await innocent.logIn(2);
    const { victim, waiter, login, handle } = await stuck(scene, 1);
    const smtp = `smtp: "smtp://127.0.0.1:${mail.port}", starttls: never, from: l@example.org, to: [dba@example.org]`;
    const here = await place(
      configOf(scene, {
        rules: ruleOn(scene, "app", "steps: [terminate], notify: [oncall]"),
        more: `channels:\n  - {name: oncall, type: email, ${smtp}}`,
      }),
    );
    const checked = await run(here, "check");
    assert.equal(checked.code, 0, checked.out + checked.err);
    assert.doesNotMatch(checked.out.replaceAll(/\s+/g, " "), /(\w+_timeout \([^)]*\)), \1/, "each limit is named once");
    const daemon = here.run();
    await login;
    await ended(victim);
    const events = await eventually("the outcome is on record", async () => {
      const found = await here.journal();
      return found.some(({ event }) => event === "outcome") ? found : null;
    });
    assert.deepEqual(acts(events), ["intent terminate", "released"]);
    for (const event of events) {
      if (event.event === "intent") {
        const { victim: judged } = event.decision.evidence;
        assert.ok(judged.kind === "session");
        assert.equal(handleOf(judged), handle);
      }
      if (event.event === "outcome") assert.equal("unguarded" in event.outcome, !world.guarded);
    }
    const told = await eventually("the mail has come", () => mail.mails.find(({ text }) => text.includes(handle)));
    assert.match(told.text, /The lock is free/);
    assert.equal(/could not be guarded in one statement/.test(told.text), !world.guarded);
    assert.equal(await innocent.isAlive(), true);
    assert.equal(await waiter.isAlive(), true);
    await innocent.commit();
    daemon.child.kill("SIGTERM");
    assert.equal((await daemon.ended).code, 0);
    const { out } = await run(here, "history");
    assert.ok(out.includes(`: terminate ${handle} (`) && out.includes("released, 1 freed"), out);
  },
  "a cancel that does not free the lock is followed by a terminate": async (scene) => {
    const { world } = scene;
    const victim = await world.person("app");
    await victim.begin();
    await victim.logIn(3);
    const cancelled = victim.runLong();
    const waiter = await world.person("clerk");
    const login = waiter.logIn(3);
    await eventually("the other one waits", () => waiter.isWaiting());
    const match = `users: ["${world.shown("app")}"], query_for: 1s, state: active, blocks: {for: 500ms}`;
    const here = await place(
      configOf(scene, { rules: `- {name: ladder, match: {${match}}, steps: [cancel, {wait: 1s}, terminate]}` }),
    );
    const daemon = here.run();
    await cancelled;
    await login;
    await ended(victim);
    const events = await eventually("both outcomes are on record", async () => {
      const found = await here.journal();
      return found.filter(({ event }) => event === "outcome").length === 2 ? found : null;
    });
    assert.deepEqual(acts(events), ["intent cancel", "survived", "intent terminate", "released"]);
    daemon.child.kill("SIGTERM");
    await daemon.ended;
  },
  "who commits before the signal is not touched, and a stale handle reaches nobody": async (scene) => {
    const { victim, login, handle } = await stuck(scene, 4);
    const here = await place(
      configOf(scene, { rules: ruleOn(scene, "app", "steps: [notify, {wait: 3s}, terminate]") }),
    );
    const daemon = here.run();
    await eventually("people were told", () => daemon.lines().some(({ notice }) => notice !== undefined));
    await victim.commit();
    await login;
    await eventually("its end is told", () => daemon.said().includes("the transaction ended"));
    daemon.child.kill("SIGTERM");
    await daemon.ended;
    assert.equal(await victim.isAlive(), true);
    assert.deepEqual(acts(await here.journal()), []);
    const now = await victim.handle();
    const first = await run(here, "kill", now, "--immediate", "--yes");
    assert.equal(first.code, 0, first.out + first.err);
    await ended(victim);
    const again = await run(here, "kill", handle, "--immediate", "--yes");
    assert.match(again.out, /^app: \S+: gone: .*; nothing was sent\n$/);
    assert.deepEqual(acts(await here.journal()), ["intent terminate", "released"]);
  },
  "without the right to end sessions the outcome is denied, and nobody is hit": async (scene, t) => {
    const { powerless } = scene.world;
    if (powerless === null) return t.skip("on this server everybody may end everybody's sessions");
    const { victim, login } = await stuck(scene, 5);
    const here = await place(configOf(scene, { rules: ruleOn(scene, "app"), target: powerless }));
    const checked = await run(here, "check");
    assert.equal(checked.code, 3, checked.out + checked.err);
    const [decision] = await decided(here, 1);
    assert.deepEqual([decision?.decision, decision?.outcome], ["act", "denied"]);
    assert.equal(await victim.isAlive(), true);
    await victim.commit();
    await login;
    assert.deepEqual(acts(await here.journal()), ["intent terminate", "denied"]);
  },
  "who is protected is spared and told of, and by hand is refused until that is lifted": async (scene) => {
    const { world } = scene;
    const { victim, login, handle } = await stuck(scene, 6, "precious");
    const protect = `protect: {users: ["${world.shown("precious")}"]}`;
    const here = await place(configOf(scene, { rules: ruleOn(scene, "precious"), more: protect }));
    const [decision] = await decided(here, 1);
    assert.deepEqual([decision?.decision, decision?.by], ["spare", "protect"]);
    const refused = await run(here, "kill", handle, "--yes");
    assert.match(
      refused.out,
      /: refused: its user \S+ is protected; --lift-protection lifts that; nothing was sent\n$/,
    );
    assert.equal(await victim.isAlive(), true);
    const lifted = await run(here, "kill", handle, "--yes", "--lift-protection");
    assert.equal(lifted.code, 0, lifted.out + lifted.err);
    await login;
    await ended(victim);
  },
  "past a limit nobody else is ended": async (scene) => {
    const one = await stuck(scene, 7);
    const two = await stuck(scene, 8);
    const limits = "limits: {per_tick: 1, per_minute: 1}";
    const rules = ruleOn(scene, "app");
    // One alone would be ended, and never be in one look with the other.
    await decided(await place(configOf(scene, { rules, mode: "observe" })), 2);
    const decisions = await decided(await place(configOf(scene, { rules, more: limits })), 2);
    assert.deepEqual(
      decisions.map(({ decision, by, outcome }) => `${decision} ${by ?? outcome}`),
      ["act released", "spare limit"],
    );
    await ended(one.victim);
    await one.login;
    assert.equal(await two.victim.isAlive(), true);
    await two.victim.commit();
    await two.login;
  },
  "tree and the process list name everybody as kill and the vendors' statement take it": async (scene) => {
    const { world } = scene;
    const { victim, waiter, login, handle } = await stuck(scene, 9);
    const here = await place(configOf(scene, { rules: ruleOn(scene, "precious"), mode: "observe" }));
    const tree = await run(here, "tree");
    assert.ok(tree.out.includes(handle), tree.out);
    assert.ok(tree.out.includes(world.table.split(".")[1] ?? ""), tree.out);
    const list = await run(here, "sql", "SHOW FULL PROCESSLIST");
    assert.match(list.out, /^\+-+\+.*\n\| ID +\| USER +\| HOST +\| DB +\| COMMAND +\| TIME +\| STATE +\| INFO +\|\n/);
    for (const one of [victim, waiter]) assert.ok(list.out.includes(`| ${await one.handle()} `), list.out);
    for (const { written, ends } of world.variants(handle)) {
      if (ends === "found") continue;
      const { code, out, err } = await run(here, "kill", written, "--yes");
      if (ends === "usage") assert.deepEqual([code, out], [2, ""], written);
      else assert.match(out, new RegExp(`: ${ends}: .*; nothing was sent\\n$`), `${written} ${err}`);
      assert.equal(await victim.isAlive(), true, written);
    }
    const found = world.variants(handle).find(({ ends }) => ends === "found");
    const statement = `ALTER SYSTEM KILL SESSION '${found?.written ?? handle}' IMMEDIATE;`;
    const killed = await run(here, "sql", statement, "--yes");
    assert.equal(killed.code, 0, killed.out + killed.err);
    assert.match(killed.out, /^app: terminate \S+: released: the session is gone; 1 session freed/);
    await login;
    await ended(victim);
    assert.deepEqual(acts(await here.journal()), ["intent terminate", "released"]);
  },
};

/** All of them over one server, one after the other. The server is there before the first test. */
export function behaves(name: string, world: World): void {
  void describe(name, () => {
    for (const [what, scenario] of Object.entries(scenarios)) test(what, (t) => scenario({ world }, t));
  });
}
