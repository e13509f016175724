import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { place } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

const run = promisify(execFile);
const service = await loginService();

test("a disk that fills up between two steps of a ladder: nothing is sent without its intent, told once, and the ladder goes on where it stood", async (t) => {
  const here = await place(`
mode: enforce
verify_for: 3s
targets: [{name: app, url: "${service.url}", poll: 1s}]
rules:
  - name: ladder
    match: {applications: [swallower], state: active, blocks: {for: 500ms}}
    steps: [cancel, {wait: 5s}, terminate]`);
  const swallower = await service.person("swallower");
  const pid = await pidOf(swallower);
  await abandon(swallower, 1);
  await swallower.query("savepoint s");
  const hang = "do $$ begin perform pg_sleep(600); exception when query_canceled then perform pg_sleep(600); end $$";
  const hanging = swallower.query(hang).catch((error: unknown) => error);
  const login = logIn(await service.person("somebody"), 1);
  const daemon = here.run();
  const acts = async () =>
    (await here.journal()).flatMap((event) => {
      if (event.event === "intent") return [event.decision.action];
      return event.event === "outcome" ? [event.outcome.kind] : [];
    });
  await eventually(async () => (await acts()).length === 2);
  const limit = (size: string) => run("prlimit", ["--pid", String(daemon.child.pid), `--fsize=${size}:unlimited`]);
  const cannot = await limit("0").then(
    () => null,
    (error: unknown) => String(error),
  );
  if (cannot !== null) return t.skip(`the file size of a running process cannot be limited here: ${cannot}`);

  const said = (text: string) =>
    daemon.lines().filter(({ msg, notice }) => notice === undefined && String(msg).includes(text)).length;
  await eventually(() => said("nothing is acted on: cannot write the journal") > 0);
  await eventually(() => said("is spared (journal)") > 0);
  assert.deepEqual(await acts(), ["cancel", "survived"]);
  const { rowCount } = await service.admin.query("select from pg_stat_activity where pid = $1 and state = 'active'", [
    pid,
  ]);
  assert.equal(rowCount, 1);

  await limit("unlimited");
  await login;
  await hanging;
  assert.deepEqual(await eventually(async () => (await acts()).length === 4 && (await acts())), [
    "cancel",
    "survived",
    "terminate",
    "released",
  ]);
  assert.equal(said("nothing is acted on: cannot write the journal"), 1);
  await eventually(() => said("the journal can be written again: Lockwarden acts again") === 1);
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
});
