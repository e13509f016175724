import assert from "node:assert/strict";
import { appendFile, chmod, copyFile, mkdir, open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { configSchema } from "../../src/config/schema.ts";
import { type DropCause, droppedText } from "../../src/core/carry-over.ts";
import { unopened } from "../../src/core/history.ts";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { assertClean, assertEnded } from "../support/clean-output.ts";
import { lockwarden, ordinaryUser, type Place, place, throughShell } from "../support/lockwarden.ts";
import { assertPlain, nastyNames } from "../support/nasty.ts";
import { act, evidence, intent, outcome, outcomeOf, session } from "../support/notice-samples.ts";
import { stuckRule } from "../support/stuck-login.ts";

// No database answers there: history needs none.
const config = `targets: [{name: app, url: "postgres://lockwarden@127.0.0.1:9/app"}]\n${stuckRule}\n`;

async function journalled(events: readonly (JournalEvent | string)[]): Promise<Place> {
  const here = await place(config);
  await mkdir(here.stateDir);
  const lines = events.map((event) => (typeof event === "string" ? event : `${JSON.stringify(event)}\n`));
  await writeFile(join(here.stateDir, "journal.jsonl"), lines.join(""));
  return here;
}

const history = (here: Place, ...words: string[]) => lockwarden(["history", "--config", here.config, ...words]);

function live(
  event: "start" | "reload" | "paused" | "resumed" | "breaker" | "away" | "back",
  at: string,
  text: string,
): JournalEvent {
  return { v: 1, id: `${event} ${at}`, at, target: null, event, reason: { code: event, text, facts: {} } };
}

const recovered: JournalEvent = {
  v: 1,
  id: "b",
  at: "2026-03-01T03:05:00.000Z",
  target: "app",
  event: "recovered",
  outcome: outcome({ kind: "unknown", freed: [], text: "the transaction is gone" }),
};

const story = [
  live("start", "2026-03-01T03:00:00.000Z", "the daemon starts"),
  intent("a"),
  outcomeOf("a"),
  intent("b"),
  recovered,
  live("paused", "2026-03-01T04:00:00.000Z", "Lockwarden is paused by ann"),
  live("breaker", "2026-03-01T04:30:00.000Z", "too many acts"),
  live("resumed", "2026-03-01T05:00:00.000Z", "Lockwarden is resumed by bob"),
  intent("c"),
] as const;

const whom = "4711,69a39c60.1267 \\(app_login, login-service\\)";

test("history tells each act with its outcome in one line, what was recovered, the breaker and the pauses", async () => {
  const here = await journalled(story);
  assertEnded(await history(here), {
    code: 0,
    out: new RegExp(
      [
        `^2026-03-01T03:03:12.600Z app: stuck-login: terminate ${whom}: released, 2 freed, 340 ms: its 2 waiters moved on`,
        `2026-03-01T03:03:12.600Z app: stuck-login: recovered terminate ${whom}: unknown, 0 freed, 340 ms: the transaction is gone`,
        "2026-03-01T04:00:00.000Z every target: paused: Lockwarden is paused by ann",
        "2026-03-01T04:30:00.000Z every target: breaker: too many acts",
        "2026-03-01T05:00:00.000Z every target: resumed: Lockwarden is resumed by bob",
        `2026-03-01T03:03:12.600Z app: stuck-login: terminate ${whom}: no outcome: under way, or cut off by a crash: idle in .*\n$`,
      ].join("\\n"),
    ),
  });
});

test("--last, --since, --target, --rule and --all choose, and together", async () => {
  const here = await journalled(story);
  const events = async (...words: string[]) => {
    const { code, out } = await history(here, "--json", ...words);
    assert.equal(code, 0, out);
    return (JSON.parse(out) as { events: { event: string }[] }).events.map(({ event }) => event);
  };
  assert.deepEqual(await events("--last", "2"), ["resumed", "act"]);
  assert.deepEqual(await events("--since", "2026-03-01T04:30:00Z"), ["breaker", "resumed"]);
  assert.deepEqual(await events("--since", "1m"), []);
  assert.deepEqual(await events("--target", "app", "--last", "4"), ["paused", "breaker", "resumed", "act"]);
  assert.deepEqual(await events("--target", "other"), ["paused", "breaker", "resumed"]);
  assert.deepEqual(await events("--rule", "stuck-login"), ["act", "recovered", "act"]);
  assert.deepEqual(await events("--rule", "none"), []);
  assert.deepEqual((await events("--all"))[0], "start");
  assertEnded(await history(here, "--rule", "none"), {
    code: 0,
    out: /^nothing of that is in the journal \S+; --all /,
  });
  const everything = await history(here, "--all", "--rule", "none");
  assertEnded(everything, { code: 0, out: /^nothing of that is in the journal \S+\n$/ });
  for (const [words, said] of [
    [["--last", "0"], '--last: expected a number from 1 to 1000000, got "0"'],
    [["--since", "7"], "--since: expected a duration such as 2h or a moment such as "],
  ] as const) {
    const ended = await history(here, ...words);
    assert.equal(ended.code, 2);
    assert.ok(ended.err.startsWith(`lockwarden history: ${said}`), ended.err);
  }
});

/** As a reload writes it. */
function dropped(cause: DropCause): JournalEvent {
  const [rule] = configSchema.parse(parse(config)).rules;
  assert.ok(rule !== undefined);
  const incident = unopened(rule.name, "4711 then", 0);
  const text = droppedText({ incident, rule, before: "terminate", cause });
  const at = "2026-03-01T06:00:00.000Z";
  const facts = { rule: rule.name, incident: incident.key, before: "terminate" };
  return { v: 1, id: cause, at, target: "app", event: "reload", reason: { code: cause, text, facts } };
}

test("who acted by hand is named, over a crash too", async () => {
  const byHand = { decision: act({ rule: "by hand" } as object), by: "ann \u001b[2J" };
  const here = await journalled([
    { ...intent("a"), ...byHand },
    { ...outcomeOf("a"), by: byHand.by },
    { ...intent("b"), ...byHand },
    recovered,
    { ...intent("c"), ...byHand },
  ]);
  const { out } = await history(here);
  const lines = out.trimEnd().split("\n");
  assert.equal(lines.length, 3, out);
  for (const line of lines) assert.ok(line.includes("app: by hand (ann \\x1b[2J): "), line);
  const { events } = JSON.parse((await history(here, "--json")).out) as { events: { by: string }[] };
  assert.deepEqual(new Set(events.map(({ by }) => by)), new Set([byHand.by]));
});

test("dropped ladders, the breaker, pauses, and targets that were away are told without --all, mere reloads are not", async () => {
  const causes = ["rule-changed", "rule-removed", "connection-changed", "target-removed"] as const;
  const at = "2026-03-01T05:00:00.000Z";
  const own = (event: "breaker" | "away" | "back") => ({ ...live(event, at, `${event} it is`), target: "app" });
  const reload = live("reload", at, "the config was reloaded");
  const here = await journalled([
    reload,
    { ...reload, id: "r", target: "app" },
    ...causes.map(dropped),
    own("breaker"),
    own("away"),
    own("back"),
    live("paused", at, "by ann"),
    live("resumed", at, "by bob"),
  ]);
  const { out } = await history(here);
  assert.deepEqual(
    out
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/^\S+ (.*?: \w+): .*$/, "$1")),
    [
      ...causes.map(() => "app: dropped"),
      "app: breaker",
      "app: away",
      "app: back",
      "every target: paused",
      "every target: resumed",
    ],
  );
  assert.match(out, /app: dropped: rule stuck-login: the reloaded config changed it; its ladder for session 4711 is/);
  const ofRule = await history(here, "--rule", "stuck-login");
  assert.equal(ofRule.out.trimEnd().split("\n").length, causes.length);
});

