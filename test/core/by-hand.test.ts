import assert from "node:assert/strict";
import { test } from "node:test";
import { type Asked, handDecision, sight, stepsOf } from "../../src/core/by-hand.ts";
import { byHandRule, handEnd, handText, isByHand } from "../../src/core/by-hand-outcome.ts";
import type { ActDecision, Proof } from "../../src/core/decision.ts";
import { readHandle } from "../../src/core/handle.ts";
import type { Session, Statement } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { readStatement } from "../../src/core/statement.ts";
import { execute, openGate } from "../../src/executor.ts";
import { circumstancesOf, judge } from "../support/judge.ts";
import { mistakesOf } from "../support/load-text.ts";
import { snapshot } from "../support/snapshot.ts";

const rule = { name: "r", match: { idle_for: "5s", blocks: { waiters: 1 } }, steps: ["terminate"] };
const { config } = judge({ rules: [rule] });
const { protection } = circumstancesOf(config);
const show = ({ query }: Statement) => query?.toUpperCase() ?? null;

const asked = (pid: number, more: Partial<Asked> = {}): Asked => ({
  pid: String(pid),
  sessionId: `65a.${pid.toString(16)}`,
  identity: null,
  way: "gentle",
  lift: false,
  ...more,
});
const seen = (look: Snapshot, who: Asked) => sight(look, who, { protection, show });

test("a session is named by pid and session id together, with blanks or in capitals", () => {
  for (const written of ["4711,67a1B2c3.1267", " 4711 , 67A1b2c3.1267 ", "4711,67a1b2c3.1267\n"])
    assert.deepEqual(readHandle(written), { kind: "handle", pid: "4711", sessionId: "67a1b2c3.1267" });
  assert.deepEqual(readHandle("4711"), { kind: "alone", pid: "4711" });
});

const malformed = [
  "",
  "0",
  "-1",
  "4711,",
  ",67a1.1267",
  "4711,67a1",
  "4711;67a1.1267",
  "4711,67a1.1267,1",
  "04711,67a1.1267",
];
test("anything else is refused with what was expected", () => {
  for (const written of [...malformed, "4711,x.1267", "4711 67a1.1267", "'4711,67a1.1267'", "x".repeat(500)]) {
    const read = readHandle(written);
    assert.ok(read.kind === "wrong", written);
    assert.match(
      read.text,
      /^expected a session as lockwarden tree and explain print it, such as '4711,67a1b2c3.1267',/,
    );
    assert.ok(read.text.length < 250);
  }
  const other = readHandle("4711,67a1b2c3.1268");
  assert.ok(other.kind === "wrong");
  assert.match(other.text, /of the same process, got pid 4711 and 67a1b2c3\.1268, which is of pid 4712$/);
});

test("the kill statement of the vendors is read strictly: blanks, case and one semicolon are free", () => {
  const session = "4711, 67a1b2c3.1267";
  const gentle = [`ALTER SYSTEM KILL SESSION '${session}'`, `  alter\tsystem\nkill session  '${session}' ; `];
  for (const sql of gentle) assert.deepEqual(readStatement(sql), { kind: "kill", session, way: "gentle" });
  const immediate = [
    `ALTER SYSTEM KILL SESSION '${session}' IMMEDIATE;`,
    `alter system kill session'${session}' Immediate`,
  ];
  for (const sql of [immediate[0] ?? ""])
    assert.deepEqual(readStatement(sql), { kind: "kill", session, way: "immediate" });
  const wrong = [
    "",
    "select 1",
    `ALTER SYSTEM KILL SESSION "${session}"`,
    `ALTER SYSTEM KILL SESSION ${session}`,
    `ALTER SYSTEM KILL SESSION '${session}'IMMEDIATE`,
    `ALTER SYSTEM KILL SESSION '${session}' NOW`,
    `ALTER SYSTEM KILL SESSION '${session}' IMMEDIATE; drop table t`,
    `ALTER SYSTEM KILL SESSION '${session}';;`,
    `ALTER SYSTEM KILL SESSION '${session}' -- now`,
    immediate[1] ?? "",
  ];
  for (const sql of wrong)
    assert.match(
      JSON.stringify(readStatement(sql)),
      /^"expected ALTER SYSTEM KILL SESSION 'PID,SESSIONID' \[IMMEDIATE\]/,
      sql,
    );
});

