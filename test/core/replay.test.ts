import assert from "node:assert/strict";
import { test } from "node:test";
import { spareByProbe } from "../../src/core/probe-text.ts";
import type { Judgement } from "../../src/core/recorded-look.ts";
import { replay } from "../../src/core/replay.ts";
import {
  type Case,
  type Comparison,
  caseKind,
  compareLook,
  notCompared,
  type Sides,
} from "../../src/core/replay-difference.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { judge } from "../support/judge.ts";
import { recorded, trial } from "../support/recorded.ts";
import { type SnapshotBuilder, snapshot } from "../support/snapshot.ts";

const login = "public.user_session";

function stuckLogin(idle: string, blocks = "1s", more: object = {}) {
  return {
    name: "stuck-login",
    match: { state: "idle in transaction", idle_for: idle, blocks: { tables: [login], for: blocks } },
    steps: ["terminate"],
    ...more,
  };
}

/** Session 1 holds the row of which session 2 waits, so many seconds after it fell asleep. */
function stuck(seconds: number, described: object = {}, later = seconds): SnapshotBuilder {
  return snapshot()
    .later(`${later}s`)
    .session(1, { idle: `${seconds}s`, ...described })
    .session(2, { xact: `${seconds}s` })
    .waits(2, { on: 1, for: `${seconds}s`, table: login });
}

/** What a daemon with these rules decided and wrote down, look by look; nobody ends, as it acts only in its head. */
function flight(rules: readonly object[], looks: readonly Snapshot[], more: Partial<Judgement> = {}, mode = "enforce") {
  const { look } = judge({ rules, mode });
  return looks.map((one) => recorded(one, look(one).decisions, more));
}

function compared(looks: ReturnType<typeof flight>, sides: Sides): Comparison {
  return looks.reduce((comparison, look) => compareLook(comparison, look, sides), notCompared);
}

function brief(one: Case): string {
  const side = (deed: Case["before"]) =>
    deed === null ? "-" : `${deed.action} by ${deed.rule} at ${deed.at.slice(14, 19)}`;
  return `${caseKind(one)} ${one.session.pid}: ${side(one.before)} → ${side(one.after)}`;
}

function cases(comparison: Comparison): readonly string[] {
  return [...comparison.cases.values()].map(brief);
}

const seconds = (from: number, to: number, step: number) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step);

test("the same rules over what they decided make no difference, and an act counts once", () => {
  const rules = [stuckLogin("30s")];
  const looks = flight(
    rules,
    seconds(5, 60, 5).map((at) => stuck(at).build()),
  );
  assert.deepEqual(cases(compared(looks, { before: null, after: trial({ rules }) })), [
    "same 1: terminate by stuck-login at 00:30 → terminate by stuck-login at 00:30",
  ]);
});

test("a lower threshold acts at an earlier look, and says at which moment a daemon would have", () => {
  const looks = flight(
    [stuckLogin("30s")],
    seconds(5, 60, 5).map((at) => stuck(at).build()),
  );
  const comparison = compared(looks, { before: null, after: trial({ rules: [stuckLogin("12s")] }) });
  assert.deepEqual(cases(comparison), [
    "changed 1: terminate by stuck-login at 00:30 → terminate by stuck-login at 00:15",
  ]);
  const [only] = comparison.cases.values();
  assert.equal(only?.after?.dueAt, "2026-01-01T12:00:12.000Z");
  assert.match(only.after.reason, /idle for 15 s, blocks 1 session on public\.user_session/);
});

test("whom a new exception spares is not acted on any more, and it says what spares it", () => {
  const looks = flight(
    [stuckLogin("30s")],
    seconds(10, 60, 10).map((at) => stuck(at).build()),
  );
  const after = trial({ rules: [stuckLogin("30s", "1s", { except: { applications: "web" } })] });
  const comparison = compared(looks, { before: null, after });
  assert.deepEqual(cases(comparison), ["removed 1: terminate by stuck-login at 00:30 → -"]);
  assert.match(
    [...comparison.cases.values()][0]?.instead ?? "",
    /^stuck-login spares it \(except\): .*application web/,
  );
});

