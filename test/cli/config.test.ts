import assert from "node:assert/strict";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { assertClean, assertEnded, secret } from "../support/clean-output.ts";
import { lockwarden, ordinaryUser } from "../support/lockwarden.ts";
import { tempFolder } from "../support/temp-folder.ts";

const commands = ["check", "once", "run"] as const;
const hint =
  "name the config with --config FILE, and let this user read it; " +
  "config/lockwarden.example.yaml, which comes with Lockwarden, is one to begin with\n";

/** Each command that reads a config ends alike: nothing on standard output, all mistakes on standard error, 2. */
async function refused(file: string, manner = {}): Promise<string> {
  const said = new Set<string>();
  for (const command of commands) {
    const ended = await lockwarden([command, "--config", file], {}, manner);
    assertClean(ended);
    assert.deepEqual([ended.code, ended.out], [2, ""], JSON.stringify(ended));
    said.add(ended.err);
  }
  const [err = "", ...others] = said;
  assert.deepEqual(others, []);
  return err;
}

test("a config that is not there says so, and how to name another one", async (t) => {
  const file = join(await tempFolder(t), "none.yaml");
  assert.equal(await refused(file), `${file}: expected a readable config file, got no such file\n${hint}`);
});

test("without --config the usual place is read", async () => {
  const { code, err } = await lockwarden(["check", "--offline"]);
  if (code === 0) return; // this machine has a config there
  assert.equal(code, 2);
  assert.match(err, /^\/etc\/lockwarden\/lockwarden\.yaml[: ]/);
});

test("a folder is no config", async (t) => {
  const folder = await tempFolder(t);
  assert.equal(await refused(folder), `${folder}: expected a readable config file, got a directory\n${hint}`);
});

test("a config that this user may not read says so", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string") return t.skip(somebody);
  const folder = await tempFolder(t);
  await chmod(folder, 0o755);
  const file = join(folder, "lockwarden.yaml");
  await writeFile(file, `targets: [{name: app, url: "postgres://u:${secret}@h/d"}]\n`, { mode: 0o600 });
  if (process.getuid?.() !== 0) await chmod(file, 0);
  assert.equal(
    await refused(file, somebody),
    `${file}: expected a readable config file, got a file that this user may not read\n${hint}`,
  );
});

const rules = "rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]";
const broken: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "YAML that ends in the middle of a password",
    `targets:\n  - name: app\n    url: postgres://u:${secret}@h/d\n    password: "${secret}\n`,
    ['5:1 expected valid YAML, got something else: missing closing "quote'],
  ],
  [
    "an unknown key",
    `targets: [{name: app, url: "postgres://u:${secret}@h/d", pasword: ${secret}}]\n${rules}\n`,
    ['1:70 targets.0.pasword: expected a known key, got "pasword"; did you mean "password"?'],
  ],
  [
    "several mistakes",
    `mode: enforced
targets:
  - name: app
    url: postgres://u:${secret}@h/d
    poll: often
rules:
  - name: stuck
    mtach: {idle_for: 30s}
    steps: [terminate]
`,
    [
      '1:7 mode: expected observe or enforce, got "enforced"; did you mean "enforce"?',
      '5:11 targets.0.poll: expected a duration such as 5s, or a cron expression of five or six fields, got "often"',
      "7:5 rules.0.match: expected a map, got nothing",
      '8:5 rules.0.mtach: expected a known key, got "mtach"; did you mean "match"?',
    ],
  ],
  [
    "a rule that could match everybody",
    `targets: [{name: app, url: "postgres://u:${secret}@h/d"}]\nrules: [{name: all, match: {}, steps: [terminate]}]\n`,
    ["2:28 rules.0.match: expected a condition that not every session meets, got none: the rule would match everybody"],
  ],
  [
    "a password that is a number",
    `targets: [{name: app, url: "postgres://u@h/d", password: 31415926}]\n${rules}\n`,
    ["1:58 targets.0.password: expected a text, got a number that is not shown here"],
  ],
  [
    "a url of another kind",
    `targets: [{name: app, url: "sqlite://u:${secret}@h/d"}]\n${rules}\n`,
    [
      '1:28 targets.0.url: expected postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full, got a URL that starts with "sqlite"',
    ],
  ],
  [
    "a url of MySQL without an engine",
    `targets: [{name: app, url: "mysql://u:${secret}@h/d"}]\n${rules}\n`,
    [
      "1:28 targets.0.url: expected engine: oceanbase beside a mysql:// URL, got no engine: MySQL and MariaDB themselves are not supported",
    ],
  ],
];

