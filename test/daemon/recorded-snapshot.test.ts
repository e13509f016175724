import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import type { RecordedLook } from "../../src/core/recorded-look.ts";
import { serverClockMs } from "../../src/core/snapshot.ts";
import { lookPieces, NotRecorded, readLook, readSnapshot } from "../../src/recorded-snapshot.ts";
import { judge } from "../support/judge.ts";
import { recorded } from "../support/recorded.ts";
import { snapshot } from "../support/snapshot.ts";

const fixtures = new URL("../../../test/fixtures/recordings/", import.meta.url);

const seen = snapshot()
  .session(1, { idle: "1m" })
  .session(2, { hidden: true })
  .holds(1, "RowExclusiveLock", "public.orders")
  .session(3, { xact: "1m" })
  .waits(3, { on: 1, for: "50s", soft: true })
  .waits(2, { on: 1, for: "45s", candidates: ["public.orders<public.all_orders"] })
  .build();

const rules = [{ name: "stuck", match: { idle_for: "5s", blocks: { for: "1s" } }, steps: ["terminate"] }];
const look = recorded(
  {
    ...seen,
    prepared: [{ kind: "prepared", key: "p", gid: "g", transactionId: "7", user: "u", database: "d", ageMs: null }],
  },
  judge({ rules }).look(seen).decisions,
  { freedom: new Map([["1 started 1", { sinceMs: null, waited: true }]]) },
);

function written(one: RecordedLook): string {
  return [...lookPieces(one)].join("");
}

function refusal(json: string): string {
  try {
    readLook(json, "a.jsonl:7");
  } catch (error) {
    assert.ok(error instanceof NotRecorded, String(error));
    return error.message;
  }
  return "nothing is wrong with it";
}

test("what is written is read back: a look with its decisions, and a snapshot alone", () => {
  assert.equal(look.judgement?.opinions.length, 1);
  assert.deepEqual(readLook(written(look), "x"), look);
  assert.deepEqual(readSnapshot(written(look), "x"), look.snapshot);
  const alone = { snapshot: snapshot().session(1).calm(), judgement: null };
  assert.deepEqual(readLook(written(alone), "x"), alone);
  assert.equal(written(alone), JSON.stringify({ ...JSON.parse(written(alone)) }));
});

test("a look at a server whose clock has jumped is read back with both of its clocks, and an older one has one", () => {
  const jumped = { ...seen, wallMs: seen.atMs + 3_600_000 };
  assert.deepEqual(readSnapshot(written({ snapshot: jumped, judgement: null }), "x"), jumped);
  assert.equal(serverClockMs(readSnapshot(written({ snapshot: jumped, judgement: null }), "x")), jumped.wallMs);
  assert.equal(serverClockMs(readSnapshot(written({ snapshot: seen, judgement: null }), "x")), seen.atMs);
  assert.match(
    refusal(JSON.stringify({ ...seen, wallMs: 9e15 })),
    /wallMs: expected another value, got 9000000000000000$/,
  );
});

test("a prepared transaction is read back with all that rules about it ask, and an older recording without that is read", () => {
  const { snapshot: whole } = readLook(written({ snapshot: snapshot().prepared(7).build(), judgement: null }), "x");
  assert.deepEqual(whole, snapshot().prepared(7).build());
  const [one] = readSnapshot(written(look), "x").prepared;
  assert.deepEqual(one, {
    kind: "prepared",
    key: "p",
    gid: "g",
    transactionId: "7",
    user: "u",
    database: "d",
    ageMs: null,
  });
});

test("a crowd is written in pieces, and read back whole", () => {
  const sessions = Array.from({ length: 1_234 }, (_, number) => ({ ...seen.sessions[0], key: String(number) }));
  const crowd = { ...look, snapshot: { ...seen, sessions } } as RecordedLook;
  assert.ok([...lookPieces(crowd)].every((piece) => piece.length < 600_000));
  assert.deepEqual(readLook(written(crowd), "x"), crowd);
});