test("whom the recorded daemon ended is told with the time that the new rules would still have waited", () => {
  // Released at 30 s, and so never seen again.
  const after30 = snapshot().later("35s").session(2).build();
  const looks = flight([stuckLogin("30s")], [...seconds(10, 30, 10).map((at) => stuck(at).build()), after30]);
  const comparison = compared(looks, { before: null, after: trial({ rules: [stuckLogin("45s")] }) });
  assert.deepEqual(cases(comparison), ["removed 1: terminate by stuck-login at 00:30 → -"]);
  assert.match([...comparison.cases.values()][0]?.instead ?? "", /^stuck-login waits 15 s more: /);
});

test("whom only the new rules act on is added, with what the daemon said of it then", () => {
  const looks = flight(
    [stuckLogin("1h")],
    seconds(10, 40, 10).map((at) => stuck(at).build()),
  );
  const rules = [
    { name: "other", match: { transaction_for: "20s", blocks: { for: "5s" } }, steps: ["cancel", "terminate"] },
  ];
  const comparison = compared(looks, { before: null, after: trial({ rules }) });
  assert.deepEqual(cases(comparison), ["added 1: - → terminate by other at 00:20"]);
  assert.match([...comparison.cases.values()][0]?.instead ?? "", /^stuck-login waits 59 min 40 s more: /);
});

test("two configs are compared on equal terms, whatever was decided then", () => {
  const looks = flight(
    [stuckLogin("1s")],
    seconds(10, 60, 10).map((at) => stuck(at).build()),
  );
  const sides = { before: trial({ rules: [stuckLogin("40s")] }), after: trial({ rules: [stuckLogin("20s")] }) };
  assert.deepEqual(cases(compared(looks, sides)), [
    "changed 1: terminate by stuck-login at 00:40 → terminate by stuck-login at 00:20",
  ]);
});

test("what only a pause, another daemon or the journal held back counts as an act", () => {
  for (const circumstances of [{ paused: true }, { leader: false }, { journalled: false }]) {
    const { look } = judge({ rules: [stuckLogin("30s")] }, circumstances);
    const looks = seconds(10, 40, 10).map((at) => recorded(stuck(at).build(), look(stuck(at).build()).decisions));
    const comparison = compared(looks, { before: null, after: trial({ rules: [stuckLogin("30s")] }) });
    assert.deepEqual([...comparison.cases.values()].map(caseKind), ["same"], JSON.stringify(circumstances));
  }
});

const half = seconds(10, 60, 10).map((at) => stuck(at).build());

test("from observe to enforce is a difference, as is the way back; observe on both sides is none", () => {
  const rules = [stuckLogin("30s")];
  const enforced = trial({ rules });
  const observed = trial({ rules }, { heldBack: () => "mode is observe" });
  const sides = (mode: string, after: Sides["after"]) => {
    const comparison = compared(flight(rules, half, {}, mode), { before: null, after });
    return [...comparison.cases.values()].map((one) => [caseKind(one), one.before?.heldBack, one.after?.heldBack]);
  };
  const then = { by: "observe", text: "observe" };
  const now = { by: "observe", text: "mode is observe" };
  assert.deepEqual(sides("observe", enforced), [["added", then, null]]);
  assert.deepEqual(sides("enforce", observed), [["removed", null, now]]);
  assert.deepEqual(sides("observe", observed), [["same", then, now]]);
  assert.deepEqual(sides("enforce", enforced), [["same", null, null]]);
});

test("whom the recorded daemon first only told of and later ended, was ended", () => {
  const rules = [stuckLogin("30s")];
  const looks = [...flight(rules, half.slice(0, 4), {}, "observe"), ...flight(rules, half.slice(4))];
  const comparison = compared(looks, { before: null, after: trial({ rules }) });
  assert.deepEqual(cases(comparison), [
    "changed 1: terminate by stuck-login at 00:50 → terminate by stuck-login at 00:30",
  ]);
});

const probing = stuckLogin("30s", "1s", { probe: { sql: "select 1" } });

/** The probe of this daemon gets through until the look of that second; from then on it is stuck. */
function probed(stuckFrom: number): ReturnType<typeof flight> {
  const { look } = judge({ rules: [probing], mode: "enforce" });
  return seconds(10, 60, 10).map((at) => {
    const seen = stuck(at).build();
    const answer = { kind: at < stuckFrom ? ("works" as const) : ("stuck" as const), ms: 1 };
    const decisions = look(seen).decisions.map((one) => (one.kind === "act" && spareByProbe(one, answer)) || one);
    return recorded(seen, decisions);
  });
}

