import assert from "node:assert/strict";
import { chown, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { openJournal } from "../../src/journal.ts";
import { readJournal } from "../../src/journal-lines.ts";
import type { Channel, Delivery, Notice } from "../../src/notify/channel.ts";
import { type Dispatcher, type DispatchOptions, dispatcher } from "../../src/notify/dispatch.ts";
import { email } from "../../src/notify/email.ts";
import { openSpool } from "../../src/notify/spool.ts";
import { eventually } from "../support/eventually.ts";
import { logLines } from "../support/log-lines.ts";
import { mailServer, smtpError } from "../support/mail-server.ts";
import { notice } from "../support/notice-samples.ts";
import { tempFolder } from "../support/temp-folder.ts";

const quick = { firstMs: 1, longestMs: 8 };

function started(t: TestContext, channels: readonly Channel[], options: Partial<DispatchOptions> = {}) {
  const { log, lines } = logLines();
  const dispatch = dispatcher(channels, { log, retry: quick, ...options });
  t.after(() => dispatch.close(0));
  return { dispatch, lines };
}

function mailTo(port: number, name = "oncall"): Channel {
  const smtp = `smtp://127.0.0.1:${port}`;
  return email({ name, type: "email", smtp, starttls: "never", from: "l@example.org", to: ["dba@example.org"] });
}

/** A channel whose answers are made up, to reach what a mail server cannot be made to do. */
function scripted(answer: (notice: Notice, signal: AbortSignal) => Promise<Delivery>, name = "oncall"): Channel {
  return { name, deliver: answer, close: () => Promise.resolve() };
}

const failing = scripted(() => Promise.resolve({ kind: "retry", afterMs: null, error: "down" }));

function allDone(dispatch: Dispatcher): Promise<unknown> {
  return eventually("nothing waits any more", () => dispatch.waiting() === 0);
}

async function spoolFiles(folder: string): Promise<string[]> {
  return (await readdir(join(folder, "spool"))).filter((name) => name.endsWith(".json"));
}

test("a mail server that is down loses no notice, is told of once, and gets them all in order when it is back", async (t) => {
  const folder = await tempFolder(t);
  const journal = await openJournal(folder);
  const spool = await openSpool(folder);
  const down = await mailServer(t);
  await down.close();
  const channel = mailTo(down.port);
  let attempts = 0;
  const deliver: Channel["deliver"] = (told, signal) => {
    attempts += 1;
    return channel.deliver(told, signal);
  };
  const { dispatch, lines } = started(t, [{ ...channel, deliver }], { journal, spool });
  for (const id of ["1", "2", "3"]) await dispatch.tell(notice({ id, text: `notice ${id}` }), ["oncall"]);
  assert.equal((await spoolFiles(folder)).length, 3);
  await eventually("it failed several times", () => attempts > 3);
  const up = await mailServer(t, {}, down.port);
  await allDone(dispatch);
  await eventually("the spool is empty", async () => (await spoolFiles(folder)).length === 0);
  await dispatch.close();
  const told = up.mails.map((mail) => /notice \d/.exec(mail.text)?.[0]);
  assert.deepEqual(
    told.toSorted((a, b) => String(a).localeCompare(String(b))),
    ["notice 1", "notice 2", "notice 3"],
  );
  assert.equal(lines.filter((line) => line.startsWith("warn") && line.includes("ECONNREFUSED")).length, 1);
  assert.equal(lines.filter((line) => line.includes("delivers again, after")).length, 1);
  const { events } = await readJournal(folder);
  assert.equal(events.filter((event) => event.event === "notice" && event.delivered).length, 3);
  await journal.close();
});

test("what was not delivered before a stop is delivered after the next start, once", async (t) => {
  const folder = await tempFolder(t);
  const first = started(t, [failing], { spool: await openSpool(folder) });
  await first.dispatch.tell(notice({ id: "1", text: "notice ž" }), ["oncall"]);
  await eventually("it failed", () => first.lines.length > 0);
  await first.dispatch.close(0);
  assert.ok(first.lines.some((line) => line.includes("1 notices are not yet delivered; the next start sends them")));
  const server = await mailServer(t);
  const second = started(t, [mailTo(server.port)], { spool: await openSpool(folder) });
  await eventually("the mail came", () => server.mails.length === 1);
  await second.dispatch.close();
  assert.deepEqual(await spoolFiles(folder), []);
  const third = started(t, [mailTo(server.port)], { spool: await openSpool(folder) });
  await third.dispatch.close();
  assert.equal(server.mails.length, 1);
});

test("a notice that the server refuses for good is dropped, logged and journalled; the next one goes out", async (t) => {
  const folder = await tempFolder(t);
  const journal = await openJournal(folder);
  let refused = 0;
  const server = await mailServer(t, {
    onMailFrom(_from, _session, done) {
      refused += 1;
      done(refused === 1 ? smtpError(550, "go away") : null);
    },
  });
  const { dispatch, lines } = started(t, [mailTo(server.port)], { journal, spool: await openSpool(folder) });
  await dispatch.tell(notice({ id: "1" }), ["oncall"]);
  await dispatch.tell(notice({ id: "2" }), ["oncall"]);
  await eventually("the second came", () => server.mails.length === 1);
  await dispatch.close();
  assert.ok(lines.some((line) => line.startsWith("error channel oncall refused a notice for good:")));
  const { events } = await readJournal(folder);
  const ends = events.map((event) => event.event === "notice" && [event.notice, event.delivered, event.error !== null]);
  assert.deepEqual(ends, [
    ["1", false, true],
    ["2", true, false],
  ]);
  assert.deepEqual(await spoolFiles(folder), []);
  await journal.close();
});

test("a slow channel holds up neither the caller nor another channel", async (t) => {
  const delivered: string[] = [];
  const slow = scripted(
    (_notice, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve({ kind: "retry", afterMs: null, error: "stopped" }));
      }),
    "slow",
  );
  const fast = scripted(async ({ id }) => {
    delivered.push(id);
    return { kind: "delivered" };
  }, "fast");
  const { dispatch } = started(t, [slow, fast]);
  await dispatch.tell(notice({ id: "1" }), ["slow", "fast"]);
  await dispatch.tell(notice({ id: "2" }), ["slow", "fast"]);
  await eventually("both are delivered", () => delivered.length === 2);
  assert.equal(dispatch.waiting(), 2);
});