test("it is found by pid and session id, and once it was shown by its very identity", () => {
  const look = snapshot()
    .session(1, { idle: "1m" })
    .session(2)
    .waits(2, { on: 1, for: "45s", table: "public.t" })
    .build();
  const found = seen(look, asked(1));
  assert.ok(found.kind === "found");
  assert.deepEqual(
    [found.picture.behind, found.picture.standing.blocks, found.picture.identity],
    [["2"], 1, "started 1"],
  );
  assert.equal(found.picture.person.query, "UPDATE USER_SESSION SET SEEN = NOW()");
  assert.equal(seen(look, asked(1, { identity: "started 1" })).kind, "found");
  assert.equal(seen(look, asked(1, { identity: "started later" })).kind, "gone");
  const stale = seen(look, asked(1, { sessionId: "64f.1" }));
  assert.deepEqual(stale, { kind: "gone", text: "the session of process 1 is 1,65a.1 now" });
  const gone = seen(look, asked(9));
  assert.ok(gone.kind === "gone");
  assert.match(gone.text, /^no client of app is 9,65a\.9: it has ended, or is/);
});

test("what may be hidden is never called gone", () => {
  const look = snapshot().session(1, { identity: "", sessionId: "?.1" }).build();
  assert.equal(seen(look, asked(1)).kind, "unseen");
  const blind = { ...look, gaps: ["3 sessions are hidden from our role"] };
  assert.equal(seen(blind, asked(9)).kind, "unseen");
});

test("own sessions, processes of the server's own and who waits for a replica are refused, whatever is lifted", () => {
  const never: Partial<Session>[] = [
    { own: true },
    { role: "replication", backendType: "walsender" },
    { role: "internal", backendType: "parallel worker" },
    { waitEvent: "SyncRep" },
  ];
  for (const more of never) {
    const found = seen(snapshot().session(1, more).build(), asked(1, { lift: true }));
    assert.ok(found.kind === "refused", JSON.stringify(more));
    assert.match(found.text, /and nothing lifts that$/);
  }
});

test("who is protected by default or by the config is refused with the reason, until that is lifted by name", () => {
  const guarded: Partial<Session>[] = [
    { superuser: true },
    { superuser: null },
    { maintenance: true },
    { application: "pg_dump" },
  ];
  for (const more of guarded) {
    const look = snapshot().session(1, more).build();
    const refused = seen(look, asked(1));
    assert.ok(refused.kind === "refused", JSON.stringify(more));
    assert.match(refused.text, /^it.*; --lift-protection lifts that$/);
    const found = seen(look, asked(1, { lift: true }));
    assert.ok(found.kind === "found");
    assert.notEqual(found.picture.lifted, null);
  }
});

test("a cancel wants a running statement; to kill, one is not needed", () => {
  const idle = snapshot().session(1, { idle: "1m" }).build();
  assert.equal(seen(idle, asked(1, { way: "cancel" })).kind, "idle");
  assert.equal(seen(idle, asked(1, { way: "gentle" })).kind, "found");
  const dark = snapshot().session(1, { state: null }).build();
  assert.equal(seen(dark, asked(1, { way: "cancel" })).kind, "idle");
  assert.deepEqual(
    ["cancel", "gentle", "immediate"].map((way) => stepsOf(way as Asked["way"]).join()),
    ["cancel", "cancel,terminate", "terminate"],
  );
});

const jam = snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "45s", table: "public.t" }).build();
const [victim] = jam.sessions as [Session];
const deciding = {
  action: "terminate",
  step: 0,
  config: "digest",
  by: "user dba (uid 1)",
  protectMaintenance: true,
  skippedCancel: "no statement runs",
} as const;

test("what a person decided says who, and is guarded by the session alone", () => {
  const decision = handDecision(jam, victim, deciding);
  assert.equal(
    decision.reason.text,
    "asked for by user dba (uid 1): idle in transaction, blocks 2; the cancel is passed over: no statement runs",
  );
  assert.deepEqual([decision.guard.sessionOnly, decision.guard.notMaintenance], [true, true]);
  assert.deepEqual([decision.evidence.waits.length, decision.evidence.waiters.length], [1, 1]);
  assert.ok(isByHand(decision));
});

