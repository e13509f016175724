import assert from "node:assert/strict";
import { appendFile, copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { lookPieces } from "../../src/recorded-snapshot.ts";
import type { ReplayReport } from "../../src/replay-report.ts";
import { assertEnded } from "../support/clean-output.ts";
import { judge } from "../support/judge.ts";
import { type Ended, lockwarden, type Place, place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { recorded } from "../support/recorded.ts";
import { eventually } from "../support/servers.ts";
import { snapshot } from "../support/snapshot.ts";
import { stuckLogin } from "../support/stuck-login.ts";

const service = await loginService();
await service
  .person("owner", "postgres")
  .then((owner) => owner.query("grant select, update on public.user_session to lockwarden"));

function config(idle: string, more = "", mode = "enforce"): string {
  return `mode: ${mode}
targets: [{name: app, url: "${service.url}", poll: 200ms}]
rules:
  - name: stuck-login
    match: {state: idle in transaction, idle_for: ${idle}, blocks: {tables: [public.user_session]}}
    steps: [terminate]
${more}`;
}

const written = {
  name: "stuck-login",
  match: { state: "idle in transaction", idle_for: "30s", blocks: { tables: ["public.user_session"] } },
  steps: ["terminate"],
};

/** What a daemon recorded of one stuck login, once in 10 s for a minute. */
function recording({ target = "app", mode = "enforce", steps = ["terminate"] } = {}): string {
  const { look } = judge({ rules: [{ ...written, steps }], mode });
  const lines = [10, 20, 30, 40, 50, 60].map((at) => {
    const seen = {
      ...snapshot()
        .later(`${at}s`)
        .session(1, { idle: `${at}s`, application: "evil\u001b[2J" })
        .session(2)
        .waits(2, { on: 1, for: `${at}s`, table: "public.user_session" })
        .build(),
      target,
    };
    return [...lookPieces(recorded(seen, look(seen).decisions))].join("");
  });
  return lines.map((line) => `${line}\n`).join("");
}

async function withRecording(text: string, lines = recording()): Promise<Place> {
  const here = await place(text);
  const folder = join(here.stateDir, "recordings");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "app.jsonl"), lines);
  return here;
}

/** Wherever a line was broken for the width. */
function unbroken(text: string): string {
  return text.replace(/\s+/g, " ");
}

function replay(here: Place, ...more: string[]): Promise<Ended> {
  return lockwarden(["replay", ...more, "--config", here.config]);
}

test("a changed threshold is shown with who, when, by which rule and why, before and now, and counted per rule", async () => {
  const here = await withRecording(config("15s"));
  const ended = await replay(here);
  assertEnded(ended, { code: 0, out: /./ });
  assert.equal(
    ended.out,
    `app: 6 looks from 2026-01-01T12:00:10.000Z to 2026-01-01T12:01:00.000Z

Is acted on otherwise:
  app: session 1,65a.1 (app, evil\\u001b[2J)
    before: terminate by stuck-login at 2026-01-01T12:00:30.000Z: idle in
      transaction, idle for 30 s, blocks 1 session on public.user_session
    now: terminate by stuck-login at 2026-01-01T12:00:20.000Z (due at
      2026-01-01T12:00:15.000Z): idle in transaction, idle for 20 s, blocks 1
      session on public.user_session

stuck-login: 1 act before, 1 act now
note: what a recording shows after an act is not what the other side would have
  seen: only the first act on a session is compared
note: before is what the daemon decided then, whatever its config was; --against
  compares two configs on equal terms
`,
  );
});

test("who is not acted on any more, and what the new config says of him", async () => {
  const longer = await replay(await withRecording(config("2m")));
  assert.match(
    longer.out,
    /\nIs not acted on any more:\n {2}app: session 1,.*\n {4}before: terminate by stuck-login at [^]*\n {4}now: stuck-login waits 1 min 30 s more: /,
  );
  assert.match(longer.out, /\nstuck-login: 1 act before, 0 acts now\n/);
});

