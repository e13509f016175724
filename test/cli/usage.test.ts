import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { assertClean, assertEnded } from "../support/clean-output.ts";
import { lockwarden, place, throughShell } from "../support/lockwarden.ts";

const rules = "rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]";
const switches = ["pause", "resume", "status", "history", "notify"];
const commands = ["run", "once", "check", "snapshot", "replay", "grants", "schema", ...switches];

test("--help tells every command and the exit codes on standard output", async () => {
  const helped = await lockwarden(["--help"]);
  assertEnded(helped, { code: 0, out: /^Usage: lockwarden \[options\] \[command\]\n/ });
  assert.ok(helped.out.split("\n").every((line) => line.length <= 80));
  for (const command of commands) assert.match(helped.out, new RegExp(`^ {2}${command} `, "m"));
  assert.match(
    helped.out,
    /Exit codes: 0 done, 1 failed, 2 wrong usage or config,\n3 a target is unreachable or denies/,
  );
});

test("each command has a help of its own, with its options", async () => {
  for (const command of commands) {
    const helped = await lockwarden([command, "--help"]);
    assertEnded(helped, { code: 0, out: new RegExp(`^Usage: lockwarden ${command} `) });
    assert.equal(
      helped.out.includes("--config <file>"),
      ["run", "once", "check", "snapshot", "replay", "grants", ...switches].includes(command),
      command,
    );
    assert.equal(
      helped.out.includes("--json"),
      ["once", "check", "snapshot", "replay", ...switches].includes(command),
      command,
    );
    assert.deepEqual(await lockwarden(["help", command]), helped);
    assert.ok(helped.out.split("\n").every((line) => line.length <= 80));
  }
});

test("--version prints the version of the package and nothing else", async () => {
  const text = await readFile(new URL("../../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { version: string };
  for (const flag of ["--version", "-V"]) {
    const { code, out, err } = await lockwarden([flag]);
    assert.deepEqual([code, out, err], [0, `${version}\n`, ""]);
  }
});

test("without a command the help is shown where errors are, and the exit code is that of wrong usage", async () => {
  assertEnded(await lockwarden([]), { code: 2, err: /^Usage: lockwarden / });
  assertEnded(await lockwarden(["help", "chek"]), { code: 2, err: /Usage: lockwarden / });
});

const wrong: readonly (readonly [string, readonly string[], string])[] = [
  [
    "a mistyped command",
    ["chek"],
    "lockwarden: unknown command 'chek' (Did you mean check?)\nlockwarden --help says what there is\n",
  ],
  ["an unknown command", ["quux"], "lockwarden: unknown command 'quux'\nlockwarden --help says what there is\n"],
  [
    "a mistyped option",
    ["check", "--ofline"],
    "lockwarden: unknown option '--ofline' (Did you mean --offline?)\nlockwarden check --help says what it takes\n",
  ],
  [
    "an option of another command",
    ["schema", "--json"],
    "lockwarden: unknown option '--json'\nlockwarden schema --help says what it takes\n",
  ],
  [
    "an option before its command",
    ["--config", "x.yaml", "check"],
    "lockwarden: unknown option '--config'\nlockwarden --help says what there is\n",
  ],
  [
    "--config without a file",
    ["once", "--config"],
    "lockwarden: option '-c, --config <file>' argument missing\nlockwarden once --help says what it takes\n",
  ],
  [
    "an argument too many",
    ["once", "now"],
    "lockwarden: too many arguments for 'once'. Expected 0 arguments but got 1.\nlockwarden once --help says what it takes\n",
  ],
  [
    "a log level that does not exist",
    ["run", "--log-level", "loud"],
    'lockwarden run: --log-level: expected debug, info, warn or error, got "loud"\n',
  ],
];

for (const [name, words, text] of wrong) {
  test(`${name} is wrong usage, and the message says where to look`, async () => {
    const { code, out, err } = await lockwarden(words);
    assert.deepEqual([code, out, err], [2, "", text]);
  });
}

test("grants quotes whatever name it is given", async () => {
  const plain = await lockwarden(["grants"]);
  assertEnded(plain, { code: 0, out: /^create role "lockwarden" login nosuperuser /m });
  const hostile = 'a"b; drop role postgres; --';
  const quoted = await lockwarden(["grants", hostile]);
  assertEnded(quoted, { code: 0, out: /^create role "a""b; drop role postgres; --" login nosuperuser /m });
  assertEnded(await lockwarden(["grants", "--", "-o'brien"]), { code: 0, out: /^create role "-o'brien" login /m });
});

test("grants are those of the engine that is named, or of the config's targets", async () => {
  const here = await place(
    `targets: [{name: pg, url: "postgres://u@h/d"}, {name: ob, engine: oceanbase, url: "oceanbase://u@h/"}]\n${rules}`,
  );
  const postgres = /^create role "lockwarden" login /m;
  assertEnded(await lockwarden(["grants", "--engine", "postgres"]), { code: 0, out: postgres });
  assertEnded(await lockwarden(["grants", "--config", here.config, "--target", "pg"]), { code: 0, out: postgres });
  const other = await lockwarden(["grants", "--config", here.config, "--target", "ob"]);
  assertEnded(other, { code: 0, out: /lockwarden/i });
  assert.doesNotMatch(other.out, postgres);
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [["--engine", "mysql"], /--engine: expected postgres, opengauss, gaussdb, oceanbase, got "mysql"\n$/],
    [["--config", here.config], /expected --target NAME or --engine NAME, as the config has targets of several/],
    [["--config", here.config, "--target", "x"], /--target: expected one of pg, ob, got "x"\n$/],
    [["--config", "/nowhere/lockwarden.yaml"], /lockwarden\.yaml/],
  ];
  for (const [words, err] of refusals) assertEnded(await lockwarden(["grants", ...words]), { code: 2, err });
});

test("grants refuses a name that the server would cut off", async () => {
  for (const name of ["", "x".repeat(64)]) {
    assertEnded(await lockwarden(["grants", name]), {
      code: 2,
      err: /^lockwarden grants: role: expected a name of 1 to 63 bytes without a zero byte, got (0|64) bytes; .*\n$/,
    });
  }
});

test("schema prints the JSON Schema that lies in config/", async () => {
  const printed = await lockwarden(["schema"]);
  assertEnded(printed, { code: 0, out: /^\{\n/ });
  assert.equal(printed.out, await readFile(new URL("../../../config/lockwarden.schema.json", import.meta.url), "utf8"));
  assert.equal((JSON.parse(printed.out) as { type: string }).type, "object");
});

test("a reader that leaves early is no failure", async () => {
  for (const words of [["schema"], ["--help"], ["grants"]]) {
    const read = await throughShell('set -o pipefail; "$@" | head -1', words);
    assertClean(read);
    assert.deepEqual([read.code, read.err], [0, ""]);
    assert.equal(read.out.split("\n").length, 2);
    const closed = await throughShell('"$@" | true; exit "${PIPESTATUS[0]}"', words);
    assert.deepEqual([closed.code, closed.out, closed.err], [0, "", ""]);
  }
});

test("a result that cannot be written is a failure", async (t) => {
  if (!existsSync("/dev/full")) return t.skip("no /dev/full here");
  for (const words of [["schema"], ["--version"], ["grants"]]) {
    assertEnded(await throughShell('"$@" > /dev/full', words), {
      code: 1,
      err: /^lockwarden: cannot write to standard output: ENOSPC: no space left on device, write\n$/,
    });
  }
});
