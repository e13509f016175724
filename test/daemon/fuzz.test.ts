import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import fc from "fast-check";
import { request } from "../../src/control-socket.ts";
import { readHandle } from "../../src/core/handle.ts";
import { readStatement } from "../../src/core/statement.ts";
import { NotRecorded, readLook } from "../../src/recorded-snapshot.ts";
import { place } from "../support/lockwarden.ts";
import { eventually } from "../support/servers.ts";

// What comes from files and sockets. FUZZ_RUNS: how many of each (default 300); FUZZ_SEED draws the same ones.
const runs = Number(process.env["FUZZ_RUNS"] ?? 300);
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 31);

const fixtures = new URL("../../../test/fixtures/recordings/", import.meta.url);
const recorded = [
  await readFile(new URL("snapshot-1.json", fixtures), "utf8"),
  ...(await readFile(new URL("version-1.jsonl", fixtures), "utf8")).trim().split("\n"),
];

const position = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const odd = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(null, -1, 1e308, -0, "", "\u0000", "__proto__", [], {}, "x".repeat(10_000), [[[[]]]]),
);

/** Every value in it, by its way there. */
function waysIn(value: unknown, way: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [way];
  return [way, ...Object.entries(value).flatMap(([key, inner]) => waysIn(inner, [...way, key]))];
}

function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value)) return value.map((inner, at) => (String(at) === key ? replaced(inner, rest, by) : inner));
  const inner = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  return { ...(value as object), [key]: replaced(inner, rest, by) };
}

function assertRead(text: string): void {
  try {
    readLook(text, "a.json");
  } catch (error) {
    assert.ok(error instanceof NotRecorded, String(error));
    assert.ok(error.message.length < 2_000);
  }
}

test("a recorded snapshot with other bytes in it is read or refused with the place", () => {
  const bytes = fc.array(fc.record({ at: position, byte: fc.integer({ min: 0, max: 255 }) }), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(fc.constantFrom(...recorded), bytes, (text, changes) => {
      const buffer = Buffer.from(text);
      for (const { at, byte } of changes) buffer[Math.floor(at * buffer.length)] = byte;
      assertRead(buffer.toString("utf8"));
      assertRead(text.slice(0, Math.floor((changes[0]?.at ?? 0) * text.length)));
    }),
    { numRuns: runs, seed },
  );
});

test("a recorded snapshot with another value anywhere is read or refused with the place", () => {
  const values = recorded.map((text) => JSON.parse(text) as unknown);
  const ways = values.map((value) => waysIn(value));
  fc.assert(
    fc.property(fc.nat({ max: values.length - 1 }), position, odd, (which, at, by) => {
      const all = ways[which] ?? [];
      assertRead(JSON.stringify(replaced(values[which], all[Math.floor(at * all.length)] ?? [], by)));
    }),
    { numRuns: runs, seed },
  );
});

const blanks = fc.constantFrom("", " ", "\t\r\n ", "\u00a0", "\u2028", " ".repeat(5_000));
const pidText = fc.oneof(
  fc.bigInt({ min: 0n, max: 10n ** 21n }).map(String),
  fc.constantFrom("-1", "07", "1e3", "0x10", "١٢", "4711", ""),
);
const hexText = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 68n }).map((one) => one.toString(16)),
  fc.constantFrom("ABC", "1267", "", "g", "-1"),
);
const handleText = fc.oneof(
  pidText,
  fc.tuple(fc.integer({ min: 1, max: 99 }), fc.integer({ min: 1, max: 99 })).map(([pid, hex]) => `${pid},ab.${hex}`),
  fc.string({ maxLength: 200, unit: "binary" }),
  fc
    .tuple(blanks, pidText, blanks, fc.constantFrom(",", ";", ""), hexText, fc.constantFrom(".", ""), hexText, blanks)
    .map((parts) => parts.join("")),
  fc
    .tuple(fc.bigInt({ min: 1n, max: 2n ** 63n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }))
    .map(([pid, start]) => `${pid},${start.toString(16)}.${pid.toString(16)}`),
);

test("a handle is read as what stands there, or refused in one short line", () => {
  fc.assert(
    fc.property(handleText, (text) => {
      const read = readHandle(text);
      if (read.kind === "wrong") return assert.ok(read.text.length < 900 && !/\p{Cc}/u.test(read.text), read.text);
      assert.match(read.pid, /^(?:0|[1-9][0-9]*)$/);
      const [, hex] = read.kind === "handle" ? read.sessionId.split(".") : [];
      if (hex !== undefined) assert.equal(BigInt(`0x${hex}`), BigInt(read.pid));
      const said = text.replaceAll(/[ \t\r\n]/g, "").toLowerCase();
      assert.equal(said, read.kind === "alone" ? read.pid : `${read.pid},${read.sessionId}`);
    }),
    { numRuns: runs, seed },
  );
});

