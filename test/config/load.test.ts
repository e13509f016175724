import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../src/config/load.ts";
import { goodConfig, loadText, mistakesOf, warningsOf } from "../support/load-text.ts";

const target = "targets: [{name: app, url: postgres://u@h/d}]";
const rules = "rules: [{name: r, match: {idle_for: 30s}, steps: [terminate]}]";

function targetKeys(keys: string): string {
  return `targets: [{name: app, ${keys}}]\n${rules}\n`;
}

function emailKeys(keys: string): string {
  return `${target}\n${rules}\nchannels: [{name: m, type: email, from: a@b, to: c@d, ${keys}}]\n`;
}

test("the example loads without mistake or warning, and only observes", (context) => {
  const folder = mkdtempSync(join(tmpdir(), "lockwarden-"));
  context.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "app"), "secret\n");
  const file = fileURLToPath(new URL("../../../config/lockwarden.example.yaml", import.meta.url));
  const loaded = loadConfig(file, { env: { CREDENTIALS_DIRECTORY: folder }, cronMistake: () => null });
  assert.equal(loaded.kind, "ok");
  if (loaded.kind !== "ok") return;
  assert.deepEqual(loaded.warnings, []);
  assert.equal(loaded.config.mode, "observe");
  assert.deepEqual(
    loaded.config.rules.map(({ name }) => name),
    ["stuck-login", "ddl-jam"],
  );
  assert.equal(loaded.config.targets[0]?.password_file, join(folder, "app"));
});

test("defaults are filled in, durations are milliseconds, a single value is a list of one", () => {
  const config = goodConfig(
    `${target}\nrules: [{name: r, match: {idle_for: 1h30m, users: a, blocks: {}}, steps: [terminate]}]`,
  );
  assert.deepEqual(config.rules[0], {
    name: "r",
    match: {
      idle_for: 5_400_000,
      users: ["a"],
      blocks: { waiters: 1, locktypes: ["relation", "tuple", "transactionid"] },
    },
    steps: ["terminate"],
    victims: "all",
    cooldown: 30_000,
  });
  assert.deepEqual(config.targets[0], {
    name: "app",
    url: "postgres://u@h/d",
    poll: "5s",
    statement_timeout: 5_000,
    lock_timeout: 1_000,
    away_for: 30_000,
    connect_timeout: 10_000,
    leader_database: "postgres",
  });
  assert.deepEqual(config.limits, {
    per_tick: 5,
    per_minute: 10,
    repeat: { times: 3, within: 600_000 },
    breaker: { acts: 30, within: 600_000, open_for: 1_800_000 },
  });
  assert.deepEqual(config.protect, { superusers: true, maintenance: true, backups: true });
  assert.deepEqual(
    [config.mode, config.channels, config.verify_for, config.query_text],
    ["observe", [], 10_000, "masked"],
  );
});

test("a file in the place of a url is read beside the config, and its key is gone", () => {
  const files = { "/etc/db.url": "postgres://u:p@h/d\n", "/etc/mail.url": "smtps://h\r\n", "/run/pw": "x\n" };
  const text = `targets: [{name: app, url_file: db.url, password_file: /run/pw}]
${rules}
channels: [{name: m, type: email, from: a@b, to: c@d, smtp_file: ./mail.url, password_file: ../run/pw, ca_file: /run/pw}]
state_dir: state\n`;
  const config = goodConfig(text, { files });
  assert.equal(config.targets[0]?.url, "postgres://u:p@h/d");
  assert.equal("url_file" in (config.targets[0] ?? {}), false);
  assert.equal(config.targets[0]?.password_file, "/run/pw");
  const [mail] = config.channels;
  assert.deepEqual(mail, {
    name: "m",
    type: "email",
    smtp: "smtps://h",
    starttls: "required",
    from: "a@b",
    to: ["c@d"],
    password_file: "/run/pw",
    ca_file: "/run/pw",
  });
  assert.equal(config.state_dir, "/etc/state");
});

