import assert from "node:assert/strict";
import { test } from "node:test";
import { shareInterval } from "../bench/statistics.ts";
import { client, startServer } from "../support/servers.ts";
import { type Round, runRound } from "./round.ts";
import { type Hit, type Signal, score } from "./score.ts";
import { judgeRound } from "./verdict.ts";

const most = 0.005;

function sent(pid: string, judged: string, way: Signal["way"] = "guarded"): Signal {
  return { way, pid, judged };
}

function hit(pid: string, more: Partial<Hit>): Hit {
  return { pid, after: "", in: null, before: null, ...more };
}

function scored(signals: readonly Signal[], hits: readonly Hit[]) {
  const { byWay, strays } = score(signals, hits);
  return { ...byWay.get("guarded"), strays: strays.length };
}

test("a signal that hit the transaction that was judged is right, and one that hit a later one is wrong", () => {
  const signals = [sent("1", "t1"), sent("1", "t5"), sent("2", "t1")];
  const hits = [hit("1", { after: "t0", in: "t1" }), hit("1", { after: "t5", in: "t6" })];
  assert.deepEqual(scored(signals, hits), { signals: 3, right: 1, wrong: 1, nobody: 1, strays: 0 });
});

test("a transaction that was hit before its client knew its start is the judged one only if that began after the last", () => {
  const signals = [sent("1", "t1"), sent("2", "t1")];
  const hits = [hit("1", { after: "t1", before: "t3" }), hit("2", { after: "t0", before: "t3" })];
  assert.deepEqual(scored(signals, hits), { signals: 2, right: 1, wrong: 1, nobody: 0, strays: 0 });
});

test("a hit without a signal, or the second one of a signal, is a stray", () => {
  const hits = [hit("1", { in: "t1" }), hit("1", { after: "t1", in: "t2" }), hit("2", { in: "t1" })];
  assert.equal(scored([sent("1", "t1")], hits).strays, 2);
});

test("a target is missed by too large a share, and by too few signals; a small run only by what it proves", () => {
  const wanted: Round["wanted"] = { lengthMs: 5, hitBy: "cancel", signals: 1, seconds: 1 };
  const verdict = (right: number, wrong: number, least: number) => {
    const row = { way: "guarded" as const, turns: 0, signals: right + wrong, right, wrong, nobody: 0 };
    return judgeRound({ wanted, seconds: 1, transactions: 1, rows: [row] }, { most, least }).met;
  };
  assert.equal(verdict(4_980, 20, 5_000), true);
  assert.equal(verdict(4_970, 30, 5_000), false);
  assert.equal(verdict(4_900, 0, 5_000), false);
  assert.equal(verdict(99, 1, 0), true);
  assert.equal(verdict(90, 10, 0), false);
  assert.equal(verdict(0, 0, 0), false);
});

for (const hitBy of ["cancel", "terminate"] as const) {
  test(`of signals that ${hitBy}, those by pid alone hit innocents far more often than guarded ones, beyond doubt`, async () => {
    const server = await startServer({ major: 18 });
    try {
      const superuser = await client(server.url());
      await superuser.query("create role lockwarden login in role pg_read_all_stats, pg_signal_backend");
      await superuser.query("create role app login");
      await superuser.end();
      const rows: Round["rows"][number][] = [];
      const share = (way: string) => {
        const sum = (of: "right" | "wrong") => rows.reduce((all, row) => all + (row.way === way ? row[of] : 0), 0);
        const hits = sum("right") + sum("wrong");
        return hits === 0 ? { hits, low: 0, high: 1 } : { hits, ...shareInterval(sum("wrong"), hits) };
      };
      // How often each hits somebody else depends on the machine, and so few signals say little of half a percent: whether
      // guarded ones keep what is promised is for the long run to say (verdict.ts). Here half of the signals come late on
      // purpose, and five rounds at most tell them apart.
      const areApart = () => {
        const [guarded, bare] = [share("guarded"), share("by pid alone")];
        return guarded.hits >= 20 && bare.hits >= 20 && guarded.high < bare.low;
      };
      for (let round = 0; round < 5 && !areApart(); round++)
        rows.push(...(await runRound(server, { lengthMs: 5, hitBy, signals: 40, seconds: 10, late: true })).rows);
      assert.ok(areApart(), JSON.stringify(rows));
    } finally {
      await server.stop();
    }
  });
}