test("one notice that always fails does not hold up those behind it", async (t) => {
  const delivered: string[] = [];
  const { dispatch } = started(t, [
    scripted(async ({ id }) => {
      if (id === "poison") return { kind: "retry", afterMs: null, error: "this one is odd" };
      delivered.push(id);
      return { kind: "delivered" };
    }),
  ]);
  await dispatch.tell(notice({ id: "poison" }), ["oncall"]);
  for (const id of ["1", "2", "3"]) await dispatch.tell(notice({ id }), ["oncall"]);
  await eventually("the others are delivered", () => delivered.length === 3);
  assert.deepEqual(delivered, ["1", "2", "3"]);
  assert.equal(dispatch.waiting(), 1);
});

test("a fresh notice is tried at once while an old one sits out a long pause", async (t) => {
  const delivered: string[] = [];
  let failures = 0;
  const hour = 3_600_000;
  const channel = scripted(async ({ id }) => {
    if (id === "poison") {
      failures += 1;
      return { kind: "retry", afterMs: failures < 5 ? null : hour, error: "odd" };
    }
    delivered.push(id);
    return { kind: "delivered" };
  });
  const { dispatch } = started(t, [channel], { retry: { firstMs: 1, longestMs: hour } });
  await dispatch.tell(notice({ id: "poison" }), ["oncall"]);
  await eventually("it failed five times", () => failures === 5);
  await dispatch.tell(notice({ id: "fresh" }), ["oncall"]);
  await eventually("the fresh one is delivered", () => delivered.length === 1);
});