test("what observe holds back is only told, on either side, and from observe to enforce is a difference", async () => {
  const onward = await replay(
    await withRecording(config("30s"), recording({ mode: "observe" })),
    "--fail-on-difference",
  );
  assertEnded(onward, { code: 1, out: /\nWould be acted on now, and was not before:\n/ });
  assert.match(
    onward.out,
    /\n {4}before: only told \(observe\): terminate by stuck-login [^]*\n {4}now: terminate by /,
  );
  assert.match(onward.out, /\nstuck-login: 1 that would have been but for observe before, 1 act now\n/);
  const back = await replay(await withRecording(config("30s", "", "observe")), "--fail-on-difference");
  assertEnded(back, { code: 1, out: /\nIs not acted on any more:\n/ });
  assert.match(back.out, /\n {4}now: only told \(mode is observe\): terminate by stuck-login /);
  const still = await replay(
    await withRecording(config("30s", "", "observe"), recording({ mode: "observe" })),
    "--fail-on-difference",
  );
  assertEnded(still, { code: 0, out: /\nno difference: / });
});

test("whom a rule only tells of is counted", async () => {
  const told = await replay(
    await withRecording(config("15s").replace("[terminate]", "[notify]"), recording({ steps: ["notify"] })),
  );
  assertEnded(told, { code: 0, out: /\nstuck-login: 1 told before, 1 told now\nno difference: / });
});

test("the same config makes no difference, and --fail-on-difference fails only where there is one", async () => {
  const same = await replay(await withRecording(config("30s")), "--fail-on-difference");
  assertEnded(same, { code: 0, out: /\nno difference: the same sessions would be acted on/ });
  const other = await replay(await withRecording(config("15s")), "--fail-on-difference");
  assertEnded(other, { code: 1, out: /Is acted on otherwise/ });
});

test("--against compares two configs, and --json is for programs", async () => {
  const here = await withRecording(config("15s"));
  const old = join(here.folder, "old.yaml");
  await writeFile(
    old,
    config("1h", "  - {name: other, match: {transaction_for: 40s, blocks: {for: 2s}}, steps: [terminate]}"),
  );
  const ended = await replay(here, "--against", old, "--json");
  assertEnded(ended, { code: 0, out: /^\{.*\}\n$/ });
  const report = JSON.parse(ended.out) as ReplayReport;
  const none = { acts: 0, heldBack: 0, told: 0 };
  assert.deepEqual(report.rules, [
    { rule: "stuck-login", before: none, after: { ...none, acts: 1 } },
    { rule: "other", before: { ...none, acts: 1 }, after: none },
  ]);
  assert.deepEqual(
    report.cases.map(({ kind, before, after, session }) => [
      kind,
      before?.rule,
      before?.at,
      after?.rule,
      after?.at,
      session.application,
    ]),
    [["changed", "other", "2026-01-01T12:00:40.000Z", "stuck-login", "2026-01-01T12:00:20.000Z", "evil\u001b[2J"]],
  );
  assert.equal(report.before.file, old);
  assert.notDeepEqual(report.before.configs, [report.after.config]);
  assert.deepEqual(report.targets[0]?.looks, 6);
});

test("files and folders are named as arguments, and a target that the config does not have is tried and told", async () => {
  const here = await place(config("15s"));
  const folder = join(here.folder, "kept");
  await mkdir(folder);
  await writeFile(join(folder, "b.jsonl"), recording({ target: "elsewhere" }));
  await writeFile(join(here.folder, "a.jsonl"), recording());
  const ended = await replay(here, join(here.folder, "a.jsonl"), "--dir", folder);
  assertEnded(ended, { code: 0, out: /^app: 6 looks .*\nelsewhere: 6 looks / });
  assert.match(ended.out, /\nstuck-login: 2 acts before, 2 acts now\n/);
  assert.match(unbroken(ended.out), / note: not in this config: elsewhere; rules without targets were tried on them /);
});

test("a torn last line is a warning; broken lines are all named, the rest is replayed, and the exit code tells", async () => {
  const here = await withRecording(config("15s"));
  const file = join(here.stateDir, "recordings", "app.jsonl");
  await appendFile(file, '{"version":1,"judg');
  assertEnded(await replay(here), {
    code: 0,
    out: /^app: 6 looks /,
    err: /^warning: .*app\.jsonl:7: expected one recorded snapshot as JSON, .*; the last line was cut short, and is left out\n$/,
  });
  await appendFile(file, `\n${recording().replaceAll('"version":1', '"version":9')}`);
  const broken = await replay(here);
  assertEnded(broken, {
    code: 1,
    out: /^app: 6 looks /,
    err: /app\.jsonl:8: .*version 9, which a newer Lockwarden recorded/,
  });
  assert.equal(broken.err.trimEnd().split("\n").length, 7);
  assertEnded(await replay(here, join(here.folder, "none")), {
    code: 1,
    err: /^.*none: cannot be read: ENOENT.*; name the folder with --dir, or the files\n$/,
  });
});