test("what the last rotation moved away is told too, and a copy of the journal is not told twice", async () => {
  const here = await journalled([intent("a"), outcomeOf("a"), intent("b")]);
  const path = join(here.stateDir, "journal.jsonl");
  await rename(path, `${path}.1`);
  const ids = async () => {
    const { out } = await history(here, "--json");
    return (JSON.parse(out) as { events: { id: string; outcome: string | null }[] }).events.map(
      ({ id, outcome: ended }) => `${id} ${ended ?? "open"}`,
    );
  };
  assert.deepEqual(await ids(), ["a released", "b open"]);
  await writeFile(path, `${JSON.stringify(outcomeOf("b"))}\n${JSON.stringify(intent("c"))}\n`);
  assert.deepEqual(await ids(), ["a released", "b released", "c open"]);
  await copyFile(path, `${path}.copy`);
  assert.deepEqual(await ids(), ["b released", "c open"]);
});

test("whatever strangers call themselves, history is plain text", async () => {
  const here = await journalled(
    nastyNames.flatMap((name, at): JournalEvent[] => {
      const victim = session({ user: name, application: name, database: name, sessionId: name });
      const about = { ...intent(`${at}`), target: name, by: name };
      const reason = { code: "rule-changed", text: name, facts: { rule: name } };
      return [
        { ...about, decision: act({ rule: name, evidence: evidence({ victim }) } as object) } as JournalEvent,
        { ...outcomeOf(`${at}`), outcome: outcome({ text: name }) } as JournalEvent,
        { v: 1, id: name, at: name, target: name, event: "reload", reason },
      ];
    }),
  );
  for (const words of [[], ["--all"], ["--json"]]) {
    const { code, out, err } = await history(here, ...words);
    assert.equal(code, 0, err);
    assertPlain(out, `history ${words.join(" ")}`);
    if (words.includes("--json"))
      assert.equal((JSON.parse(out) as { events: object[] }).events.length, 2 * nastyNames.length);
    else assert.equal(out.split("\n").length - 1, 2 * nastyNames.length);
  }
});