test("a channel that throws or never comes back is tried again", async (t) => {
  let attempts = 0;
  const channel = scripted(() => {
    attempts += 1;
    if (attempts === 1) return Promise.reject(new Error("broken"));
    if (attempts === 2) return new Promise(() => undefined);
    return Promise.resolve({ kind: "delivered" });
  });
  const { dispatch, lines } = started(t, [channel], { retry: { ...quick, attemptMs: 20 } });
  await dispatch.tell(notice(), ["oncall"]);
  await allDone(dispatch);
  assert.equal(attempts, 3);
  assert.ok(lines.some((line) => line.includes("tries again: broken")));
  assert.ok(lines.some((line) => line.includes("tries again: no end within 20 ms")));
});

test("what nobody takes for a day is given up and said so", async (t) => {
  const events: JournalEvent[] = [];
  const journal = { append: (event: JournalEvent) => Promise.resolve(void events.push(event)) };
  let elapsed = 0;
  let now = 0;
  let attempts = 0;
  const down = scripted(() => {
    attempts += 1;
    return Promise.resolve({ kind: "retry", afterMs: null, error: "down" });
  });
  const { dispatch, lines } = started(t, [down], { journal, now: () => now, elapsed: () => elapsed });
  await dispatch.tell(notice(), ["oncall"]);
  await eventually("it failed", () => attempts > 0);
  now = 2 * 24 * 3_600_000; // somebody set the host's clock
  const before = attempts;
  await eventually("it failed again, and once more", () => attempts > before + 2);
  assert.equal(dispatch.waiting(), 1);
  elapsed = 24 * 3_600_000;
  await allDone(dispatch);
  await eventually("it is recorded", () => events.length === 1);
  assert.ok(lines.includes("error channel oncall: a notice is given up after 1 d: down"));
});

test("a notice that was kept for days, or by a wrong clock, is tried for another day", async (t) => {
  const folder = await tempFolder(t);
  await (await openSpool(folder)).put({ channel: "oncall", sinceMs: 5, notice: notice() });
  let attempts = 0;
  const down = scripted(() => {
    attempts += 1;
    return Promise.resolve({ kind: "retry", afterMs: null, error: "down" });
  });
  const { dispatch } = started(t, [down], { spool: await openSpool(folder) });
  await eventually("it failed again and again", () => attempts > 3);
  assert.equal(dispatch.waiting(), 1);
});

test("too many waiting notices push out the oldest, in the spool as well", async (t) => {
  const folder = await tempFolder(t);
  const options = {
    spool: await openSpool(folder),
    retry: { firstMs: 3_600_000, longestMs: 3_600_000, mostWaiting: 3 },
  };
  const { dispatch, lines } = started(t, [failing], options);
  for (const id of ["1", "2", "3", "4", "5"]) await dispatch.tell(notice({ id }), ["oncall"]);
  assert.equal(dispatch.waiting(), 3);
  await eventually("two files are gone", async () => (await spoolFiles(folder)).length === 3);
  assert.equal(lines.filter((line) => line.includes("its oldest notice is dropped, as 3 wait already")).length, 2);
  await dispatch.close(0);
  const { entries } = await (await openSpool(folder)).read();
  assert.deepEqual(
    entries.map(({ spooled }) => spooled.notice.id),
    ["3", "4", "5"],
  );
});

test("a stop delivers what can be delivered at once, and is no longer than its grace", async (t) => {
  const delivered: string[] = [];
  const channel = scripted(async ({ id }) => {
    delivered.push(id);
    return { kind: "delivered" };
  });
  const hanging = scripted(() => new Promise(() => undefined), "hanging");
  const { dispatch, lines } = started(t, [channel, hanging]);
  void dispatch.tell(notice({ id: "last" }), ["oncall", "hanging"]);
  await Promise.all([dispatch.close(10), dispatch.close(10)]);
  assert.deepEqual(delivered, ["last"]);
  assert.ok(lines.some((line) => line.includes("1 notices are lost")));
  await dispatch.tell(notice({ id: "late" }), ["oncall"]);
  assert.ok(lines.some((line) => line.includes("came after the end")));
});

