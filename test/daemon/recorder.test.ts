import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { RecordedLook } from "../../src/core/recorded-look.ts";
import { type RecordedLine, recordedLooks } from "../../src/recorded-looks.ts";
import { recordingFiles } from "../../src/replay-files.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { abandon, logIn, loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

// One server for the file; each test has rows, applications and a daemon of its own.
const service = await loginService();

function config(application: string, more = "", mode = "enforce"): string {
  return `
mode: ${mode}
targets: [{name: app, url: "${service.url}", poll: 200ms, leader_database: app}]
rules:
  - name: stuck-login
    match: {state: idle in transaction, idle_for: 2s, blocks: {tables: [public.user_session]}, applications: ["${application}"]}
    steps: [terminate]
${more}`;
}

async function linesIn(here: Place): Promise<readonly RecordedLine[]> {
  const { files } = await recordingFiles([join(here.stateDir, "recordings")]);
  const lines: RecordedLine[] = [];
  for (const file of files) for await (const line of recordedLooks(file)) lines.push(line);
  return lines;
}

async function looksIn(here: Place): Promise<readonly RecordedLook[]> {
  return (await linesIn(here)).flatMap((line) => (line.kind === "look" ? [line.look] : []));
}

/** Somebody abandons a row, and somebody else waits for it with a secret in the statement. */
async function stuck(
  application: string,
  id: number,
): Promise<Readonly<{ login: Promise<unknown>; release(): Promise<unknown> }>> {
  const crashed = await service.person(application);
  // Connected before, so that its wait shows in a look before the rule's time is over.
  const waiter = await service.person("somebody");
  await abandon(crashed, id);
  const login = waiter.query(`update public.user_session set seen = now() where id = ${id} and 'hunter2' <> 'x'`);
  login.catch(() => undefined);
  return { login, release: () => crashed.query("rollback") };
}

function calmLooks(daemon: Running): boolean {
  return daemon.said().includes("nobody waits for a lock");
}

test("while somebody waits each look is recorded with what was decided, the first calm one after it too, and no secret", async () => {
  const here = await place(config("recorded"));
  const daemon = here.run();
  await eventually(() => calmLooks(daemon));
  assert.deepEqual(await linesIn(here), []); // nobody waits: nothing is recorded
  const { login } = await stuck("recorded", 1);
  await login;
  const looks = await eventually(async () => {
    const found = await looksIn(here);
    return found.at(-1)?.snapshot.contended === false && found;
  });
  const opinions = looks.map(({ judgement }) => judgement?.opinions.map(({ kind, outcome }) => [kind, outcome]));
  assert.deepEqual(opinions.at(0), [["wait", null]]);
  assert.deepEqual(opinions.at(-2), [["act", "released"]]);
  assert.deepEqual(opinions.at(-1), []);
  assert.equal(looks.filter(({ snapshot }) => !snapshot.contended).length, 1);
  const [first] = looks;
  assert.ok((first?.judgement?.freedom?.size ?? 0) > 0);
  assert.deepEqual(
    new Set(
      looks.map(
        ({ judgement }) => `${judgement?.run} ${judgement?.connection} ${judgement?.mode} ${judgement?.leader}`,
      ),
    ).size,
    1,
  );
  const queries = looks.flatMap(({ snapshot }) => snapshot.sessions.map(({ query }) => query));
  assert.ok(queries.includes("update public.user_session set seen = now() where id = ? and ? <> ?"));
  assert.ok(!JSON.stringify(looks).includes("hunter2"));

  // Calm again: nothing is added, whatever looks there are.
  const count = (await linesIn(here)).length;
  daemon.child.kill("SIGHUP");
  await eventually(async () => (await here.journal()).some(({ event }) => event === "reload"));
  assert.equal((await linesIn(here)).length, count);
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});

test("a reason does not quote the statement that its rule's query was found in", async () => {
  const rule = `
  - name: waiting
    match: {query: hunter2, waits: {for: 200ms}}
    steps: [notify]`;
  const here = await place(config("nobody", "").replace(/\n$/, rule));
  here.run();
  const { login, release } = await stuck("masked", 2);
  const opinion = await eventually(async () =>
    (await looksIn(here))
      .flatMap(({ judgement }) => judgement?.opinions ?? [])
      .find(({ rule: name }) => name === "waiting"),
  );
  assert.match(opinion.text, /its statement matches/);
  assert.doesNotMatch(JSON.stringify(await looksIn(here)), /hunter2/);
  await release();
  await login;
});

test("recordings: false records nothing, and a reload switches it on", async () => {
  const here = await place(config("switched", "recordings: false", "observe"));
  const daemon = here.run();
  const { login, release } = await stuck("switched", 3);
  await eventually(() => daemon.said().includes("would terminate"));
  assert.deepEqual(await linesIn(here).catch(() => []), []);
  await here.write(config("switched", "recordings: {size: 1MB, keep: 1h}", "observe"));
  daemon.child.kill("SIGHUP");
  await eventually(async () => (await looksIn(here)).length > 2);
  await release();
  await login;
});

test("with tiny limits the recordings stay tiny while the daemon goes on", async () => {
  const here = await place(config("tiny", "recordings: {size: 8kB}", "observe"));
  here.run();
  const { login, release } = await stuck("tiny", 4);
  const first = await eventually(async () => (await looksIn(here))[0]);
  // The oldest have gone, and the newest are there.
  await eventually(async () => {
    const [oldest] = await looksIn(here);
    return oldest !== undefined && oldest.snapshot.atMs > first.snapshot.atMs;
  }, 60_000);
  await release();
  await login;
});

test("recordings that cannot be written are told once, and the daemon acts all the same", async () => {
  const here = await place(config("unrecorded"));
  await mkdir(here.stateDir);
  await writeFile(join(here.stateDir, "recordings"), "in the way");
  const daemon = here.run();
  const { login } = await stuck("unrecorded", 5);
  await login;
  const told = () => daemon.lines().filter(({ msg }) => String(msg).startsWith("looks are not recorded"));
  await eventually(() => told().length > 0);
  assert.match(String(told()[0]?.["msg"]), /recordings.*everything else goes on/);
  await rm(join(here.stateDir, "recordings"));
  const again = await stuck("unrecorded", 5);
  await again.login;
  await eventually(() => daemon.said().includes("looks are recorded again"));
  assert.equal(told().length, 1);
});

test("a login that waits for nobody's rule is recorded too", async () => {
  const here = await place(config("somebody-else"));
  here.run();
  const crashed = await service.person("unwatched");
  await abandon(crashed, 6);
  const login = logIn(await service.person("somebody"), 6);
  await eventually(async () => (await looksIn(here)).some(({ snapshot }) => snapshot.waits?.length === 1));
  await crashed.query("rollback");
  await login;
});
