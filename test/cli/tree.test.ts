import assert from "node:assert/strict";
import { test } from "node:test";
import { assertEnded } from "../support/clean-output.ts";
import { type Ended, lockwarden, place, start, throughShell } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { client, eventually, server } from "../support/servers.ts";

// One stuck login, and a reader that holds up an ALTER that holds up another reader.
const service = await loginService();
const calm = await server({ major: 14 });
const crashed = await service.person("web-1");
const second = await service.person("web-2");
const third = await service.person("web-3");
const report = await service.person("report 'x' \u001b[31m");
const migrate = await service.person("migrate", "postgres");
const reader = await service.person("web-4");
const waits = async (pid: number): Promise<void> => {
  const sql = "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
  await eventually(async () => (await service.admin.query(sql, [pid])).rowCount === 1);
};
const pids = {
  crashed: await pidOf(crashed),
  second: await pidOf(second),
  third: await pidOf(third),
  report: await pidOf(report),
  migrate: await pidOf(migrate),
  reader: await pidOf(reader),
};
const hang = async (pid: number, statement: Promise<unknown>): Promise<void> => {
  statement.catch(() => undefined);
  await waits(pid);
};
await abandon(crashed, 1);
await hang(pids.second, logIn(second, 1));
await hang(pids.third, logIn(third, 1));
await report.query("begin");
await report.query("select note from public.audit where note = 'hunter2'");
await hang(pids.migrate, migrate.query("alter table public.audit add more int"));
await hang(pids.reader, reader.query("select count(*) from public.audit"));

const rules = "rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [notify]}]";
const target = `{name: app, url: "${service.url}"}`;
const here = await place(`targets: [${target}]\n${rules}`);
const two = await place(`targets: [${target}, {name: calm, url: "${calm.url()}"}]\n${rules}`);
const away = await place(
  `targets: [{name: away, url: "postgres://lockwarden@127.0.0.1:1/app"}, {name: calm, url: "${calm.url()}"}]\n${rules}`,
);
const plain = await place(`targets: [${target}]\nquery_text: none\n${rules}`);

/** Pids, session ids and durations are other ones in each run. */
function steady({ out }: Ended): string {
  const names = Object.entries(pids).map(([name, pid]) => [new RegExp(`\\b${pid}\\b`, "g"), name] as const);
  return names
    .reduce((text, [pid, name]) => text.replace(pid, name), out)
    .replace(/,[0-9a-f]+\.[0-9a-f]+ /g, ",id ")
    .replace(/(?<= )\d+ (?:ms|s|min)(?: \d+ s)?\b/g, "T");
}

type Edge = Readonly<{ waiter: string; blocker: string; soft: boolean; relation: string; waitMs: number }>;
type Report = Readonly<{ target: string; roots: string[]; edges: Edge[]; error?: string }>;
const reportsOf = (text: string) => (JSON.parse(text) as { targets: Report[] }).targets;