test("a stop gives a channel that is down one more chance, not the whole grace", { timeout: 60_000 }, async (t) => {
  let attempts = 0;
  const channel = scripted(async () => {
    attempts += 1;
    return { kind: "retry", afterMs: null, error: "down" };
  });
  const hour = 3_600_000;
  const { dispatch } = started(t, [channel], { retry: { firstMs: hour, longestMs: hour } });
  for (const id of ["1", "2", "3"]) await dispatch.tell(notice({ id }), ["oncall"]);
  await eventually("it failed", () => attempts === 1);
  await dispatch.close(hour);
  assert.equal(attempts, 2);
});

test("an unknown channel, and one that left the config, are told of and hold up nothing", async (t) => {
  const folder = await tempFolder(t);
  const spool = await openSpool(folder);
  await spool.put({ channel: "removed", sinceMs: 1, notice: notice() });
  const { dispatch, lines } = started(t, [failing], { spool });
  await dispatch.tell(notice(), ["nobody"]);
  assert.ok(lines.some((line) => line.includes("no channel is called nobody")));
  assert.ok(lines.some((line) => line.includes("no channel is called removed any more")));
  assert.deepEqual(await spoolFiles(folder), []);
});

test("junk in the spool is left alone and told of; halves of a crash are swept away", async (t) => {
  const folder = await tempFolder(t);
  const spool = await openSpool(folder);
  const key = await spool.put({ channel: "oncall", sinceMs: 5, notice: notice({ id: "good" }) });
  const at = (name: string) => join(folder, "spool", name);
  await writeFile(at("000000000000001-000001-00000000.json"), '{"v":1,"channel":"oncall"');
  await writeFile(at("000000000000002-000001-00000000.json"), '{"v":1,"channel":"oncall","sinceMs":1,"notice":{}}');
  await writeFile(at("000000000000003-000001-00000000.json.new"), "half");
  await writeFile(at("core"), "");
  await mkdir(at("000000000000004-000001-00000000.json"));
  const { entries, junk } = await spool.read();
  assert.deepEqual(
    entries.map((entry) => entry.key),
    [key],
  );
  assert.equal(junk.length, 4);
  const { dispatch, lines } = started(t, [scripted(() => Promise.resolve({ kind: "delivered" }))], { spool });
  await dispatch.close();
  assert.ok(lines.some((line) => line.startsWith("warn the spool holds 4 files that are no notices; 0000")));
  assert.equal((await readdir(join(folder, "spool"))).length, 4);
});

test("a disk that takes no spool file is told of once, and the notice goes out all the same", async (t) => {
  const delivered: string[] = [];
  const broken = {
    put: () => Promise.reject(new Error("cannot keep a notice: ENOSPC")),
    remove: () => Promise.resolve(),
    read: () => Promise.resolve({ entries: [], junk: [] }),
  };
  const channel = scripted(async ({ id }) => {
    delivered.push(id);
    return { kind: "delivered" };
  });
  const journal = { append: () => Promise.reject(new Error("journal: ENOSPC")) };
  const { dispatch, lines } = started(t, [channel], { spool: broken, journal });
  await dispatch.tell(notice({ id: "1" }), ["oncall"]);
  await dispatch.tell(notice({ id: "2" }), ["oncall"]);
  await dispatch.close();
  assert.deepEqual(delivered, ["1", "2"]);
  assert.deepEqual(
    lines.toSorted((a, b) => a.localeCompare(b)),
    ["error cannot keep a notice: ENOSPC", "error journal: ENOSPC"],
  );
});

test("the spool belongs to the folder's owner when root writes it", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("only root can give files away");
    return;
  }
  const folder = await tempFolder(t);
  await chown(folder, 65_534, 65_534);
  const key = await (await openSpool(folder)).put({ channel: "oncall", sinceMs: 5, notice: notice() });
  for (const path of [join(folder, "spool"), join(folder, "spool", key)]) assert.equal((await stat(path)).uid, 65_534);
});
