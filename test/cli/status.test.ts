import assert from "node:assert/strict";
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { request } from "../../src/control-socket.ts";
import type { StatusAnswer } from "../../src/daemon/status.ts";
import { assertEnded } from "../support/clean-output.ts";
import { lockwarden, ordinaryUser, place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { mailServer, smtpError } from "../support/mail-server.ts";
import { eventually } from "../support/servers.ts";
import { stuckRule } from "../support/stuck-login.ts";

const service = await loginService();

const config = (mode = "enforce", more = "") =>
  `mode: ${mode}\ntargets: [{name: app, url: "${service.url}", poll: 1h}]\n${stuckRule}${more}`;

test("status shows the daemon, its config against the file, the pause, the journal and each target", async () => {
  const here = await place(config());
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  const words = ["status", "--config", here.config];
  const calm = await lockwarden(words);
  assertEnded(calm, {
    code: 0,
    out: new RegExp(
      [
        `^lockwarden \\d+\\.\\d+\\.\\d+, pid ${daemon.child.pid}, running for \\S.*`,
        "  mode     enforce",
        `  config   ${here.config} \\(digest [0-9a-f]{12}\\)`,
        "  journal  is written",
        "  notices  all delivered",
        "target app: connected to postgres 18\\.\\S*, has the right to act",
        "  looked at \\S.* ago, the next look (?:now|in \\S.*)",
        "  nobody waits for a lock; nothing to do\n$",
      ].join("\\n"),
    ),
  });
  await here.write(config("observe"));
  assert.match((await lockwarden(words)).out, /\), which says something else now: SIGHUP makes the daemon read it\n/);
  await appendFile(here.config, "rules: 7\n");
  const broken = await lockwarden(words);
  assert.match(broken.out, /\), which has mistakes now, so SIGHUP would be refused: lockwarden check names them\n/);
  await lockwarden(["pause", "--config", here.config, "--reason", "night", "--for", "1h"]);
  const paused = await lockwarden(words);
  assert.match(
    paused.out,
    /\n {2}mode {5}enforce, paused\n {2}paused {3}paused by user .* since \S+ until \S+: night \(59 min .* left\)\n/,
  );
  const json = JSON.parse((await lockwarden([...words, "--json"])).out) as Record<string, unknown>;
  assert.equal(json["running"], true);
  assert.equal(json["pid"], daemon.child.pid);
  assert.equal(json["disk"], "broken");
  assert.equal((json["paused"] as { reason: string }).reason, "night");
  const [target] = json["targets"] as Record<string, unknown>[];
  assert.deepEqual([target?.["target"], target?.["connected"], target?.["leader"]], ["app", true, true]);
  assert.ok(typeof target?.["lookedAgoMs"] === "number" && typeof target["nextInMs"] === "number");
});

test("a daemon that only observes does not claim the right to act, for which it never asked", async () => {
  const here = await place(config("observe"));
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  const { out } = await lockwarden(["status", "--config", here.config]);
  assert.match(out, /\ntarget app: connected to postgres 18\.\S*, only observes: by its config no rule acts here\n/);
});

test("resume has every target looked at, though the next look would be in an hour", async () => {
  // A rule that acts would have it look at least as often as its threshold is long.
  const here = await place(config().replace("[terminate]", "[notify]"));
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  await lockwarden(["pause", "--config", here.config]);
  const resumedAt = performance.now();
  await lockwarden(["resume", "--config", here.config]);
  await eventually(async () => {
    const askedAt = performance.now();
    const reply = await request(here.stateDir, { command: "status" }, { timeoutMs: 30_000 });
    assert.ok(reply.kind === "answer");
    const [target] = (reply.answer as StatusAnswer).targets;
    return (target?.lookedAgoMs ?? Number.POSITIVE_INFINITY) < askedAt - resumedAt;
  });
});

test("status counts the notices that reached nobody yet", async (t) => {
  const mail = await mailServer(t, {
    onMailFrom: (_address, _session, done) => done(smtpError(451, "come back later")),
  });
  const channel = `{name: oncall, type: email, smtp: "smtp://127.0.0.1:${mail.port}", starttls: never, from: l@example.org, to: [d@example.org]}`;
  const here = await place(config("enforce", `\nchannels: [${channel}]`));
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  await lockwarden(["pause", "--config", here.config]);
  await eventually(async () =>
    (await lockwarden(["status", "--config", here.config])).out.includes("\n  notices  1 not delivered yet\n"),
  );
});

test("without a daemon status fails, and shows what the state folder says: the pause and the journal's last event", async () => {
  const here = await place(config());
  const words = ["status", "--config", here.config];
  const nothing = await lockwarden(words);
  assertEnded(nothing, { code: 1, out: /^no daemon runs on \S+\/state\n {2}its journal is empty\n$/ });
  await lockwarden(["pause", "--config", here.config]);
  await appendFile(join(here.stateDir, "journal.jsonl"), '{"v":1,"id":"torn');
  const left = await lockwarden(words);
  assertEnded(left, {
    code: 1,
    out: /^no daemon runs on \S+\n {2}the next one starts paused by user .* until somebody resumes it\n {2}the journal ends at \S+ with: paused\n$/,
  });
  const json = await lockwarden([...words, "--json"]);
  assertEnded(json, {
    code: 1,
    out: /^\{"running":false,"stateDir":"[^"]+","paused":\{.*\},"last":\{"at":"[^"]+","event":"paused","target":null\}\}\n$/,
  });
  // The last event is found behind garbage of any length.
  await writeFile(
    join(here.stateDir, "journal.jsonl"),
    `{"v":1,"id":"a","at":"then","target":null,"event":"stop","reason":{"text":""}}\n${"x".repeat(1_000_000)}\n`,
  );
  assert.match((await lockwarden(words)).out, /the journal ends at then with: stop\n$/);
});

test("who may not look into the state folder is told so", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string" || somebody.uid === undefined)
    return t.skip("needs root to have a folder that this user may not look into");
  const here = await place(config());
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  const state = await lockwarden(["status", "--config", here.config, "--state-dir", here.stateDir], {}, somebody);
  assertEnded(state, { code: 1, err: /this user may not ask it: run this as the owner of \S+, or as root\n$/ });
});
