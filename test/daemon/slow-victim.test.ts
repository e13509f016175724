import assert from "node:assert/strict";
import { test } from "node:test";
import { actOf, intentsOf, noticesOf, outcomesOf, pidOfVictim } from "../support/acts.ts";
import { eventually } from "../support/eventually.ts";
import { lockwarden, type Place, place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";

// A victim whose process is stopped does not get to its signals, as on a disk that hangs: a terminate that went out works
// only when the process goes on, and until then nothing may wait for it.

const service = await loginService({ major: 18 });

type Given = Readonly<{ verifyFor?: string; steps?: string; idleFor?: string; more?: string; name?: string }>;

function config({
  verifyFor = "1m",
  steps = "[terminate]",
  idleFor = "300ms",
  more = "",
  name = "stuck",
}: Given = {}): string {
  return `
mode: enforce
verify_for: ${verifyFor}
targets: [{name: app, url: "${service.url}", poll: 200ms, leader_database: app}]
rules: [{name: ${name}, match: {state: idle in transaction, idle_for: ${idleFor}, applications: [stuck]}, steps: ${steps}}]
${more}`;
}

/** An abandoned transaction. */
async function stuck(row: number): Promise<number> {
  const victim = await service.person("stuck");
  const pid = await pidOf(victim);
  await abandon(victim, row);
  return pid;
}

type Frozen = Readonly<{ pid: number; thaw(): Promise<void> }>;

/** One that is deaf to signals, until it thaws. */
async function frozen(row: number): Promise<Frozen> {
  const pid = await stuck(row);
  process.kill(pid, "SIGSTOP");
  const thaw = async (): Promise<void> => {
    process.kill(pid, "SIGCONT");
    await service.admin.query("select pg_terminate_backend($1)", [pid]);
    await eventually("it is gone", async () => !(await isAlive(pid)));
  };
  return { pid, thaw };
}

async function isAlive(pid: number): Promise<boolean> {
  return (await service.admin.query("select from pg_stat_activity where pid = $1", [pid])).rowCount === 1;
}

/** The daemon looks on, while this one's outcome is not known. */
async function isLeftOpen(daemon: Running, pid: number): Promise<void> {
  await eventually("looks go on", () =>
    daemon
      .lines()
      .some(({ msg }) => new RegExp(`session ${pid},[^;]* (?:is|are) spared \\(verifying\\)`).test(String(msg))),
  );
}

type Ended = Awaited<ReturnType<typeof outcomesOf>>[number];

async function outcomeOf(here: Place, pid: number): Promise<Ended | null> {
  const ids = (await intentsOf(here)).filter(({ decision }) => pidOfVictim(decision) === String(pid));
  return (await outcomesOf(here)).find(({ id }) => ids.some((intent) => intent.id === id)) ?? null;
}

async function during(victims: readonly Frozen[], run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } finally {
    for (const one of victims) await one.thaw().catch(() => undefined);
  }
}

test("a victim that does not die keeps no other row waiting, counts for the limits meanwhile, and has its outcome when it ends", async () => {
  const here = await place(config({ more: "limits: {per_minute: 4, repeat: {times: 50, within: 1m}}" }));
  const daemon = here.run();
  const victim = await frozen(1);
  await during([victim], async () => {
    await isLeftOpen(daemon, victim.pid);
    for (const row of [2, 3, 4]) {
      const pid = await stuck(row);
      await logIn(await service.person("somebody"), row);
      await eventually(
        "its outcome is on record",
        async () => (await outcomeOf(here, pid))?.outcome.kind === "released",
      );
    }
    assert.equal(await outcomeOf(here, victim.pid), null);
    // Four signals are out, the first of them without an outcome: the fifth would be one too many.
    const fifth = await stuck(5);
    const { out } = await eventually("the limit holds", async () => {
      const asked = await lockwarden(["once", "--config", here.config]);
      return asked.out.includes("limit of 4 per minute") ? asked : null;
    });
    assert.match(
      out,
      new RegExp(`stuck: spares ${victim.pid},.*; terminate was sent .* ago, and whether it worked is not`),
    );
    assert.equal(await isAlive(fifth), true);
    assert.equal(await outcomeOf(here, victim.pid), null);
    process.kill(victim.pid, "SIGCONT");
    const ended = await eventually("its outcome is on record", () => outcomeOf(here, victim.pid));
    assert.equal(ended.outcome.kind, "released");
    await eventually("people are told", () =>
      noticesOf(daemon).some((text) => text.includes(`session ${victim.pid},`)),
    );
    assert.equal((await intentsOf(here)).length, 4);
    await service.admin.query("select pg_terminate_backend($1)", [fifth]);
  });
});

test("who outlives verify_for has survived, once others were released: the next step follows, and after the last a person is told", async () => {
  const here = await place(config({ verifyFor: "6s", steps: "[terminate, {wait: 200ms}, terminate]" }));
  const daemon = here.run();
  const victim = await frozen(6);
  await during([victim], async () => {
    await isLeftOpen(daemon, victim.pid);
    await stuck(7);
    await logIn(await service.person("somebody"), 7);
    const told = await eventually("a person is told", () =>
      noticesOf(daemon).find((text) => text.includes("it needs a person now")),
    );
    assert.match(told, new RegExp(`^changed terminate of session ${victim.pid},`));
    const events = (await here.journal()).filter(({ event }) => event === "intent" || event === "outcome");
    const mine = (await intentsOf(here)).filter(({ decision }) => pidOfVictim(decision) === String(victim.pid));
    assert.equal(mine.length, 2);
    for (const { id } of mine) {
      const ended = events.find((event) => event.event === "outcome" && event.id === id);
      assert.ok(ended?.event === "outcome" && ended.outcome.kind === "survived");
      assert.ok(ended.outcome.tookMs >= 6_000, `${ended.outcome.tookMs} ms`);
    }
    // Each one's outcome comes before the next one's intent, and the other victim's in between.
    const order = events.map(({ id, event }) => `${event} ${mine.findIndex((one) => one.id === id)}`);
    assert.deepEqual(order, ["intent 0", "intent -1", "outcome -1", "outcome 0", "intent 1", "outcome 1"]);
  });
});

