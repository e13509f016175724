import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Explanation } from "../../src/core/explanation.ts";
import { assertEnded } from "../support/clean-output.ts";
import { lockwarden, ordinaryUser, type Place, place, type Running } from "../support/lockwarden.ts";
import { loginService, pidOf } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";
import { snapshot } from "../support/snapshot.ts";
import { stuckLogin, stuckRule } from "../support/stuck-login.ts";

const service = await loginService();

/** A daemon with this poll looks only when it is asked. */
const onlyWhenAsked = "0 0 29 2 *";
const otherRule = `rules:
  - name: orders
    match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.orders]}}
    steps: [terminate]`;

function config({ mode = "enforce", poll = onlyWhenAsked, rules = stuckRule, url = service.url } = {}): string {
  return `mode: ${mode}\ntargets: [{name: app, url: "${url}", poll: "${poll}"}]\n${rules}`;
}

async function running(here: Place, said: string): Promise<Running> {
  const daemon = here.run();
  await eventually(() => daemon.said().includes(said));
  return daemon;
}

async function stop(daemon: Running): Promise<void> {
  daemon.child.kill("SIGTERM");
  assert.equal((await daemon.ended).code, 0);
}

function explain(here: Place, ...words: readonly string[]) {
  return lockwarden(["explain", "--config", here.config, ...words]);
}

async function explained(here: Place, ...words: readonly string[]): Promise<readonly Explanation[]> {
  const ended = await explain(here, "--json", ...words);
  assert.equal(ended.code, 0, JSON.stringify(ended));
  return (JSON.parse(ended.out) as { targets: readonly Explanation[] }).targets;
}

test("without a daemon it looks itself, says who is matched and why, and touches nobody", async () => {
  const here = await place(config());
  const { pid, lives, release } = await stuckLogin(service, 1);
  const ended = await explain(here);
  assertEnded(ended, {
    code: 0,
    out: new RegExp(
      "^app at .* UTC, a first look without a daemon's memory: [^]*" +
        `\\n${pid},\\S+  user login_service, database app, web-1 from 127\\.0\\.0\\.1\\n` +
        "  idle in transaction for [^\\n]*\\n" +
        "  last statement: update public\\.user_session set seen = now\\(\\) where id = \\$1\\n" +
        "  blocks 1 session on public\\.user_session, for [^\\n]*; waits for nobody\\n" +
        "  stuck-login: matched; terminate is due now\\n[^]*" +
        `waits itself behind ${pid}, the root[^]*lockwarden explain PID says it condition by condition\\n$`,
    ),
  });
  assert.ok(
    ended.out.split("\n").every((line) => line.length <= 80),
    ended.out,
  );
  assert.ok(await lives());
  assert.deepEqual(await here.journal(), []);
  await release();
});

test("of one session it tells every condition; the handle names it too, and one that is not there is an error", async () => {
  const here = await place(config({ mode: "observe" }));
  const { pid, release } = await stuckLogin(service, 2);
  const [said] = await explained(here, pid);
  const [session, ...others] = said?.sessions ?? [];
  assert.equal(others.length, 0);
  assert.deepEqual(
    session?.rules.map(({ verdict, decision, conditions }) => [verdict, decision?.by, conditions.length]),
    [["matched", "observe", 4]],
  );
  const handle = session?.who.kind === "session" ? `${pid},${session.who.sessionId}` : "";
  assertEnded(await explain(here, handle), {
    code: 0,
    out: /\n {2}stuck-login: matched; would terminate: mode is observe\n {4}yes {7}root: /,
  });
  assertEnded(await explain(here, "999999999"), {
    code: 1,
    err: /^lockwarden explain: no session or prepared transaction "999999999" on app: it has ended, or is a process of/,
  });
  for (const word of ["abc", "order-7,1", "-5"])
    assertEnded(await explain(here, word), {
      code: 1,
      err: new RegExp(
        `^lockwarden explain: no session or prepared transaction "${word}" on app; expected a session or the gid `,
      ),
    });
  await release();
});