test("of lines that are no looks the first are named, and the others counted", async () => {
  const here = await withRecording(config("15s"), `${recording()}${"{}\n".repeat(100)}`);
  const ended = await replay(here);
  assertEnded(ended, { code: 1, out: /^app: 6 looks /, err: /app\.jsonl:7: [^]*app\.jsonl:26: / });
  assert.match(ended.err, /:26: [^\n]*\n80 more lines are no looks either\n$/);
});

test("where the daemon has recorded nothing it says so, and claims no more", async () => {
  const ended = await replay(await withRecording(config("15s"), ""));
  assertEnded(ended, { code: 0, out: /^nothing is recorded in / });
  assert.match(unbroken(ended.out), /; the recorder keeps looks at which somebody waited for a lock, or /);
});

test("a folder or file that somebody names is to hold a recording", async () => {
  const here = await withRecording(config("15s"), "");
  const empty = join(here.folder, "empty");
  await mkdir(empty);
  for (const more of [["--dir", empty], ["--dir", empty, "--json"], [empty], [join(here.stateDir, "recordings")]])
    assertEnded(await replay(here, ...more), { code: 1, out: /^(?:\{.*\}\n)?$/, err: /^no recordings in \// });
  await writeFile(join(here.folder, "a.jsonl"), recording());
  assertEnded(await replay(here, join(here.folder, "a.jsonl"), "--dir", empty), {
    code: 1,
    out: /^app: 6 looks /,
    err: /^no recordings in .*empty: expected files \*\.jsonl\.gz, got none\n$/,
  });
});

/** The very config of the real daemon below, whose probe gets through to a row that nobody has locked. */
const probing = config("200ms", `    probe: {sql: "select 1 from public.user_session where id = 2 for no key update"}`);

test("a config with mistakes is wrong usage, the old one too", async () => {
  const here = await withRecording(config("15s"));
  const bad = join(here.folder, "bad.yaml");
  await writeFile(bad, "rules: []");
  assertEnded(await replay(here, "--against", bad), {
    code: 2,
    err: /bad\.yaml:1:8 rules: expected at least one rule/,
  });
});

test("whom the probe of a real daemon spared is spared in a replay of the same config; another probe is told of", async () => {
  const here = await place(probing);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nobody waits for a lock"));
  const stuck = await stuckLogin(service, 1);
  await eventually(() => daemon.said().includes("spared (probe)"));
  const same = await eventually(async () => {
    const ended = await replay(here, "--fail-on-difference");
    return ended.out.includes("stuck-login:") && ended;
  });
  assertEnded(same, { code: 0, out: /\nstuck-login: 0 acts before, 0 acts now\nno difference: / });
  const old = join(here.folder, "old.yaml");
  await copyFile(here.config, old);
  await here.write(probing.replace("id = 2", "id = 1"));
  const other = await replay(here, "--against", old);
  assertEnded(other, { code: 0, out: /\nstuck-login: 0 acts before, 1 act now\n/ });
  assert.match(unbroken(other.out), / note: a probe would have been asked: 1 act depends on its answer, /);
  daemon.child.kill("SIGTERM");
  await daemon.ended;
  await stuck.release();
});

test("what a real daemon recorded is replayed: by the same rules no difference, by a longer threshold one", async () => {
  const here = await place(config("200ms"));
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nobody waits for a lock"));
  await (await stuckLogin(service, 1)).login;
  const same = await eventually(async () => {
    const ended = await replay(here);
    return ended.out.includes("stuck-login: 1 act before") && ended;
  });
  assertEnded(same, { code: 0, out: /\nstuck-login: 1 act before, 1 act now\n/ });
  assert.match(same.out, /\nno difference: /);
  await here.write(config("10s"));
  const longer = await replay(here);
  assertEnded(longer, { code: 0, out: /\nIs not acted on any more:\n[^]*\n {4}now: stuck-login waits \d+ s more: / });
});