const twins: readonly (readonly [string, string, readonly string[]])[] = [
  [
    "url and url_file",
    targetKeys("url: postgres://u@h, url_file: x"),
    ["c:1:44 targets.0.url_file: expected url or url_file, got both"],
  ],
  ["neither url nor url_file", targetKeys("poll: 5s"), ["c:1:11 targets.0: expected url or url_file, got neither"]],
  [
    "both passwords",
    targetKeys("url: postgres://u@h, password: a, password_file: b"),
    ["c:1:57 targets.0.password_file: expected password or password_file, got both"],
  ],
  [
    "a url_file that is missing",
    targetKeys("url_file: x"),
    ['c:1:33 targets.0.url_file: expected a readable file, got "/etc/x": no such file'],
  ],
  [
    "an empty password_file",
    targetKeys("url: postgres://u@h, password_file: empty"),
    ['c:1:59 targets.0.password_file: expected a readable file, got "/etc/empty": an empty file'],
  ],
  ["neither smtp nor smtp_file", emailKeys("user: x"), ["c:3:12 channels.0: expected smtp or smtp_file, got neither"]],
  [
    "an smtp that is no URL",
    emailKeys("smtp: mail.example.org"),
    ["c:3:61 channels.0.smtp: expected smtp://HOST:PORT or smtps://HOST:PORT, got another text"],
  ],
  [
    "a file named by an unset variable",
    targetKeys('url_file: "${X}/url"'),
    ["c:1:33 targets.0.url_file: expected the environment variable X to be set, got nothing"],
  ],
  [
    "a poll below 100ms",
    targetKeys("url: postgres://u@h, poll: 99ms"),
    ['c:1:50 targets.0.poll: expected at least 100ms, got "99ms"'],
  ],
];
for (const [name, text, expected] of twins)
  test(`${name}: told where it stands`, () => {
    assert.deepEqual(mistakesOf(text, { files: { "/etc/empty": "\n" } }), expected);
  });

test("a file of rule tests in the place of a config is called what it is", () => {
  assert.deepEqual(mistakesOf("config: app.yaml\ntests: [{name: t, looks: []}]\n"), [
    "c:2:1 tests: expected a config, got a file of rule tests: lockwarden test FILE runs it",
  ]);
});

test("a cron expression that the schedule takes is a poll", () => {
  assert.equal(
    goodConfig(targetKeys('url: postgres://u@h, poll: "*/5 * 8-18 * * 1-5", timezone: Europe/Berlin')).targets[0]?.poll,
    "*/5 * 8-18 * * 1-5",
  );
});

test("environment variables are put into texts, and not looked into again", () => {
  const text = `${target}\nrules: [{name: "\${A}-\${B}", match: {idle_for: 30s, applications: "$\${A}\${C}"}, steps: [terminate]}]`;
  const rule = goodConfig(text, { env: { A: "x", B: "y", C: "${A}" } }).rules[0];
  assert.equal(rule?.name, "x-y");
  assert.deepEqual(rule?.match.applications, ["${A}${A}"]);
});

test("an anchor may be used again", () => {
  const text = `targets: [{name: app, url: postgres://u@h/d}]\nrules:\n- {name: a, match: &m {idle_for: 30s}, steps: &s [terminate]}\n- {name: b, match: *m, steps: *s}\n`;
  assert.deepEqual(goodConfig(text).rules[1]?.match, { idle_for: 30_000 });
});

test("observe above wins over enforce below, and that is a warning", () => {
  const text = `targets: [{name: app, url: postgres://u@h/d, mode: enforce}]\nrules: [{name: r, mode: enforce, match: {idle_for: 30s}, steps: [terminate]}]\n`;
  const warning = "mode: expected mode: enforce at the top too, got observe there: observe wins, nothing is done";
  assert.deepEqual(warningsOf(text), [`c:1:52 targets.0.${warning}`, `c:2:25 rules.0.${warning}`]);
  assert.deepEqual(warningsOf(`${text}mode: enforce\n`), []);
});

function digestOf(text: string, files: Readonly<Record<string, string>> = {}): string {
  const loaded = loadText(text, { files });
  assert.equal(loaded.kind, "ok");
  return loaded.kind === "ok" ? loaded.digest : "";
}

test("the digest stays under comments, order of keys, defaults and secrets, and changes with all else", () => {
  const digest = digestOf(`${target}\n${rules}\n`);
  assert.match(digest, /^[0-9a-f]{12}$/u);
  const same = [
    `# comment\n${rules}\n${target}\nmode: observe\n`,
    targetKeys("poll: 5s, url: postgres://u:secret@h/d, password: x"),
    targetKeys("url: postgres://u:s@ecret@h/d"),
  ];
  for (const text of same) assert.equal(digestOf(text), digest, text);
  assert.equal(digestOf(targetKeys("url_file: u"), { "/etc/u": "postgres://u:other@h/d" }), digest);
  const others = [
    `${target}\n${rules}\nmode: enforce\n`,
    targetKeys("url: postgres://u@h/other"),
    targetKeys("url: postgres://u@h/d, poll: 6s"),
  ];
  for (const text of others) assert.notEqual(digestOf(text), digest, text);
});