test("--all tells of idle sessions and of Lockwarden's own too", async () => {
  const here = await place(config());
  const idler = String(await pidOf(await service.person("idler")));
  const short = await explain(here);
  assertEnded(short, { code: 0, out: / idle sessions? that no\s+rule is about/ });
  assert.ok(!short.out.includes(`\n${idler},`), short.out);
  const all = await explain(here, "--all");
  assertEnded(all, {
    code: 0,
    out: new RegExp(`\\n${idler},[^]*\\n  stuck-login: not matched: is idle \\(fails state, `),
  });
  assert.match(all.out, /\n {2}never touched: it is one of Lockwarden's own sessions\n/);
});

test("a question brings the next look no nearer", async () => {
  const here = await place(config({ rules: stuckRule.replace("[terminate]", "[notify]"), poll: "1h" }));
  const daemon = await running(here, "nobody waits for a lock");
  const { release } = await stuckLogin(service, 6);
  for (const _ of [1, 2]) assert.equal((await explained(here))[0]?.sessions.length, 2);
  assert.ok(!daemon.said().includes("somebody waits"), daemon.said());
  await release();
  await stop(daemon);
});

test("while a daemon runs its memory is asked, and it does not act for that", async () => {
  const here = await place(config());
  const daemon = await running(here, "the first look is at");
  const { pid, lives, release } = await stuckLogin(service, 3);
  const [said] = await explained(here);
  assert.equal(said?.basis, "daemon");
  assert.deepEqual(
    said.sessions.flatMap(({ rules }) => rules.map(({ decision }) => decision?.kind ?? null)),
    ["act", null],
  );
  assert.ok(await lives());
  const [again] = await explained(here, pid);
  assert.equal(again?.sessions.length, 1);
  assert.ok(!daemon.said().includes("somebody waits"), daemon.said());
  await release();
  await stop(daemon);
  assert.deepEqual(
    (await here.journal()).map(({ event }) => event),
    ["start", "stop"],
  );
});

test("a daemon's ladder is where it stands, not at its beginning", async () => {
  const ladder = stuckRule.replace("[terminate]", "[notify, {wait: 10m}, terminate]");
  const here = await place(config({ rules: ladder, poll: "100ms" }));
  const { pid, release } = await stuckLogin(service, 4);
  const daemon = await running(here, "is watched");
  assertEnded(await explain(here, pid), {
    code: 0,
    out: /as the daemon sees it[^]*\n {2}stuck-login: matched; terminate in 9 min \d+ s, as its steps say\n/,
  });
  await release();
  await stop(daemon);
});

test("the daemon's log names who blocks others while no rule matches, once, and points here", async () => {
  const here = await place(config({ rules: otherRule, poll: "100ms" }));
  const { pid, release } = await stuckLogin(service, 5);
  const daemon = await running(here, "lockwarden explain says why");
  const sentence = new RegExp(
    `^somebody waits for a lock; session ${pid},\\S+ \\(login_service, web-1\\) blocks others on ` +
      "public\\.user_session, and no rule matches: lockwarden explain says why$",
  );
  assert.ok(
    daemon.lines().some((line) => sentence.test(String(line["msg"]))),
    daemon.said(),
  );
  assertEnded(await explain(here, pid), {
    code: 0,
    out: /\n {2}orders: not matched\n {4}no {8}blocks\.waiters: blocks nobody on public\.orders; wanted: at least 1\n {16}on /,
  });
  await release();
  await eventually(() => daemon.lines().at(-1)?.["msg"] === "nobody waits for a lock; nothing to do");
  assert.equal(daemon.lines().filter((line) => sentence.test(String(line["msg"]))).length, 1);
  await stop(daemon);
});

test("a target that cannot be reached is 3, beside a daemon and without one", async () => {
  const here = await place(config({ url: "postgres://lockwarden@127.0.0.1:1/app" }));
  assertEnded(await explain(here), { code: 3, out: /^app: .*127\.0\.0\.1:1/ });
  const daemon = await running(here, "trying again until it works");
  assertEnded(await explain(here, "--json"), { code: 3, out: /^\{"targets":\[\{"target":"app","error":".*127/ });
  await stop(daemon);
});

test("a recorded snapshot is judged by the config as it is, without a server", async () => {
  const here = await place(config({ url: "postgres://lockwarden@127.0.0.1:1/app" }));
  const file = join(here.folder, "look.json");
  const look = snapshot()
    .session(1, { idle: "40s", query: "select 'a secret'" })
    .session(2, { xact: "7s" })
    .waits(2, { on: 1, for: "7s", table: "public.user_session" });
  await writeFile(file, JSON.stringify(look.build()));
  const ended = await explain(here, "--from", file);
  assertEnded(ended, {
    code: 0,
    out: /^app at 2026-01-01 12:00:00 UTC, as recorded, [^]*\n {2}last statement: select \?\n/,
  });
  assert.match(ended.out, /\n {2}stuck-login: matched; terminate is due now\n/);
  for (const [text, why] of [
    ["{", "expected one recorded snapshot as JSON"],
    ["{}", "expected a snapshot with a version"],
    ['{"version":1}', "target: expected a text, got nothing, and 12 more mistakes"],
  ] as const) {
    await writeFile(file, text);
    assertEnded(await explain(here, "--from", file), {
      code: 1,
      err: new RegExp(`^lockwarden explain: ${file}.*${why}`),
    });
  }
  for (const [from, why] of [
    [join(here.folder, "none.json"), "there is no such file"],
    [join(here.folder, "none.jsonl"), "there is no such file"],
    [join(file, "look.json"), "a part of its path is no folder"],
    [here.folder, "it is a folder"],
  ] as const) {
    const err = `lockwarden explain: --from ${from}: ${why}; expected a file that lockwarden snapshot or the flight recorder has written\n`;
    assert.deepEqual(await explain(here, "--from", from), { code: 1, signal: null, out: "", err });
  }
  // Of a recording the latest look counts.
  const recording = join(here.folder, "looks.jsonl");
  const earlier = snapshot().session(1, { idle: "1s" }).build();
  await writeFile(recording, [earlier, look.build()].map((one) => `${JSON.stringify(one)}\n`).join(""));
  const latest = await explain(here, "--from", recording);
  assertEnded(latest, { code: 0, out: /stuck-login: matched; terminate is due now\n/ });
});

test("of a recording of several targets each one's latest look is explained", async () => {
  const [unreachable, named] = ["postgres://lockwarden@127.0.0.1:1/app", '{name: NAME, url: "URL"}'];
  const targets = (...names: readonly string[]) =>
    `targets: [${names.map((name) => named.replace("NAME", name).replace("URL", unreachable)).join(", ")}]`;
  const here = await place(`mode: enforce\n${targets("app", "ledger")}\n${stuckRule}`);
  const look = snapshot().session(1, { idle: "40s" });
  const early = snapshot().session(2, { idle: "1s" });
  const lines = [
    { ...early.build(), target: "app" },
    { ...look.build(), target: "ledger" },
    { ...look.later("5s").build(), target: "app" },
  ].map((one) => `${JSON.stringify(one)}\n`);
  for (const name of ["looks.jsonl", "looks.json"]) {
    const file = join(here.folder, name);
    await writeFile(file, lines.join(""));
    const said = await explained(here, "--from", file);
    assert.deepEqual(
      said.map(({ target, at, sessions }) => [target, at.slice(11, 19), sessions.length]),
      [
        ["app", "12:00:05", 1],
        ["ledger", "12:00:00", 1],
      ],
    );
  }
  const file = join(here.folder, "looks.jsonl");
  await here.write(`mode: enforce\n${targets("ledger")}\n${stuckRule}`);
  const one = await explain(here, "--from", file);
  assertEnded(one, {
    code: 0,
    out: /^ledger at /,
    err: /left out what was recorded on target app, but the config has ledger\n$/,
  });
  await here.write(`mode: enforce\n${targets("other")}\n${stuckRule}`);
  const none = await explain(here, "--from", file);
  assertEnded(none, { code: 1, err: /looks\.jsonl: recorded on target app, ledger, but the config has other\n$/ });
});

test("who may not ask the daemon looks himself, and is told so", async (t) => {
  const somebody = await ordinaryUser();
  if (typeof somebody === "string" || somebody.uid === undefined) return t.skip("needs a second user");
  const here = await place(config());
  const daemon = await running(here, "the first look is at");
  const own = join(tmpdir(), `lockwarden-explain-${process.pid}.yaml`);
  t.after(() => rm(own, { force: true }));
  await writeFile(own, `${config()}\nstate_dir: ${here.stateDir}\n`, { mode: 0o644 });
  const ended = await lockwarden(["explain", "--config", own], {}, somebody);
  assertEnded(ended, {
    code: 0,
    out: /a first look without a daemon's memory/,
    err: /^warning: a daemon may run on \S+, but this user may not ask it: run this as the owner of \S+, or as root; what follows is a first look, without its memory\n$/,
  });
  assertEnded(await lockwarden(["explain", "--config", own, "--from", here.config], {}, somebody), {
    code: 1,
    err: /: this user may not read it; expected a file/,
  });
  await stop(daemon);
});
