import assert from "node:assert/strict";
import { chown, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { quoteName } from "../../src/engines/postgres/grants.ts";
import { assertEnded, secret } from "../support/clean-output.ts";
import { lockwarden, type Place, place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { server } from "../support/servers.ts";

const rules = "rules: [{name: stuck, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]";
const { admin, postgres, url } = await loginService();
const standby = await server();

async function configured(targets: Readonly<Record<string, string>>, mode = "observe"): Promise<Place> {
  const list = Object.entries(targets).map(([name, at]) => `  - {name: ${name}, url: "${at}"}`);
  return place(`mode: ${mode}\ntargets:\n${list.join("\n")}\n${rules}`);
}

function check(here: Place, ...more: string[]): ReturnType<typeof lockwarden> {
  return lockwarden(["check", ...more, "--config", here.config]);
}

/** What stands below the first line, which names a temporary folder. */
function below(out: string): string {
  return out.slice(out.indexOf("\napp: ") + 1);
}

type Checked = Readonly<{
  ok: boolean;
  warnings: readonly unknown[];
  state: Readonly<Record<string, unknown>>;
  channels: readonly unknown[];
  config: Readonly<{ file: string; mode: string; digest: string }>;
  targets: readonly Readonly<
    Record<string, unknown> & { missing: { missing: string; grant: string; fatal: boolean; needed: string }[] }
  >[];
}>;

test("a target that has what it needs is fine; what could be better is a warning, and changes no exit code", async () => {
  const here = await configured({ app: url });
  const checked = await check(here);
  assertEnded(checked, { code: 0, out: /: ok: 1 rule, 1 target, / });
  const [first, ...rest] = below(checked.out).trimEnd().split("\n");
  assert.match(first ?? "", /^app: warning: postgres \d+[.\w]*, role lockwarden, primary, not encrypted$/);
  assert.deepEqual(rest, [
    "  warning: reserved_connections is 0: no connection is kept free for Lockwarden",
    "    alter system set reserved_connections = 3; -- takes effect at the next restart",
    "  ok: the server ends no session by a timeout of its own, so every rule comes",
    "    first",
    "1 warning: no failure, so the exit code stays 0; --strict makes it 1",
  ]);
  const strict = await check(here, "--strict");
  assertEnded(strict, { code: 1, out: /^1 warning$/m });
  assertEnded(await check(here, "--strict", "--json"), { code: 1, out: /^\{"ok":false,/ });
});

test("what a role lacks is told with the SQL that grants it, and exactly that SQL makes the check pass", async (t) => {
  const role = 'bare "one';
  await admin.query(`create role ${quoteName(role)} login`);
  t.after(() => admin.query(`drop role ${quoteName(role)}`));
  const here = await configured({ app: postgres.url(encodeURIComponent(role), "app") }, "enforce");
  const before = await check(here);
  assertEnded(before, { code: 3, out: /./ });
  const lines = below(before.out).trimEnd().split("\n");
  assert.match(lines[0] ?? "", /^app: error: postgres \d+[.\w]*, role bare "one, primary, not encrypted$/);
  assert.deepEqual(lines.slice(1, 7), [
    "  error: missing: pg_read_all_stats: state, age and statement of other roles'",
    "    sessions are hidden",
    '    grant pg_read_all_stats to "bare ""one";',
    "  error: missing: pg_signal_backend: other roles' sessions cannot be cancelled",
    "    or terminated (needed to enforce)",
    '    grant pg_signal_backend to "bare ""one";',
  ]);
  const sql = lines.filter((line) => line.trim().startsWith("grant "));
  assert.equal(sql.length, 3);
  await admin.query(sql.join("\n"));
  const after = await check(here);
  assertEnded(after, { code: 0, out: /./ });
  assert.doesNotMatch(after.out, /missing|grant /);
});

test("whoever only observes needs no right to signal: it is a warning, and the exit code 0", async (t) => {
  await admin.query("create role onlooker login in role pg_read_all_stats");
  t.after(() => admin.query("drop role onlooker"));
  const target = postgres.url("onlooker", "app");
  const observed = await check(await configured({ app: target }));
  assertEnded(observed, { code: 0, out: /^ {2}warning: missing: pg_signal_backend: /m });
  assert.match(observed.out.replaceAll(/\s+/g, " "), /; by this config nobody is signalled there /);
  const here = await configured({ app: target }, "enforce");
  assertEnded(await check(here), { code: 3, out: /^ {2}error: missing: pg_signal_backend: /m });
  await here.write(`mode: enforce\ntargets: [{name: app, url: "${target}", mode: observe}]\n${rules}`);
  assertEnded(await check(here, "--json"), { code: 0, out: /^\{"ok":true,/ });
  await here.write(`mode: enforce\ntargets: [{name: app, url: "${target}"}]\n${rules.replace("terminate", "notify")}`);
  assertEnded(await check(here, "--json"), { code: 0, out: /^\{"ok":true,/ });
});

test("--json tells the same to programs, and its SQL works too", async (t) => {
  await admin.query("create role plain login");
  t.after(() => admin.query("drop role plain"));
  const here = await configured({ app: postgres.url("plain", "app") });
  const before = await check(here, "--json");
  assertEnded(before, { code: 3, out: /^\{.*\}\n$/ });
  const { ok, config, state, channels, targets, warnings } = JSON.parse(before.out) as Checked;
  assert.deepEqual([config.file, config.mode], [here.config, "observe"]);
  assert.deepEqual([ok, channels, warnings, state["path"], state["exists"]], [false, [], [], here.stateDir, false]);
  const [target] = targets;
  assert.ok(target);
  const { missing, version, ...rest } = target;
  assert.match(String(version), /^\d+/);
  assert.deepEqual(rest, {
    target: "app",
    ok: false,
    engine: "postgres",
    role: "plain",
    recovery: false,
    encrypted: false,
    error: null,
    warnings: [],
    gaps: [],
    notes: [],
    probes: [],
  });
  const fatal = missing.filter((one) => one.fatal);
  assert.deepEqual(
    fatal.map((one) => [one.missing.split(":")[0], one.needed]),
    [
      ["pg_read_all_stats", "to see"],
      ["pg_signal_backend", "to act"],
    ],
  );
  for (const { grant } of fatal) await admin.query(grant);
  const after = await check(here, "--json");
  assertEnded(after, { code: 0, out: /^\{"ok":true,.*"ok":true.*\}\n$/ });
});

test("of several targets each is told, and one that cannot be used decides the exit code", async () => {
  const here = await configured({
    app: url,
    gone: `postgres://lockwarden:${secret}@127.0.0.1:1/app`,
    root: postgres.url("postgres", "app"),
  });
  const checked = await check(here);
  assertEnded(checked, { code: 3, out: /: ok: 1 rule, 3 targets, / });
  assert.match(checked.out, /^app: warning: postgres /m);
  assert.match(checked.out, /^gone: error: cannot connect to gone \(127\.0\.0\.1:1, /m);
  assert.match(checked.out, /^root: warning: postgres /m);
  assert.match(checked.out, /^ {2}note: postgres is a superuser: it works, and a role with just enough/m);
  const { targets } = JSON.parse((await check(here, "--json")).out) as Checked;
  assert.deepEqual(
    targets.map(({ target, ok }) => [target, ok]),
    [
      ["app", true],
      ["gone", false],
      ["root", true],
    ],
  );
});

test("a standby is noted, and is no mistake", async () => {
  const signal = join(standby.dataFolder, "standby.signal");
  const { uid, gid } = await stat(standby.dataFolder);
  await writeFile(signal, "");
  await chown(signal, uid, gid);
  await standby.restart("fast");
  const checked = await check(await configured({ app: standby.url() }));
  assertEnded(checked, { code: 0, out: /./ });
  const said = below(checked.out).replaceAll(/\s+/g, " ");
  assert.match(said, /^app: warning: postgres \S+, role postgres, a standby, not encrypted /);
  assert.match(
    said,
    / note: this server is in recovery \(a standby\): its own sessions are seen, and signalled only where the url says target_session_attrs=standby /,
  );
});

test("--offline never connects, and the other check does", async (t) => {
  let connections = 0;
  const listener = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  t.after(() => listener.close());
  const { port } = listener.address() as { port: number };
  const here = await configured({ app: `postgres://lockwarden:${secret}@127.0.0.1:${port}/app` });
  assertEnded(await check(here, "--offline"), { code: 0, out: /: ok: 1 rule, 1 target, [^:]*$/ });
  const json = await check(here, "--offline", "--json");
  assertEnded(json, { code: 0, out: /^\{.*"targets":\[\]\}\n$/ });
  assert.equal(connections, 0);
  assertEnded(await check(here), { code: 3, out: /^app: error: cannot connect/m });
  assert.ok(connections > 0);
});