test("whom a probe spared then is spared now, until the look at which it was stuck: the same rules make no difference", () => {
  const after = trial({ rules: [probing] });
  const acted = compared(probed(50), { before: null, after });
  assert.deepEqual(cases(acted), ["same 1: terminate by stuck-login at 00:50 → terminate by stuck-login at 00:50"]);
  assert.equal([...acted.cases.values()][0]?.after?.unprobed, false);
  assert.deepEqual(cases(compared(probed(90), { before: null, after })), []);
  assert.deepEqual(cases(compared(probed(90), { before: after, after })), []);
});

test("where a probe was not asked, or another one was, the act is taken as done, and is marked", () => {
  const unasked = trial({ rules: [{ ...probing, match: stuckLogin("15s").match }] });
  const early = compared(probed(90), { before: null, after: unasked });
  assert.deepEqual(cases(early), ["added 1: - → terminate by stuck-login at 00:20"]);
  const other = compared(probed(90), { before: null, after: trial({ rules: [probing] }, { sameProbe: () => false }) });
  assert.deepEqual(cases(other), ["added 1: - → terminate by stuck-login at 00:30"]);
  for (const one of [early, other]) assert.equal([...one.cases.values()][0]?.after?.unprobed, true);
});

test("whom a notify step is about is counted once on each side", () => {
  const rules = [{ ...stuckLogin("30s"), steps: ["notify"] }];
  const { told } = compared(flight(rules, half), { before: null, after: trial({ rules }) });
  assert.deepEqual(
    [[...told.before], [...told.after]].map((keys) => keys.map((key) => key.split(" ")[0])),
    [["stuck-login"], ["stuck-login"]],
  );
});

test("after an act of the trial nobody behind the victim is judged, though the recording shows them waiting on", () => {
  const rules = [stuckLogin("10s"), { name: "waiters", match: { waits: { for: "20s" } }, steps: ["cancel"] }];
  const looks = seconds(5, 60, 5).map((at) =>
    recorded(
      stuck(at, {}, at)
        .session(3)
        .waits(3, { on: 2, for: `${at}s` })
        .build(),
      [],
    ),
  );
  assert.deepEqual(
    replay(looks, trial({ rules })).map(({ opinion }) => `${opinion.rule} ${opinion.victim}`),
    ["stuck-login 1"],
  );
});

test("whoever is terminated never comes back with another transaction", () => {
  const first = stuck(20).build();
  const again = stuck(
    20,
    { transaction: { kind: "open", startedAt: "later", ageMs: 20_000, writeId: "8" } },
    60,
  ).build();
  const acts = (steps: readonly string[]) =>
    replay(
      [first, again].map((one) => recorded(one, [])),
      trial({
        rules: [{ ...stuckLogin("10s"), match: { transaction_for: "10s", blocks: { for: "1s" } }, steps }],
      }),
    );
  assert.equal(acts(["terminate"]).length, 1);
});

test("a ladder of notify steps is climbed within one look, and its waits are kept", () => {
  const rules = [stuckLogin("10s", "1s", { steps: ["notify", { wait: "10s" }, "notify", "terminate"] })];
  const looks = seconds(5, 60, 5).map((at) => recorded(stuck(at).build(), []));
  const acts = replay(looks, trial({ rules }));
  assert.deepEqual(
    acts.map(({ opinion }) => opinion.action),
    ["terminate"],
  );
  const comparison = compared(looks, { before: null, after: trial({ rules }) });
  assert.deepEqual(cases(comparison), ["added 1: - → terminate by stuck-login at 00:20"]);
});

test("limits hold in a trial too", () => {
  const crowd = (at: number) =>
    seconds(1, 9, 1)
      .reduce(
        (built, pid) => {
          const waiter = pid + 100;
          return built
            .session(pid, { idle: `${at}s`, client: `10.0.0.${pid}` })
            .session(waiter)
            .waits(waiter, { on: pid, for: `${at}s`, table: login, lock: `transactionid ${pid}` });
        },
        snapshot().later(`${at}s`),
      )
      .build();
  const looks = seconds(10, 50, 10).map((at) => recorded(crowd(at), []));
  const rules = [stuckLogin("5s", "1s")];
  assert.equal(replay(looks, trial({ rules, limits: { per_tick: 2, per_minute: 5 } })).length, 5);
});

