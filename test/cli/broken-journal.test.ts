import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, rename, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { assertClean } from "../support/clean-output.ts";
import { type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { mailServer } from "../support/mail-server.ts";
import { eventually } from "../support/servers.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();
const run = promisify(execFile);

type Way = Readonly<{
  name: string;
  /** A text: this machine cannot do it, and why. */
  spoil(here: Place, daemon: Running): Promise<string | null>;
  mend(here: Place, daemon: Running): Promise<void>;
}>;

const replaced: Way = {
  name: "something else stands in its place",
  spoil: async ({ stateDir }) => {
    await rename(join(stateDir, "journal.jsonl"), join(stateDir, "journal.old"));
    await mkdir(join(stateDir, "journal.jsonl"));
    return null;
  },
  mend: ({ stateDir }) => rmdir(join(stateDir, "journal.jsonl")),
};

const ways: readonly Way[] = [
  replaced,
  {
    name: "the disk is full",
    spoil: async (_here, { child }) => {
      const { pid } = child;
      return run("prlimit", ["--pid", String(pid), "--fsize=0:unlimited"]).then(
        () => null,
        (error: unknown) => `the file size of a running process cannot be limited here: ${String(error)}`,
      );
    },
    mend: async (_here, { child }) => {
      await run("prlimit", ["--pid", String(child.pid), "--fsize=unlimited:unlimited"]);
    },
  },
];

for (const [index, { name, spoil, mend }] of ways.entries()) {
  test(`the journal cannot be written, as ${name}: the daemon watches, tells once, and acts when it can write again`, async (t) => {
    const mail = await mailServer(t);
    const here = await place(`
mode: enforce
targets: [{name: app, url: "${service.url}"}]
${stuckRule}
channels:
  - {name: oncall, type: email, smtp: "smtp://127.0.0.1:${mail.port}", starttls: never, from: l@example.org, to: [dba@example.org]}
`);
    const daemon = here.run();
    await eventually(() => daemon.said().includes("nothing to do"));
    const skipped = await spoil(here, daemon);
    if (skipped !== null) return t.skip(skipped);

    const { pid, lives, login } = await stuckLogin(service, index + 1);
    const saying = (text: string) => daemon.lines().filter((line) => String(line["msg"]).includes(text));
    const mailed = (text: string) => mail.mails.filter((one) => one.text.replaceAll(/\s+/g, " ").includes(text));
    const [shout] = await eventually(() => {
      const found = saying("nothing is acted on: cannot ");
      return found.length > 0 && found;
    });
    assert.equal(shout?.["level"], "error");
    assert.match(String(shout?.["msg"]), new RegExp(`the journal ${here.stateDir}/journal\\.jsonl: .*\\. Without it`));
    await eventually(() => mailed("Lockwarden does not act any more").length > 0);
    await eventually(() => mailed(`${pid},`).length > 0);
    // It goes on looking: whoever comes and goes is seen.
    await eventually(() => saying("is spared (journal)").length > 0);
    const other = await stuckLogin(service, index + 11);
    await eventually(() => saying(`session ${other.pid},`).some((line) => String(line["msg"]).includes("(journal)")));
    await other.release();
    await eventually(() => String(daemon.lines().findLast((line) => "msg" in line)?.["msg"]).includes(pid));
    assert.ok(await lives());

    await mend(here, daemon);
    await eventually(() => daemon.lines().some((line) => line["pid"] === pid && line["outcome"] === "released"));
    await login;
    assert.equal(saying("nothing is acted on: cannot ").length, 1);
    assert.equal(saying("the journal can be written again: Lockwarden acts again").length > 0, true);
    await eventually(() => mailed("the journal can be written again").length > 0);
    assert.equal(mailed("Lockwarden does not act any more").length, 1);
    daemon.child.kill("SIGTERM");
    const ended = await daemon.ended;
    assertClean(ended);
    assert.equal(ended.code, 0);
    // Nobody was hit before the intent could be written, and there is one for each act.
    const events = (await here.journal()).map(({ event }) => event);
    assert.deepEqual(
      events.filter((event) => event === "intent" || event === "outcome"),
      ["intent", "outcome"],
    );
  });
}

test("when nothing else wants to be written the daemon tries the journal by itself, and then acts", async () => {
  const here = await place(`mode: enforce\ntargets: [{name: app, url: "${service.url}"}]\n${stuckRule}`);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  await replaced.spoil(here, daemon);
  const { pid, lives, login } = await stuckLogin(service, 9);
  await eventually(() => daemon.said().includes("is spared (journal)"));
  assert.ok(await lives());
  await replaced.mend(here, daemon);
  await eventually(() => daemon.lines().some((line) => line["pid"] === pid && line["outcome"] === "released"));
  await login;
  const acts = await eventually(async () => {
    const events = (await here.journal()).map(({ event }) => event);
    return events.includes("outcome") && events;
  });
  assert.deepEqual(acts, ["resumed", "intent", "outcome"]);
});