test("lines that are no events are counted, but not the last one, which may just be being written", async () => {
  const here = await journalled([
    intent("a"),
    '{"v":1,"id"\n',
    outcomeOf("a"),
    "garbage\n",
    '{"v":1,"id":"b","at":"20',
  ]);
  assertEnded(await history(here), {
    code: 0,
    out: /^\S+ app: .*: released, .*\n$/,
    err: /^warning: 2 lines of the journal are no events/,
  });
  const json = await history(here, "--json");
  assert.equal((JSON.parse(json.out) as { torn: number }).torn, 2);
});

test("hostile names and lines edited by hand reach no terminal", async () => {
  const victim = session({ user: "\u001b]0;owned\u0007", application: "x\u202e\nreleased" });
  const hostile = { ...intent("a"), decision: act({ evidence: evidence({ victim }) }) } as JournalEvent;
  const edited = {
    v: 1,
    id: "b",
    at: "now\u001b[2J",
    target: "\u0000",
    event: "intent",
    decision: { rule: "r", evidence: { victim: { pid: {} } } },
  };
  const here = await journalled([
    hostile,
    outcomeOf("a"),
    `${JSON.stringify(edited)}\n`,
    '{"v":1,"id":"c","at":"x","target":null,"event":"outcome","outcome":{"kind":"released"}}\n',
  ]);
  const text = await history(here);
  assertClean(text);
  assert.equal(text.code, 0, text.err);
  assert.equal(text.out.split("\n").length, 4);
  assert.match(text.out, /terminate 4711,\S+ \(\\x1b\]0;owned\\x07, x\\u202e released\): released/);
  assertClean(await history(here, "--json"));
});

test("of an act by hand it is told whose it was", async () => {
  const by = "user ann (uid 7)\u001b[2J";
  const here = await journalled([
    { ...intent("a"), by },
    { ...outcomeOf("a"), by },
  ]);
  const text = await history(here);
  assertClean(text);
  assert.match(text.out, /^\S+ app: stuck-login \(user ann \(uid 7\)\\x1b\[2J\): terminate 4711,\S+ .*: released/);
  const json = JSON.parse((await history(here, "--json")).out) as { events: { by: string }[] };
  assert.deepEqual(
    json.events.map((one) => one.by),
    [by],
  );
});

test("no journal, no state folder: nothing has been done", async () => {
  const here = await place(config);
  assertEnded(await history(here), { code: 0, out: /^there is no journal \S+journal\.jsonl: nothing/ });
  assertEnded(await history(here, "--json"), { code: 0, out: /^\{"events":\[\],"torn":0\}\n$/ });
});

test("somebody else's journal is named, with who may read it", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string") return t.skip(somebody);
  const here = await journalled(story);
  await chmod(here.folder, 0o755);
  await chmod(here.stateDir, 0o000);
  const ended = await lockwarden(["history", "--config", here.config], {}, somebody);
  await chmod(here.stateDir, 0o755);
  assertEnded(ended, {
    code: 1,
    err: /^lockwarden history: cannot read the journal \S+: EACCES: .*; run this as the owner of \S+, or as root\n$/,
  });
});

/** HISTORY_MB=100 tries a large one; the heap has no room for either. */
const journalBytes = Number(process.env["HISTORY_MB"] ?? 40) * 1_000_000;

test("a journal larger than the memory is told, to a reader that leaves early too", async () => {
  const here = await journalled([]);
  const path = join(here.stateDir, "journal.jsonl");
  const handle = await open(path, "a");
  const bulk = {
    ...intent("ID"),
    decision: act({ evidence: evidence({ waiters: Array.from({ length: 12 }, () => session()) }) }),
  };
  const pair = `${JSON.stringify(bulk)}\n${JSON.stringify(outcomeOf("ID"))}\n`;
  let written = 0;
  for (let block = 0; written < journalBytes; block++) {
    const lines = Array.from({ length: 200 }, (_, at) => pair.replaceAll('"ID"', `"${block}-${at}"`)).join("");
    await handle.write(lines);
    written += lines.length;
  }
  await handle.close();
  await appendFile(path, `${JSON.stringify(intent("last"))}\n`);
  const bounded = { NODE_OPTIONS: "--max-old-space-size=32" };
  const last = await lockwarden(["history", "--config", here.config, "--last", "2"], bounded);
  assertEnded(last, { code: 0, out: /^\S+ app: .*: released, .*\n\S+ app: .*: no outcome: .*\n$/ });
  const words = ["history", "--config", here.config, "--since", "2026-01-01"];
  const all = await throughShell('"$@" | wc -l', words, bounded);
  assert.ok(Number(all.out) > 3_000, all.out + all.err);
  assert.equal(all.err, "");
  const head = await throughShell('"$@" | head -1', words, bounded);
  assert.deepEqual([head.out.split("\n").length, head.err], [2, ""]);
  await rm(path);
});