for (const [name, text, mistakes] of broken) {
  test(`${name}: every mistake is told with its place, in order, and no secret`, async (t) => {
    const file = join(await tempFolder(t), "lockwarden.yaml");
    await writeFile(file, text);
    const err = await refused(file);
    assert.ok(!err.includes("31415926"));
    const lines = err.trimEnd().split("\n");
    for (const line of lines) assert.match(line, new RegExp(`^${file}:\\d+:\\d+ .*expected .*, got `));
    if (mistakes.length > 0)
      assert.deepEqual(
        lines,
        mistakes.map((mistake) => `${file}:${mistake}`),
      );
  });
}

test("a secret in a file of its own never shows, whatever is wrong with it", async (t) => {
  const folder = await tempFolder(t);
  const file = join(folder, "lockwarden.yaml");
  await writeFile(join(folder, "url"), `sqlite://u:${secret}@h/d\n`);
  await writeFile(join(folder, "empty"), "\n");
  await mkdir(join(folder, "folder"));
  await writeFile(
    file,
    `targets:
  - {name: one, url_file: url}
  - {name: two, url: "postgres://u@h/d", password_file: empty}
  - {name: three, url: "postgres://u@h/d", password_file: folder}
  - {name: four, url: "postgres://u@h/d", password_file: none, password: "${secret}"}
${rules}
`,
  );
  const lines = (await refused(file)).split("\n");
  assert.match(lines[0] ?? "", /:2:27 targets\.0\.url_file: in that file: expected postgres:\/\/USER@HOST/);
  assert.match(
    lines[1] ?? "",
    /:3:57 targets\.1\.password_file: expected a readable file, got ".*empty": an empty file/,
  );
  assert.match(
    lines[2] ?? "",
    /:4:59 targets\.2\.password_file: expected a readable file, got ".*folder": a directory/,
  );
  assert.match(lines[3] ?? "", /:5:\d+ targets\.3\.password_file: expected password or password_file, got both/);
});

test("an environment variable that is not set is a mistake, and what it holds is not shown", async (t) => {
  const file = join(await tempFolder(t), "lockwarden.yaml");
  await writeFile(file, `mode: \${MODE}\ntargets: [{name: app, url: "postgres://u@h/d"}]\n${rules}\n`);
  const unset = await lockwarden(["check", "--offline", "--config", file]);
  assertEnded(unset, { code: 2, err: /:1:7 .*expected the environment variable MODE to be set, got nothing\n$/ });
  const wrong = await lockwarden(["check", "--offline", "--config", file], { MODE: secret });
  assertEnded(wrong, { code: 2, err: /:1:7 mode: expected observe or enforce, got the value of "\$\{MODE\}"\n$/ });
});

test("warnings go to standard error and do not spoil the result", async (t) => {
  const file = join(await tempFolder(t), "lockwarden.yaml");
  await writeFile(
    file,
    `targets: [{name: app, url: "postgres://u:${secret}@192.0.2.1/d"}]
rules: [{name: hasty, match: {idle_for: 100ms, blocks: {for: 100ms}}, steps: [terminate]}]
`,
  );
  const checked = await lockwarden(["check", "--offline", "--json", "--config", file]);
  assertEnded(checked, { code: 0, out: /^\{.*\}\n$/, err: /^warning: .*:\d+:\d+ / });
  const { config, targets } = JSON.parse(checked.out) as { config: Record<string, string>; targets: unknown[] };
  assert.deepEqual([config["file"], config["mode"], targets], [file, "observe", []]);
  assert.match(config["digest"] ?? "", /^[0-9a-f]{12}$/);
});