test("what Lockwarden 0.1 recorded is read, and says the same as then", async () => {
  const lines = (await readFile(new URL("version-1.jsonl", fixtures), "utf8")).trim().split("\n");
  const [first, second, ...others] = lines.map((line) => readLook(line, "version-1.jsonl"));
  assert.deepEqual(others, []);
  assert.deepEqual(
    first?.judgement?.opinions.map(({ kind, rule, action, outcome }) => [kind, rule, action, outcome]),
    [["act", "stuck-login", "terminate", "released"]],
  );
  assert.equal(first?.snapshot.waits?.length, 1);
  assert.equal(first?.snapshot.waits?.[0]?.relation?.name, "user_session");
  assert.deepEqual([second?.snapshot.contended, second?.snapshot.waits], [false, null]);
  const alone = await readFile(new URL("snapshot-1.json", fixtures), "utf8");
  assert.deepEqual(
    new Set(readSnapshot(alone, "snapshot-1.json").sessions.map(({ application }) => application)),
    new Set(["lockwarden", "web-1", "web-2"]),
  );
});

test("fields that this version does not know are passed over", () => {
  const json = written(look)
    .replaceAll('{"kind":"session"', '{"moon":"full","kind":"session"')
    .replace("{", '{"weather":1,');
  assert.ok(json.includes("moon"));
  assert.deepEqual(readLook(json, "x"), look);
});

test("a newer version is refused, and the message says what to do", () => {
  const newer =
    "expected a snapshot of version 1 or older, got version 2, which a newer Lockwarden recorded; read it with that one";
  assert.equal(refusal(written(look).replace('"version":1', '"version":2')), `a.jsonl:7: ${newer}`);
  assert.equal(refusal(JSON.stringify({ ...seen, version: 2, sessions: "another form" })), `a.jsonl:7: ${newer}`);
});

test("each field that is missing or of another kind is named, with its place", () => {
  const value = JSON.parse(written(look)) as object;
  let tried = 0;
  const walk = (at: unknown, path: readonly string[]): void => {
    if (typeof at !== "object" || at === null) return;
    for (const [key, inner] of Object.entries(at)) {
      const here = [...path, key];
      const place = here.join(".");
      if (place === "version" || place === "snapshot.version") continue;
      for (const wrong of [{ wrong: true }, [[["wrong"]]]]) {
        Object.assign(at, { [key]: wrong });
        assert.ok(refusal(JSON.stringify(value)).startsWith("a.jsonl:7"), place);
      }
      Object.assign(at, { [key]: inner });
      tried++;
      walk(inner, here);
    }
  };
  walk(value, []);
  assert.ok(tried > 120, String(tried));
  const broken = (change: (session: Record<string, unknown>) => void) => {
    const copy = JSON.parse(written(look)) as { snapshot: { sessions: Record<string, unknown>[] } };
    change(copy.snapshot.sessions[1] as Record<string, unknown>);
    return refusal(JSON.stringify(copy));
  };
  assert.equal(
    broken((session) => delete session["pid"]),
    "a.jsonl:7 snapshot.sessions.1.pid: expected a text, got nothing",
  );
  assert.equal(
    broken((session) => Object.assign(session, { role: "king", stateMs: "5" })),
    'a.jsonl:7 snapshot.sessions.1.role: expected client, internal, replication or unknown, got "king", and 1 more mistakes',
  );
});

test("what is no snapshot at all is told as such", () => {
  assert.match(refusal(""), /^a\.jsonl:7: expected one recorded snapshot as JSON, got /);
  assert.match(refusal('{"version":1,"sess'), /got something else, or only a part of one$/);
  assert.match(refusal(`${written(look)}\n${written(look)}\n`), /got 2 lines: take one of them$/);
  for (const json of ["null", "[]", "7", "{}", '{"snapshot":null}', '{"v":1,"event":"start"}'])
    assert.match(
      refusal(json),
      /expected a snapshot with a version, as lockwarden snapshot prints it, got none$/,
      json,
    );
  assert.match(refusal('{"version":"one"}'), /^a\.jsonl:7 version: expected 1, got "one"/);
  assert.match(
    refusal(JSON.stringify({ ...seen, atMs: 9e15 })),
    /^a\.jsonl:7 atMs: expected another value, got 9000000000000000$/,
  );
});