test("tree shows who waits behind whom, for what and for how long, and nobody's literals", async () => {
  const ended = await lockwarden(["tree", "--config", here.config]);
  assertEnded(ended, { code: 0, out: /^app/ });
  const text = steady(ended).replaceAll(/report '.*(?=, user)/g, "report");
  const [first = "", ...trees] = text.trimEnd().split(/\n(?=\w)/);
  assert.match(first, /^app \(postgres \S+\): 4 sessions wait for a lock, the longest for T$/);
  assert.deepEqual(trees.toSorted(), [
    `crashed,id  web-1, user login_service, database app, from 127.0.0.1
│  idle in transaction for T, transaction T old, blocks 2
│  last statement: update public.user_session set seen = now() where id = $1
└─ second,id web-2 (login_service) waits T for a row of public.user_session (ShareLock): update public.user_session set seen = now() where id = $1
   └─ third web-3 (login_service) waits T for a row of public.user_session (ExclusiveLock): update public.user_session set seen = now() where id = $1`,
    `report,id  report, user login_service, database app, from 127.0.0.1
│  idle in transaction for T, transaction T old, blocks 2
│  last statement: select note from public.audit where note = ?
└─ migrate,id migrate (postgres) waits T for public.audit (AccessExclusiveLock): alter table public.audit add more int
   └─ reader web-4 (login_service) queues behind it T for public.audit (AccessShareLock): select count(*) from public.audit`,
  ]);
});

test("tree --json says the same in the form that programs rely on", async () => {
  const ended = await lockwarden(["tree", "--json", "--config", here.config]);
  assertEnded(ended, { code: 0, out: /^\{.*\}\n$/ });
  assert.ok(!ended.out.includes("hunter2"));
  const [seen] = reportsOf(ended.out);
  assert.ok(seen);
  const nameOf = (pid: string) => Object.entries(pids).find(([, one]) => String(one) === pid)?.[0];
  assert.equal(seen.target, "app");
  assert.deepEqual(new Set(seen.roots.map(nameOf)), new Set(["crashed", "report"]));
  const edges = seen.edges.map((edge) => {
    assert.equal(typeof edge.waitMs, "number");
    return `${nameOf(edge.waiter)} ${edge.soft ? "soft" : "hard"} ${nameOf(edge.blocker)} ${edge.relation}`;
  });
  assert.deepEqual(edges.toSorted(), [
    "migrate hard report public.audit",
    "reader soft migrate public.audit",
    "second hard crashed public.user_session",
    "third hard second public.user_session",
  ]);
});

test("where nothing of statements may be shown, nothing is", async () => {
  const { out } = await lockwarden(["tree", "--config", plain.config]);
  assert.match(out, /blocks 2/);
  assert.doesNotMatch(out, /update|select|alter|statement/);
  const json = await lockwarden(["tree", "--json", "--config", plain.config]);
  assert.doesNotMatch(json.out, /update |select |alter /);
});

test("every target has its part, and one where nobody waits says so", async () => {
  const { out } = await lockwarden(["tree", "--config", two.config]);
  assert.match(out, /^app \(postgres /);
  assert.match(out, /\n\ncalm \(postgres 14\.\d+\): nobody waits for a lock\n$/);
});

test("a target that cannot be reached is told with what to do, beside the others, and the exit code is 3", async () => {
  const ended = await lockwarden(["tree", "--config", away.config]);
  assertEnded(ended, { code: 3, out: /^away: cannot connect to away .*ECONNREFUSED.*; check that the server runs/ });
  assert.match(ended.out, /\n\ncalm \(postgres \S+\): nobody waits for a lock\n$/);
  const json = await lockwarden(["tree", "--json", "--config", away.config]);
  assertEnded(json, { code: 3, out: /^\{.*\}\n$/ });
  const [gone, other] = reportsOf(json.out);
  assert.match(gone?.error ?? "", /ECONNREFUSED/);
  assert.deepEqual([gone?.roots, gone?.edges, other?.target, other?.roots], [[], [], "calm", []]);
});

test("a role that sees too little is told that nobody that can be seen waits", async () => {
  const admin = await client(calm.url());
  await admin.query("create role blind login");
  const blind = await place(`targets: [{name: blind, url: "${calm.url("blind")}"}]\n${rules}`);
  await admin.query("begin");
  const { out } = await lockwarden(["tree", "--config", blind.config]);
  await admin.end();
  assert.match(out, /^blind \(postgres \S+\): nobody that can be seen waits for a lock\nnote: \d+ sessions are hidden/);
});

test("tree changes nothing: everybody still waits", async () => {
  for (const pid of [pids.second, pids.third, pids.migrate, pids.reader]) await waits(pid);
});

test("off a terminal --watch prints a frame each time, a blank line between them, until it is ended", async (t) => {
  const watching = start(["tree", "--watch", "--interval", "100ms", "--config", here.config]);
  t.after(() => watching.child.kill("SIGKILL"));
  await eventually(() => watching.said().split("\n\n").length > 3);
  watching.child.kill("SIGTERM");
  const ended = await watching.ended;
  assertEnded(ended, { code: 0, out: /./ });
  for (const shown of ended.out.split("\n\n")) {
    assert.match(shown, /^lockwarden tree, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, every 100 ms\napp \(postgres/);
    assert.match(shown, /web-2/);
  }
});

test("--watch --json prints one line of JSON each time", async (t) => {
  const watching = start(["tree", "--watch", "--json", "--interval", "100ms", "--config", here.config]);
  t.after(() => watching.child.kill("SIGKILL"));
  await eventually(() => watching.lines().length > 2);
  watching.child.kill("SIGINT");
  const { out, code } = await watching.ended;
  assert.equal(code, 0);
  for (const line of out.trimEnd().split("\n")) assert.equal(reportsOf(line)[0]?.edges.length, 4);
});

test("when nobody reads any more, --watch ends", async () => {
  const ended = await throughShell('"$@" | head -n 2; echo "ended with ${PIPESTATUS[0]}"', [
    "tree",
    "--watch",
    "--interval",
    "100ms",
    "--config",
    here.config,
  ]);
  assert.match(ended.out, /^lockwarden tree.*\napp .*\nended with 0\n$/);
});

for (const [words, says] of [
  [
    ["--watch", "--interval", "2"],
    /^lockwarden tree: --interval: expected a duration from 100ms such as 2s, got "2"\n$/,
  ],
  [
    ["--watch", "--interval", "1ms"],
    /^lockwarden tree: --interval: expected a duration from 100ms such as 2s, got "1ms"\n$/,
  ],
  [["--interval", "2s"], /^lockwarden tree: --interval needs --watch: without it there is one look\n$/],
] as const) {
  test(`tree ${words.join(" ")} is a mistake and is told as such`, async () => {
    assertEnded(await lockwarden(["tree", ...words, "--config", here.config]), { code: 2, err: says });
  });
}