test("no rule ever makes a guard of the session alone, and none can have the name that stands for a person", () => {
  const matches = [
    { idle_for: "5s" },
    { state: "idle", connected_for: "1s" },
    { transaction_for: "1s" },
    { query_for: "1s", query: "." },
    { blocks: { waiters: 1, for: "1s" } },
    { waits: { for: "1s" } },
    { has_written: true, transaction_for: "1s" },
    { xmin_age: 1, transaction_for: "1s" },
  ];
  let acts = 0;
  for (const match of matches) {
    for (const steps of [["terminate"], ["cancel", { wait: "1s" }, "terminate"], ["notify", "terminate"]]) {
      const look = snapshot()
        .session(1, { idle: "1m" })
        .session(2, { xact: "1m", query_age: "1m" })
        .session(3, { state: "idle", connectedMs: 60_000 })
        .waits(2, { on: 1, for: "45s", table: "public.t" })
        .build();
      for (const decision of judge({ rules: [{ name: "r", match, steps }] }).look(look).decisions) {
        if (decision.kind !== "act") continue;
        acts++;
        assert.equal("sessionOnly" in decision.guard, false);
        assert.equal(isByHand(decision), false);
      }
    }
  }
  assert.ok(acts >= 15, `${acts} acts`);
  const text = `targets: [{name: app, url: postgres://u@h/d}]\nrules: [{name: ${byHandRule}, match: {idle_for: 30s}, steps: [terminate]}]`;
  assert.match(mistakesOf(text).join(), /^c:2:\d+ rules\.0\.name: expected a name/);
});

test("the executor takes an act on the session alone from a person only, and from nobody else", async () => {
  const decision = handDecision(jam, victim, deciding);
  const touched: string[] = [];
  const touch = (what: string) => () => Promise.reject(new Error(String(touched.push(what))));
  const context = {
    target: "app",
    link: { act: touch("act"), prove: touch("prove"), probe: touch("probe") },
    write: touch("write"),
    newId: () => "id",
    now: () => new Date(0),
    verifyMs: 1,
    probe: null,
    gate: openGate,
    alive: () => undefined,
    signal: new AbortController().signal,
  };
  await assert.rejects(execute(decision, context), /comes from a person/);
  await assert.rejects(execute({ ...decision, rule: "r" }, { ...context, by: "somebody" }), /comes from a person/);
  const { sessionOnly: _, ...guard } = decision.guard;
  const ruled: ActDecision & { action: "terminate" } = { ...decision, action: "terminate", guard };
  await assert.rejects(execute(ruled, { ...context, by: "somebody" }), /comes from a person/);
  assert.deepEqual(touched, []);
});

test("a kill has worked when the session is gone, a cancel when the statement is over, and both when nobody waits behind it", () => {
  const still: Proof = { alive: true, sameTransaction: true, sameStatement: true, stillBlocked: [], next: null, ms: 1 };
  const ends: readonly (readonly ["terminate" | "cancel", Partial<Proof>, string, RegExp])[] = [
    ["terminate", {}, "survived", /^the session is still there 2 s after the terminate$/],
    ["terminate", { sameTransaction: false }, "survived", /^the session is still there/],
    ["terminate", { alive: false }, "survived", /^the session is still there/],
    ["terminate", { alive: false, sameTransaction: false }, "released", /^the session is gone$/],
    [
      "terminate",
      { alive: false, sameTransaction: false, stillBlocked: ["2"] },
      "survived",
      /^the session is gone, but/,
    ],
    ["cancel", {}, "survived", /^its statement still runs 2 s after the cancel$/],
    ["cancel", { sameStatement: false }, "released", /its transaction is still open, but keeps nobody waiting$/],
    [
      "cancel",
      { sameStatement: false, sameTransaction: false },
      "released",
      /^its statement and its transaction are over$/,
    ],
    [
      "cancel",
      { sameStatement: false, stillBlocked: ["2"] },
      "survived",
      /^its statement is over, but its transaction is open and 1 session still waits/,
    ],
  ];
  for (const [action, more, end, text] of ends) {
    const proof = { ...still, ...more };
    assert.equal(handEnd(action, proof), end, JSON.stringify(more));
    assert.match(end === "released" ? handText.released(action, proof) : handText.survived(action, proof, 2_000), text);
  }
});
