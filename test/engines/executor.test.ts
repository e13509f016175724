import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { ActDecision, Decision, Signal } from "../../src/core/decision.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import type { Link } from "../../src/engines/engine.ts";
import { postgres } from "../../src/engines/postgres/index.ts";
import { execute, NotJournalled, openGate } from "../../src/executor.ts";
import { openJournal } from "../../src/journal.ts";
import { readJournal } from "../../src/journal-lines.ts";
import { front } from "../support/front.ts";
import { judge } from "../support/judge.ts";
import { abandon, type LoginService, loginService, pidOf } from "../support/login-service.ts";
import { eventually, majors } from "../support/servers.ts";
import { target } from "../support/targets.ts";
import { quiet } from "../support/text-connection.ts";

// The executor on a real server and a real journal. What comes between the look and the signal happens in front of the
// engine's own act: that is the moment which no look can see.

const stages: Readonly<{ major: number; service: LoginService }>[] = [];
for (const major of majors()) stages.push({ major, service: await loginService({ major }) });

const rule = {
  name: "stuck",
  match: { applications: "crashed", state: "idle in transaction", idle_for: "100ms" },
  steps: ["terminate"],
};

async function connect(service: LoginService): Promise<Link> {
  const link = await postgres.connect(target(service.url), quiet);
  after(() => link.close());
  return link;
}

function isAct(decision: Decision | undefined): decision is ActDecision & { action: Signal } {
  return decision?.kind === "act" && decision.action !== "notify";
}

/** A transaction that was abandoned, judged, and is to be terminated. */
async function condemned(service: LoginService, link: Link, row: number) {
  const victim = await service.person("crashed");
  const pid = await pidOf(victim);
  await abandon(victim, row);
  const { look } = judge({ rules: [rule] });
  const decision = await eventually(async () => {
    const { decisions } = look(await link.read({ sessions: "transactions", locks: true }, quiet));
    const found = decisions.find(
      ({ evidence }) => evidence.victim.kind === "session" && evidence.victim.pid === String(pid),
    );
    return isAct(found) && found;
  });
  const lives = async () =>
    (await service.admin.query("select from pg_stat_activity where pid = $1", [pid])).rowCount === 1;
  return { victim, pid, decision, lives };
}

type Journal = Readonly<{ write(event: JournalEvent): Promise<void>; events(): Promise<readonly JournalEvent[]> }>;

async function journal(): Promise<Journal> {
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-test-"));
  const open = await openJournal(folder);
  after(async () => {
    await open.close();
    await rm(folder, { recursive: true, force: true });
  });
  return { write: open.append, events: async () => (await readJournal(folder)).events };
}

function carryOut(decision: ActDecision & { action: Signal }, link: Link, write: Journal["write"]) {
  let id = 0;
  return execute(decision, {
    target: "app",
    link,
    write,
    newId: () => `act-${++id}`,
    now: () => new Date(),
    verifyMs: 5_000,
    probe: null,
    gate: openGate,
    alive: () => undefined,
    signal: quiet,
  });
}

/** `meanwhile` happens right before the engine's own act. */
function delayed(link: Link, meanwhile: () => Promise<unknown>): Link {
  return {
    ...link,
    act: async (order, signal) => {
      await meanwhile();
      return link.act(order, signal);
    },
  };
}

for (const { major, service } of stages) {
  const meanwhile = [
    ["gone", "it commits", (victim: LoginClient) => victim.query("commit")],
    ["changed", "it commits, and begins another transaction and leaves that one too", again],
    ["changed", "it wakes up and goes idle again", (victim: LoginClient) => victim.query("select 1")],
  ] as const;
  for (const [at, [kind, what, move]] of meanwhile.entries()) {
    test(`${major}: ${what} between the look and the signal: ${kind}, and nothing is sent`, async () => {
      const link = await connect(service);
      const { events, write } = await journal();
      const { victim, decision, lives } = await condemned(service, link, 1 + at);
      const carried = await carryOut(
        decision,
        delayed(link, () => move(victim, 1 + at)),
        write,
      );
      assert.ok("outcome" in carried);
      assert.equal(carried.outcome.kind, kind, carried.outcome.text);
      assert.match(carried.outcome.text, /nothing was sent/);
      assert.equal(await lives(), true);
      assert.deepEqual(
        (await events()).map(({ event, id }) => [event, id]),
        [
          ["intent", "act-1"],
          ["outcome", "act-1"],
        ],
      );
      await victim.query("rollback");
    });
  }

  test(`${major}: the intent is on disk, with its evidence, when the signal goes out`, async () => {
    const link = await connect(service);
    const { events, write } = await journal();
    const { decision, lives } = await condemned(service, link, 4);
    let onDisk: readonly JournalEvent[] = [];
    const looking = delayed(link, async () => {
      onDisk = await events();
    });
    const carried = await carryOut(decision, looking, write);
    assert.ok("outcome" in carried);
    assert.equal(carried.outcome.kind, "released");
    assert.equal(onDisk.length, 1);
    assert.ok(onDisk[0]?.event === "intent");
    assert.deepEqual(onDisk[0].decision.evidence, JSON.parse(JSON.stringify(decision.evidence)));
    await eventually(async () => !(await lives()));
  });

  test(`${major}: an intent that cannot be written sends nothing`, async () => {
    const link = await connect(service);
    const { victim, decision, lives } = await condemned(service, link, 5);
    let acts = 0;
    const counted = delayed(link, () => Promise.resolve(acts++));
    await assert.rejects(
      carryOut(decision, counted, () => Promise.reject(new Error("no space left on device"))),
      NotJournalled,
    );
    assert.equal(acts, 0);
    assert.equal(await lives(), true);
    await victim.query("rollback");
  });

  test(`${major}: a connection that is lost while the signal is under way leaves an outcome that nobody knows, on record`, async () => {
    const between = await front(service.postgres.port);
    const url = new URL(service.url);
    url.port = String(between.port);
    const link = await postgres.connect(target(url.href, { statement_timeout: 2_000 }), quiet);
    const { events, write } = await journal();
    const { victim, decision } = await condemned(service, link, 6);
    const cut = delayed(link, () => Promise.resolve(between.behave("swallow")));
    const carried = await carryOut(decision, cut, write);
    assert.ok("outcome" in carried);
    assert.equal(carried.outcome.kind, "unknown");
    assert.equal((await events()).at(-1)?.event, "outcome");
    await link.close();
    await victim.query("rollback").catch(() => undefined);
  });

  test(`${major}: a connection that was lost before the signal is due sends nothing, and the outcome says so`, async () => {
    const link = await connect(service);
    const { events, write } = await journal();
    const { victim, decision, lives } = await condemned(service, link, 7);
    const carried = await carryOut(
      decision,
      delayed(link, () => link.close()),
      write,
    );
    assert.ok("outcome" in carried);
    assert.equal(carried.outcome.kind, "failed");
    assert.match(carried.outcome.text, /nothing was sent/);
    assert.equal((await events()).at(-1)?.event, "outcome");
    assert.equal(await lives(), true);
    await victim.query("rollback");
  });
}

type LoginClient = Awaited<ReturnType<LoginService["person"]>>;

async function again(victim: LoginClient, row: number): Promise<void> {
  await victim.query("commit");
  await abandon(victim, row);
}