test("a look without locks is remembered, and nothing is decided on it", () => {
  const rules = [{ name: "old", match: { transaction_for: "10s" }, steps: ["terminate"] }];
  const looks = [recorded(snapshot().later("20s").session(1, { idle: "20s" }).calm(), [])];
  assert.deepEqual(replay(looks, trial({ rules })), []);
});

/** A relation lock that 1 took in its queue: it blocks for as long as it was seen to wait for nobody, not as long as 2 waits. */
function queue(at: number): Snapshot {
  return snapshot()
    .later(`${at}s`)
    .session(1, { xact: "1h", query_age: "1h" })
    .session(2, { xact: "1h" })
    .waits(2, { on: 1, for: "30m", table: login, locktype: "relation", lock: "relation 1" })
    .build();
}

const blocker = [{ name: "blocker", match: { blocks: { for: "10s" } }, steps: ["cancel"] }];

function actsAt(looks: Parameters<typeof replay>[0]): readonly number[] {
  let at = 0;
  const found: number[] = [];
  const all = [...looks];
  for (const look of all) {
    at++;
    if (replay(all.slice(0, at), trial({ rules: blocker })).length > found.length)
      found.push((look.snapshot.atMs / 1_000) % 3_600);
  }
  return found;
}

test("what was seen carries on from look to look; a restart of the daemon forgets it, a reconnect begins anew", () => {
  const looks = (change: (at: number) => Partial<Judgement>) =>
    seconds(0, 16, 4).map((at) => recorded(queue(at), [], change(at)));
  assert.deepEqual(actsAt(looks(() => ({}))), [12]);
  assert.deepEqual(actsAt(looks((at) => ({ run: at < 4 ? "r1" : "r2" }))), [16]);
  assert.deepEqual(actsAt(looks((at) => ({ connection: at < 4 ? 1 : 2 }))), [16]);
});

test("what the daemon had seen before its first recorded look is known", () => {
  const freedom = new Map([["1 started 1 begun 1", { sinceMs: queue(0).atMs - 60_000, waited: false }]]);
  assert.deepEqual(
    actsAt(seconds(0, 8, 4).map((at) => recorded(queue(at), [], { freedom: at === 0 ? freedom : null }))),
    [0],
  );
});

test("looks that were seen already are left out and counted, and so are snapshots without decisions", () => {
  const looks = [stuck(10), stuck(20), stuck(10), stuck(20), stuck(30)].map((one) => ({
    snapshot: one.build(),
    judgement: null,
  }));
  const {
    looks: seen,
    stale,
    unjudged,
  } = compared(looks, { before: null, after: trial({ rules: [stuckLogin("30s")] }) });
  assert.deepEqual({ seen, stale, unjudged }, { seen: 3, stale: 2, unjudged: 3 });
});

test("prepared transactions are compared too, and whom a trial rolls back holds up nobody any more", () => {
  const rule = (age: string) => ({
    name: "abandoned",
    match: { prepared: { gid: "gid-*", for: age } },
    steps: ["rollback-prepared"],
  });
  const looks = seconds(10, 60, 10).map((at) =>
    snapshot()
      .later(`${at}s`)
      .prepared(7, { age: `${at}s` })
      .session(2, { xact: `${at}s` })
      .waits(2, { on: "prepared/7", for: `${at}s`, table: login })
      .build(),
  );
  const waiters = { name: "waiters", match: { waits: { for: "35s" } }, steps: ["terminate"] };
  const comparison = compared(flight([rule("20s")], looks), {
    before: null,
    after: trial({ rules: [rule("30s"), waiters] }),
  });
  assert.deepEqual(cases(comparison), [
    "changed null: rollback-prepared by abandoned at 00:20 → rollback-prepared by abandoned at 00:30",
  ]);
  const [one] = comparison.cases.values();
  assert.deepEqual(one?.session, {
    gid: "gid-7",
    pid: null,
    sessionId: "gid-7",
    user: "app",
    database: "app",
    application: null,
    client: null,
  });
});
