import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { discreet, discreetText } from "../../src/daemon/discreet.ts";
import { createLog } from "../../src/daemon/log.ts";
import { humanLine, quietJson } from "../../src/daemon/log-line.ts";
import type { Level, Log } from "../../src/daemon/log-port.ts";
import { createOnce } from "../../src/daemon/once.ts";
import type { Destination } from "../../src/daemon/standard-output.ts";

/** A log whose lines are kept. */
function recording(kind: Destination["kind"], level: Level = "debug", pretty?: boolean): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const destination: Destination = { kind, write: (line) => void lines.push(line), flush: () => Promise.resolve() };
  return { log: createLog({ level, destination, ...(pretty === undefined ? {} : { pretty }) }), lines };
}

function parsed(lines: readonly string[]): Record<string, unknown>[] {
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("a line is JSON with the level as a word, an ISO time, the fields and the sentence", () => {
  const { log, lines } = recording("plain");
  log.warn({ target: "app", waiters: 3 }, "100%s of %d sessions wait");
  const [line] = parsed(lines);
  assert.match(String(line?.["time"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(
    { ...line, time: "" },
    { level: "warn", time: "", target: "app", waiters: 3, msg: "100%s of %d sessions wait" },
  );
  assert.ok(lines[0]?.endsWith("}\n"));
});

test("what is below the level is not said", () => {
  const { log, lines } = recording("plain", "warn");
  for (const level of ["debug", "info", "warn", "error"] as const) log[level]({}, level);
  assert.deepEqual(
    parsed(lines).map(({ msg }) => msg),
    ["warn", "error"],
  );
});

test("a child puts its fields on every line, and a call's own field wins", () => {
  const { log, lines } = recording("plain");
  log.child({ target: "app", tick: 1 }).child({ rule: "stuck" }).info({ tick: 2 }, "looked");
  const [line] = parsed(lines);
  assert.deepEqual([line?.["target"], line?.["rule"], line?.["tick"]], ["app", "stuck", 2]);
  assert.equal(lines[0]?.match(/"tick"/g)?.length, 1);
});

test("a field never takes the place of the level, the time or the sentence", () => {
  const { log, lines } = recording("plain");
  log.info({ level: "debug", time: 1, msg: "other" }, "own");
  const [line] = parsed(lines);
  assert.deepEqual([line?.["level"], line?.["msg"], line?.["level_"], line?.["time_"]], ["info", "own", "debug", 1]);
});

test("in the journal every line carries its priority", () => {
  const { log, lines } = recording("journal");
  for (const level of ["debug", "info", "warn", "error"] as const) log[level]({}, "text");
  assert.deepEqual(
    lines.map((line) => line.slice(0, 4)),
    ["<7>{", "<6>{", "<4>{", "<3>{"],
  );
});

test("on a terminal a line is short and for people", () => {
  const { log, lines } = recording("terminal");
  log.warn({ target: "app", text: "two words", rules: ["a", "b"] }, "cannot reach the target");
  assert.match(
    lines[0] ?? "",
    /^\d\d:\d\d:\d\d warn {2}cannot reach the target {2}target=app {2}text="two words" {2}rules=\["a","b"\]\n$/,
  );
});

test("colours are used only where the terminal wants them", () => {
  for (const [kind, pretty, coloured] of [
    ["colour-terminal", undefined, true],
    ["colour-terminal", false, false],
    ["terminal", undefined, false],
    ["plain", true, false],
  ] as const) {
    const { log, lines } = recording(kind, "info", pretty);
    log.error({}, "text");
    assert.equal(lines[0]?.includes("\u001b["), coloured, `${kind} ${pretty}`);
  }
});

test("nothing from outside reaches a terminal raw", () => {
  const nasty = "a\u001b]0;owned\u0007\r\n\u009b31m\u202edlrow\u2028\u2029\ufeff\ud800b";
  const { log, lines } = recording("colour-terminal");
  log.info({ application: nasty, [nasty]: 1, nested: { nasty } }, nasty);
  const shown = (lines[0] ?? "").replace("\u001b[32minfo \u001b[0m", "info").trimEnd();
  assert.doesNotMatch(shown, /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u202e\ufeff]/u);
  assert.match(shown, /\\u001b\]0;owned/);
});

test("JSON hides such characters too, and still means the same", () => {
  const nasty = "a\u001b\u0085\u009b\u202e\u2028\u2066\ufeff\u{1f600}é";
  const { log, lines } = recording("plain");
  log.info({ application: nasty }, nasty);
  assert.doesNotMatch(lines[0]?.trimEnd() ?? "", /[\p{Cc}\p{Zl}\u202e\u2066\ufeff]/u);
  const [line] = parsed(lines);
  assert.deepEqual([line?.["application"], line?.["msg"]], [nasty, nasty]);
  assert.equal(quietJson('"x"\n'), '"x"\n');
});

test("secrets are struck out by key, at any depth, and what only names a file stays", () => {
  const secrets = { password: "p1", url: "postgres://u:p2@h/d", nested: [{ smtp: "smtps://u:p3@m", apiToken: "p4" }] };
  const kept = { password_file: "/run/app", url_file: "/run/url", user: "app", superuser: true, token: null };
  const text = JSON.stringify(discreet({ ...secrets, ...kept }));
  assert.doesNotMatch(text, /p[1-4]/);
  assert.deepEqual(JSON.parse(text), {
    password: "[redacted]",
    url: "[redacted]",
    nested: [{ smtp: "[redacted]", apiToken: "[redacted]" }],
    ...kept,
  });
});

test("secrets are struck out of text, errors and their causes", () => {
  const { log, lines } = recording("plain");
  const cause = Object.assign(new Error("postgres://app:s3cret@db:5432/app refused"), {
    password: "s3cret",
    code: "X",
  });
  log.error({ error: new Error("host=db password='s3c\\'ret' user=app", { cause }) }, "smtp://u:s3cret@mail failed");
  assert.doesNotMatch(lines[0] ?? "", /s3c/);
  assert.match(lines[0] ?? "", /"code":"X"/);
  assert.match(lines[0] ?? "", /postgres:\/\/app:\[redacted\]@db:5432\/app/);
  assert.equal(discreetText("https://host:8080/path"), "https://host:8080/path");
});

test("whatever is handed in, a line comes out", () => {
  const cyclic: Record<string, unknown> = { big: 10n, date: new Date(Number.NaN), bytes: Buffer.from("abc") };
  cyclic["self"] = cyclic;
  const hostile = Object.defineProperty({}, "field", {
    enumerable: true,
    get: () => assert.fail("read"),
  });
  const { log, lines } = recording("plain");
  log.info({ cyclic, hostile, call: () => 1, set: new Set([1]), long: "x".repeat(1_000_000) }, "text");
  const [line] = parsed(lines);
  assert.deepEqual(line?.["cyclic"], { big: "10", date: "[no date]", bytes: "[3 bytes]", self: "[circular]" });
  assert.deepEqual([line?.["hostile"], line?.["call"], line?.["set"]], ["[unreadable]", "[function]", [1]]);
  assert.ok((lines[0]?.length ?? 0) < 20_000);
});

test("an error is one fact for people", () => {
  const error = { type: "Error", message: "connection refused", code: "ECONNREFUSED", stack: "…" };
  const line = humanLine(JSON.stringify({ level: "error", time: 0, msg: "lost", error }), false);
  assert.match(line, /error lost {2}error="connection refused \(ECONNREFUSED\)"\n$/);
});

test("the same text is new only once, until it is cleared", () => {
  const said = createOnce();
  const heard = [
    said.changed("app", "refused"),
    said.changed("app", "refused"),
    said.changed("other", "refused"),
    said.changed("app", "denied"),
    said.changed("app", "refused"),
  ];
  said.clear("app");
  assert.deepEqual([...heard, said.changed("app", "refused")], [true, false, true, true, true, true]);
});

/** A process of its own that logs to its standard output. */
function logging(script: string, env: NodeJS.ProcessEnv = {}): ReturnType<typeof spawn> {
  const log = new URL("../../src/daemon/log.js", import.meta.url).href;
  const program = `import { createLog } from ${JSON.stringify(log)};\nconst log = createLog({ level: "info" });\n${script}`;
  return spawn(process.execPath, ["--input-type=module", "--eval", program], { env: { ...process.env, ...env } });
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  const chunks: string[] = [];
  if (stream !== null) for await (const chunk of stream) chunks.push(String(chunk));
  return chunks.join("");
}

test("flush writes everything before the process exits", async () => {
  const child = logging(
    `for (let i = 0; i < 5000; i += 1) log.info({ i }, "line"); await log.flush(); process.exit(0);`,
  );
  const lines = (await textOf(child.stdout)).trimEnd().split("\n");
  assert.equal(lines.length, 5_000);
  assert.deepEqual(
    parsed(lines).map(({ i }) => i),
    lines.map((_, index) => index),
  );
});

test("a reader that goes away does not end the daemon", async () => {
  const child = logging(`
    process.stdin.once("data", async () => {
      for (let i = 0; i < 100; i += 1) { log.info({ i }, "line"); await log.flush(); }
      process.stderr.write("still here");
      process.exit(0);
    });`);
  child.stdout?.destroy();
  await once(child, "spawn");
  child.stdin?.write("go\n");
  const [said, [code]] = await Promise.all([textOf(child.stderr), once(child, "exit")]);
  assert.deepEqual([said, code], ["still here", 0]);
});

test("a reader that sleeps does not hold the daemon up, and is told what was dropped", async () => {
  const child = logging(`
    const pad = "x".repeat(1000);
    for (let i = 0; i < 20000; i += 1) log.info({ i, pad }, "line");
    process.stderr.write("done");`);
  if (child.stderr) await once(child.stderr, "data");
  const said = await textOf(child.stdout);
  assert.match(said, /"msg":"\d+ log lines were dropped because nothing read the output for a while"/);
});

test("JOURNAL_STREAM counts only when it is this very output", async () => {
  const elsewhere = await textOf(logging(`log.info({}, "text");`, { JOURNAL_STREAM: "1:2" }).stdout);
  assert.match(elsewhere, /^\{/);
  const same = `
    const { fstatSync } = await import("node:fs");
    const { dev, ino } = fstatSync(1);
    createLog({ level: "info", destination: (await import(${JSON.stringify(
      new URL("../../src/daemon/standard-output.js", import.meta.url).href,
    )})).standardOutput(1, { JOURNAL_STREAM: dev + ":" + ino }) }).warn({}, "text");`;
  assert.match(await textOf(logging(same).stdout), /^<4>\{/);
});
