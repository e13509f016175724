import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { type TestContext, test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { createKillSwitch, type KillSwitch, type SwitchContext } from "../../src/daemon/kill-switch.ts";
import type { Log } from "../../src/daemon/log-port.ts";
import { pausedPath, readPausedFile } from "../../src/paused-file.ts";
import { eventually } from "../support/eventually.ts";
import { tempFolder } from "../support/temp-folder.ts";

type Bench = Readonly<{
  killSwitch: KillSwitch;
  stateDir: string;
  /** Everything that it did, in order. */
  seen: string[];
  events: JournalEvent[];
}>;

async function bench(t: TestContext, change: Partial<SwitchContext> = {}, folder?: string): Promise<Bench> {
  const stateDir = folder ?? (await tempFolder(t));
  const seen: string[] = [];
  const events: JournalEvent[] = [];
  const line = (level: string) => (_fields: unknown, text: string) => void seen.push(`${level} ${text}`);
  const log: Log = {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    child: () => log,
    flush: () => Promise.resolve(),
  };
  const over = new AbortController();
  t.after(() => over.abort());
  const killSwitch = createKillSwitch({
    stateDir,
    found: await readPausedFile(stateDir),
    journal: {
      write: async (event) => {
        seen.push(`journal ${event.event}, file ${(await readdir(stateDir)).join()}`);
        events.push(event);
      },
    },
    log,
    shout: (text) => void seen.push(`told ${text}`),
    changed: () => void seen.push("changed"),
    newId: () => "id",
    now: () => new Date(),
    signal: over.signal,
    ...change,
  });
  return { killSwitch, stateDir, seen, events };
}

const ann = { by: "ann", reason: "a migration" };

test("a pause holds in memory at once, then in its file, then it is journalled", async (t) => {
  const { killSwitch, stateDir, seen, events } = await bench(t);
  const answering = killSwitch.pause({ ...ann, forMs: null });
  assert.ok(killSwitch.gate.paused());
  assert.deepEqual(await readdir(stateDir), []);
  const answer = await answering;
  assert.deepEqual([answer.unkept, answer.unwritten, answer.stayed, answer.underWay], [null, null, false, 0]);
  assert.deepEqual(
    seen.filter((line) => line.startsWith("journal")),
    ["journal paused, file paused.json"],
  );
  assert.match(seen.join("\n"), /told Lockwarden is paused by ann since \S+ until somebody resumes it: a migration\./);
  const written = JSON.parse(await readFile(pausedPath(stateDir), "utf8")) as object;
  assert.deepEqual(written, { v: 1, ...answer.paused });
  const [event] = events;
  assert.ok(event?.event === "paused");
  assert.deepEqual(event.reason.facts, answer.paused);
});

test("a clock that is set does not let a shorter pause end a longer one", async (t) => {
  let aheadMs = 0;
  const { killSwitch } = await bench(t, { now: () => new Date(Date.now() + aheadMs) });
  await killSwitch.pause({ ...ann, forMs: 2 * 3_600_000 });
  aheadMs = 3 * 3_600_000;
  const answer = await killSwitch.pause({ by: "bob", reason: null, forMs: 60_000 });
  assert.deepEqual([answer.stayed, answer.paused.by], [true, "ann"]);
  const leftMs = Date.parse(answer.paused.until ?? "") - Date.now() - aheadMs;
  assert.ok(leftMs > 1.9 * 3_600_000 && leftMs <= 2 * 3_600_000, `${leftMs} ms`);
});

test("who starts on that folder is paused by the same person for the same reason, and can be resumed", async (t) => {
  const first = await bench(t);
  const { paused } = await first.killSwitch.pause({ ...ann, forMs: null });
  const { killSwitch, stateDir, seen, events } = await bench(t, {}, first.stateDir);
  await killSwitch.begin();
  assert.deepEqual(killSwitch.state(), paused);
  assert.match(seen.join("\n"), /^warn Lockwarden starts paused by ann since /);
  assert.deepEqual((await killSwitch.resume({ by: "bob", reason: null })).was, paused);
  assert.equal(killSwitch.gate.paused(), false);
  assert.deepEqual(await readdir(stateDir), []);
  assert.deepEqual(
    events.map(({ event }) => event),
    ["resumed"],
  );
});

test("when the file cannot be written the pause holds all the same, and it is said and told that a restart ends it", async (t) => {
  const { killSwitch, stateDir, seen } = await bench(t);
  await mkdir(pausedPath(stateDir));
  const answer = await killSwitch.pause({ ...ann, forMs: null });
  assert.match(answer.unkept ?? "", /^cannot write .*paused\.json: E/);
  assert.ok(killSwitch.gate.paused());
  const loud = seen.filter((line) => line.includes("holds only until Lockwarden restarts"));
  assert.deepEqual(
    loud.map((line) => line.split(" ")[0]),
    ["error", "told"],
  );
  assert.deepEqual(await readdir(stateDir), ["paused.json"], "nothing unfinished is left");
});

test("when the file cannot be removed it acts again, and it is said that a restart pauses it", async (t) => {
  const { killSwitch, stateDir, seen } = await bench(t);
  await killSwitch.pause({ ...ann, forMs: null });
  await rm(pausedPath(stateDir));
  await mkdir(pausedPath(stateDir));
  const answer = await killSwitch.resume(ann);
  assert.match(answer.unkept ?? "", /^cannot remove .*paused\.json: /);
  assert.equal(killSwitch.gate.paused(), false);
  assert.match(seen.join("\n"), /error Lockwarden is resumed, and paused again when it restarts: cannot remove/);
});

test("a journal that never answers, or refuses, holds back neither the pause nor its answer", async (t) => {
  for (const [write, said] of [
    [() => new Promise<void>(() => undefined), /^no end of it within/],
    [() => Promise.reject(new Error("the disk is full")), /^the disk is full$/],
  ] as const) {
    const { killSwitch, stateDir } = await bench(t, { journal: { write } });
    const answer = await killSwitch.pause({ ...ann, forMs: null });
    assert.match(answer.unwritten ?? "", said);
    assert.equal(answer.unkept, null);
    assert.deepEqual(await readdir(stateDir), ["paused.json"]);
    assert.ok(killSwitch.gate.paused());
  }
});

test("nothing is sent while it is paused, and what had gone out is waited for before it answers", async (t) => {
  const { killSwitch, events } = await bench(t);
  const { gate } = killSwitch;
  let land: (value: string) => void = () => undefined;
  const sent = gate.send(() => new Promise<string>((resolve) => (land = resolve)));
  let answered = false;
  const answering = killSwitch.pause({ ...ann, forMs: null }).then((answer) => {
    answered = true;
    return answer;
  });
  assert.equal(
    gate.send(() => assert.fail("it was sent")),
    null,
  );
  await eventually("it is journalled", () => events.length === 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(answered, false);
  land("done");
  assert.equal(await sent, "done");
  assert.equal((await answering).underWay, 0);
});

test("of two pauses the one that lasts longer holds, since the first; who wants it shorter resumes first", async (t) => {
  const { killSwitch, stateDir } = await bench(t);
  const short = await killSwitch.pause({ by: "ann", reason: "backup", forMs: 3_600_000 });
  const endless = await killSwitch.pause({ by: "bob", reason: null, forMs: null });
  assert.deepEqual(endless.paused, { since: short.paused.since, by: "bob", reason: null, until: null });
  const again = await killSwitch.pause({ by: "cleo", reason: "lunch", forMs: 60_000 });
  assert.deepEqual([again.stayed, again.paused], [true, endless.paused]);
  assert.deepEqual(await readPausedFile(stateDir), { kind: "paused", paused: endless.paused });
});

test("a pause with an end resumes by itself, and that is journalled and told", async (t) => {
  const { killSwitch, stateDir, seen, events } = await bench(t);
  await killSwitch.pause({ ...ann, forMs: 2_000 });
  assert.ok(killSwitch.gate.paused());
  await eventually("it acts again", () => !killSwitch.gate.paused());
  assert.ok(events.some(({ event }) => event === "resumed"));
  assert.deepEqual(await readdir(stateDir), []);
  assert.match(seen.join("\n"), /told Lockwarden is resumed by itself: its time is over\. It was paused by ann/);
});

test("a clock that is set forward does not end a pause", async (t) => {
  let ahead = 0;
  const { killSwitch } = await bench(t, { now: () => new Date(Date.now() + ahead) });
  await killSwitch.pause({ ...ann, forMs: 3_600_000 });
  ahead = 7_200_000;
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(killSwitch.gate.paused());
});

test("a pause whose end came while nobody ran is over at the start, and that is told", async (t) => {
  const first = await bench(t);
  const past = new Date(Date.now() - 60_000).toISOString();
  const paused = { v: 1, since: past, by: "ann", reason: null, until: past };
  await writeFile(pausedPath(first.stateDir), JSON.stringify(paused));
  const { killSwitch, seen, stateDir } = await bench(t, {}, first.stateDir);
  assert.ok(killSwitch.gate.paused(), "until it has begun");
  await killSwitch.begin();
  assert.equal(killSwitch.gate.paused(), false);
  assert.match(seen.join("\n"), /told Lockwarden is resumed by itself/);
  assert.deepEqual(await readdir(stateDir), []);
});

test("pressed and released at once, the file says what came last", async (t) => {
  const { killSwitch, stateDir } = await bench(t);
  await Promise.all([
    killSwitch.pause({ ...ann, forMs: null }),
    killSwitch.resume(ann),
    killSwitch.pause({ ...ann, forMs: null }),
    killSwitch.resume(ann),
  ]);
  assert.deepEqual(await readdir(stateDir), []);
  await Promise.all([killSwitch.resume(ann), killSwitch.pause({ ...ann, forMs: null })]);
  assert.deepEqual(await readdir(stateDir), ["paused.json"]);
  assert.ok(killSwitch.gate.paused());
});

test("a resume is on record before anybody is acted on, and a pause that comes meanwhile wins", async (t) => {
  const { killSwitch, stateDir, events } = await bench(t);
  await killSwitch.pause({ ...ann, forMs: null });
  const resuming = killSwitch.resume(ann);
  assert.ok(killSwitch.gate.paused());
  assert.equal((await resuming).paused, null);
  assert.equal(events.at(-1)?.event, "resumed");
  await killSwitch.pause({ ...ann, forMs: null });
  const [resumed] = await Promise.all([
    killSwitch.resume(ann),
    killSwitch.pause({ by: "bob", reason: null, forMs: null }),
  ]);
  assert.equal(resumed.paused?.by, "bob");
  assert.ok(killSwitch.gate.paused());
  assert.deepEqual(await readdir(stateDir), ["paused.json"]);
});

test("what people write as a reason is kept as plain text of bounded length", async (t) => {
  const { killSwitch } = await bench(t);
  const { paused } = await killSwitch.pause({
    by: "ann\u001b[2J",
    reason: `a\nb\u202e${"x".repeat(9_000)}`,
    forMs: null,
  });
  assert.equal(paused.by, "ann\\x1b[2J");
  assert.match(paused.reason ?? "", /^a b\\u202ex+…$/);
  assert.equal(paused.reason?.length, 500);
});