const statementText = fc.oneof(
  fc.string({ maxLength: 200, unit: "binary" }),
  fc
    .tuple(
      blanks,
      fc.constantFrom(
        "ALTER SYSTEM KILL SESSION",
        "alter system kill session",
        "alter\tsystem kill\nsession",
        "kill",
        "",
      ),
      blanks,
      fc.constantFrom("'", '"', ""),
      handleText,
      fc.constantFrom("'", "''", ""),
      fc.constantFrom("", " immediate", "immediate", " IMMEDIATE", " immediately", "; drop table t", " -- x"),
      fc.constantFrom("", ";", " ;\n", ";;", "\u0000"),
    )
    .map((parts) => parts.join("")),
);

test("of a statement nothing but the one kill is read, whole: no word of it is lost, none is added", () => {
  fc.assert(
    fc.property(statementText, (text) => {
      const read = readStatement(text);
      if (typeof read === "string") return assert.ok(read.length < 900 && !/\p{Cc}/u.test(read), read);
      assert.ok(read.kind === "kill");
      assert.ok(!read.session.includes("'"));
      const rest = text
        .replace(`'${read.session}'`, "?")
        .replaceAll(/[ \t\r\n]/g, "")
        .toLowerCase();
      assert.equal(rest.replace(/;$/, ""), `altersystemkillsession?${read.way === "immediate" ? "immediate" : ""}`);
    }),
    { numRuns: runs, seed },
  );
});

test("what is longer than any handle or kill statement is refused unread, as blanks without end would take for ever", () => {
  const blank = " ".repeat(1_000);
  for (const written of [`4711,67a1b2c3.1267${blank}`, `${blank}4711`]) assert.equal(readHandle(written).kind, "wrong");
  assert.equal(typeof readStatement(`alter system kill session '4711,67a1b2c3.1267'${blank}`), "string");
  assert.equal(typeof readStatement(`alter system kill session '4711,67a1b2c3.1267'${blank.slice(500)}`), "object");
});

const command = fc.oneof(fc.constantFrom("status", "explain", "nope", "__proto__", "constructor", "toString", ""), odd);
const message = fc.oneof(
  fc.record({ command, scope: odd }, { requiredKeys: [] }).map((value) => `${JSON.stringify(value)}\n`),
  odd.map((value) => `${JSON.stringify(value)}\n`),
  fc.string({ maxLength: 300, unit: "binary" }).map((text) => `${text}\n`),
  fc.string({ maxLength: 300, unit: "binary" }),
  fc.constantFrom("\n", "\n\n\n", "[".repeat(60_000) + "\n", '{"command":'.repeat(5_000), "x".repeat(70_000)),
);

/** Says it, waits a moment for an answer and goes, as rudely as it is. */
async function say(path: string, text: string): Promise<string> {
  const socket = connect(path);
  let said = "";
  socket.on("data", (part) => (said += String(part))).on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await once(socket, "connect");
  socket.write(text);
  await Promise.race([closed, pause(20)]);
  socket.destroy();
  await closed;
  return said;
}

test("whatever is said to the control socket, the answer is one line of JSON or none, and the daemon goes on", async () => {
  const here = await place(`targets: [{name: app, url: postgres://lockwarden@127.0.0.1:1/app}]
rules: [{name: look, match: {idle_for: 1m}, steps: [notify]}]`);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("trying again until it works"));
  const path = join(here.stateDir, "control.sock");
  await fc.assert(
    fc.asyncProperty(message, async (text) => {
      const said = await say(path, text);
      if (said === "" || !said.endsWith("\n")) return;
      assert.equal(said.indexOf("\n"), said.length - 1);
      const answer = JSON.parse(said) as { ok: boolean };
      assert.equal(typeof answer.ok, "boolean");
    }),
    { numRuns: runs, seed },
  );
  const status = await request(here.stateDir, { command: "status" }, { timeoutMs: 30_000 });
  assert.equal(status.kind, "answer");
  daemon.child.kill("SIGTERM");
  const { code, err } = await daemon.ended;
  assert.deepEqual([code, err], [0, ""]);
});