test("a SIGTERM leaves an outcome of everything that is out", async () => {
  const here = await place(config());
  const daemon = here.run();
  const victims = [await frozen(8), await frozen(9)];
  await during(victims, async () => {
    for (const { pid } of victims) await isLeftOpen(daemon, pid);
    daemon.child.kill("SIGTERM");
    assert.equal((await daemon.ended).code, 0);
    for (const { pid } of victims) assert.equal((await outcomeOf(here, pid))?.outcome.kind, "survived");
  });
});

test("a SIGKILL leaves it to the next start, which looks into it", async () => {
  const here = await place(config());
  const daemon = here.run();
  const victim = await frozen(10);
  await during([victim], async () => {
    await isLeftOpen(daemon, victim.pid);
    daemon.child.kill("SIGKILL");
    await daemon.ended;
    const [intent] = await intentsOf(here);
    assert.equal(await outcomeOf(here, victim.pid), null);
    here.run();
    const recovered = await eventually("it is recovered", async () =>
      (await here.journal()).find((event) => event.event === "recovered"),
    );
    assert.ok(recovered.event === "recovered");
    assert.equal(recovered.id, intent?.id);
    assert.match(recovered.outcome.text, /^the transaction is still there, and is judged anew/);
  });
});

test("a connection that is lost leaves the outcome unknown of everything that is out", async () => {
  const here = await place(config({ idleFor: "1s" }));
  const daemon = here.run();
  const victims = [await frozen(11), await frozen(12)];
  await during(victims, async () => {
    for (const { pid } of victims) await isLeftOpen(daemon, pid);
    const lost = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lockwarden'";
    await service.admin.query(lost);
    await eventually("both are on record", async () => (await outcomesOf(here)).length >= 2);
    const kinds = (await outcomesOf(here)).map(({ outcome }) => outcome.kind);
    assert.deepEqual(kinds.slice(0, 2), ["unknown", "unknown"]);
  });
});

for (const [what, change] of [
  ["that changes its rule", { idleFor: "400ms" }],
  ["that puts another rule in its place", { name: "renamed" }],
] as const) {
  test(`a reload ${what} sends nothing to it until its outcome is known`, async () => {
    const here = await place(config());
    const daemon = here.run();
    const victim = await frozen(13);
    await during([victim], async () => {
      await isLeftOpen(daemon, victim.pid);
      await here.write(config(change));
      daemon.child.kill("SIGHUP");
      await eventually("it is in force", async () => (await here.journal()).some(({ event }) => event === "reload"));
      // The new rule acts on others.
      const other = await stuck(14);
      await logIn(await service.person("somebody"), 14);
      await lockwarden(["once", "--config", here.config]);
      assert.deepEqual((await intentsOf(here)).map(actOf), [`terminate ${victim.pid}`, `terminate ${other}`]);
      process.kill(victim.pid, "SIGCONT");
      const ended = await eventually("its outcome is on record", () => outcomeOf(here, victim.pid));
      assert.equal(ended.outcome.kind, "released");
      assert.equal((await intentsOf(here)).length, 2);
    });
  });
}

test("a pause sees it to its end, and so does a config that only observes", async () => {
  const here = await place(config());
  const daemon = here.run();
  const victim = await frozen(15);
  await during([victim], async () => {
    await isLeftOpen(daemon, victim.pid);
    assert.equal((await lockwarden(["pause", "--config", here.config])).code, 0);
    await here.write(config().replace("mode: enforce", "mode: observe"));
    daemon.child.kill("SIGHUP");
    await eventually("it is in force", async () => (await here.journal()).some(({ event }) => event === "reload"));
    process.kill(victim.pid, "SIGCONT");
    const ended = await eventually("its outcome is on record", () => outcomeOf(here, victim.pid));
    assert.equal(ended.outcome.kind, "released");
  });
});

test("`once` waits for the outcome and reports it, through the daemon and alone", async () => {
  const text = config({ verifyFor: "2s" });
  const here = await place(text);
  const daemon = here.run();
  await eventually("it looks", () => daemon.said().includes("nothing to do"));
  for (const way of ["alone", "through the daemon"]) {
    const through = await place(way === "alone" ? text : text.replace("poll: 200ms", 'poll: "0 0 3 29 2 *"'));
    if (way === "alone") {
      daemon.child.kill("SIGTERM");
      await daemon.ended;
    } else {
      const other = through.run();
      await eventually("it is connected", () => other.said().includes("connected to"));
    }
    const victim = await frozen(way === "alone" ? 16 : 17);
    await during([victim], async () => {
      const { code, out } = await eventually(`${way}: it matches`, async () => {
        const asked = await lockwarden(["once", "--config", through.config]);
        return asked.out.includes("nothing to do") || asked.out.includes("watches") ? null : asked;
      });
      assert.match(out, new RegExp(`terminate ${victim.pid},.* → survived: it still holds its locks 2`), way);
      assert.equal(code, 1);
    });
  }
});
