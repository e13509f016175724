import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { openJournal } from "../../src/journal.ts";
import { readJournal, readOpenIntents } from "../../src/journal-lines.ts";
import { joinLines, openIn, openOf, readBytes, realJournal, splitLines } from "../support/journal-bytes.ts";
import { intent, outcomeOf } from "../support/notice-samples.ts";
import { tempFolder } from "../support/temp-folder.ts";

// What a crash, a power cut, an editor or a bad disk makes of a journal. FUZZ_RUNS: how many random ones (default 300);
// set, every prefix of the whole journal is read too, instead of those of a part.
const runs = Number(process.env["FUZZ_RUNS"] ?? 300);

const whole = await realJournal();
const lines = splitLines(whole);
const events = lines.map((line) => JSON.parse(line.toString("utf8")) as JournalEvent);
/** A start, hostile names, notices, and the lives that were ended by kill -9: enough kinds of lines to read byte by byte. */
const part =
  process.env["FUZZ_RUNS"] === undefined ? [...lines.slice(0, 3), ...lines.slice(7, 9), ...lines.slice(35, 46)] : lines;

/** Whole lines within so many bytes; the last one may lack its end. */
function wholeWithin(all: readonly Buffer[], length: number): Readonly<{ count: number; torn: number }> {
  let end = 0;
  for (const [count, line] of all.entries()) {
    if (end + line.length > length) return { count, torn: length > end ? 1 : 0 };
    end += line.length + 1;
  }
  return { count: all.length, torn: 0 };
}

test("the journal of a real run has all that is read of it here", () => {
  const kinds = new Set(events.map(({ event }) => event));
  for (const kind of ["start", "intent", "outcome", "recovered", "notice", "stop"] as const)
    assert.ok(kinds.has(kind), kind);
  assert.ok(events.some((event) => event.event === "intent" && /[^ -~]/.test(JSON.stringify(event))));
  assert.deepEqual(openOf(lines), []);
});

test("every prefix of a real journal gives exactly its whole lines, and the intents that are open at that point", async () => {
  const bytes = joinLines(part);
  const expected = part.map((line) => JSON.parse(line.toString("utf8")) as JournalEvent);
  for (let length = 0; length <= bytes.length; length += 1) {
    const { count, torn } = wholeWithin(part, length);
    const read = await readBytes(bytes.subarray(0, length));
    assert.equal(read.torn, torn, `prefix of ${length} bytes`);
    assert.equal(read.events.length, count, `prefix of ${length} bytes`);
    assert.deepEqual(read.events.at(-1), expected[count - 1]);
    assert.deepEqual(openIn(read), openOf(part.slice(0, count)), `prefix of ${length} bytes`);
  }
});

test("what is written behind a torn line is whole, and everything before it stays readable", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const bytes = joinLines(part);
  const lengths = new Set([0, 1]);
  let end = 0;
  for (const line of part) {
    for (const length of [end, end + 1, end + line.length - 1, end + line.length, end + line.length + 1])
      lengths.add(length);
    // In the middle of a character.
    for (const [at, byte] of line.entries()) if (byte >= 0x80 && byte < 0xc0 && at % 5 === 0) lengths.add(end + at);
    end += line.length + 1;
  }
  const added = intent("añadido 用户");
  for (const length of lengths) {
    await writeFile(path, bytes.subarray(0, length));
    const journal = await openJournal(folder);
    await journal.append(added);
    await journal.close();
    const { count, torn } = wholeWithin(part, length);
    const read = await readJournal(folder);
    assert.deepEqual([read.events.length, read.torn], [count + 1, torn], `prefix of ${length} bytes`);
    assert.deepEqual(read.events.at(-1), added);
    assert.ok((await readFile(path)).subarray(0, length).equals(bytes.subarray(0, length)), "nothing was overwritten");
    assert.deepEqual(
      (await readOpenIntents(folder)).intents.map(({ id }) => id),
      [...openOf(part.slice(0, count)), added.id],
    );
  }
});

test("lines in chunks of any size are the same lines", async () => {
  const bytes = joinLines(part);
  for (const size of [1, 2, 3, 7, 4_096]) assert.deepEqual((await readBytes(bytes, size)).events.length, part.length);
});

test("blocks of zeros, which a power cut leaves, cost only the line that they are in", async (t) => {
  const folder = await tempFolder(t);
  const path = join(folder, "journal.jsonl");
  const tail = Buffer.alloc(4_096);
  const half = (lines.at(-1) ?? tail).subarray(0, 50);
  await writeFile(path, Buffer.concat([whole, half, tail]));
  const journal = await openJournal(folder);
  await journal.append(intent("next"));
  await journal.close();
  const read = await readJournal(folder);
  assert.deepEqual(read.events, [...events, intent("next")]);
  assert.equal(read.torn, 1);
  const inside = Buffer.concat([joinLines(lines.slice(0, 5)), tail, joinLines(lines.slice(5))]);
  assert.deepEqual(
    (await readBytes(inside)).events,
    events.filter((_, at) => at !== 5),
  );
});

test("line ends of another system, a byte order mark and empty lines change nothing", async () => {
  const crlf = Buffer.from(whole.toString("utf8").replaceAll("\n", "\r\n\r\n"));
  const marked = Buffer.concat([Buffer.from("\ufeff"), crlf]);
  for (const bytes of [crlf, marked]) assert.deepEqual(await readBytes(bytes), { events, torn: 0 });
});

test("two journals in one file are read one after the other, even where the first one was torn", async () => {
  assert.deepEqual(await readBytes(Buffer.concat([whole, whole])), { events: [...events, ...events], torn: 0 });
  assert.deepEqual(openIn({ events: [...events, ...events] }), []);
  const torn = Buffer.concat([whole.subarray(0, whole.length - 10), whole]);
  const read = await readBytes(torn);
  // The first line of the second one hangs on the torn one.
  assert.deepEqual(read, { events: [...events.slice(0, -1), ...events.slice(1)], torn: 1 });
});

test("an outcome without an intent closes nothing, the same intent twice is one, and an outcome that stands before its intent leaves it open", () => {
  const open = (...all: readonly JournalEvent[]) => openIn({ events: all });
  assert.deepEqual(open(outcomeOf("nobody"), intent("a")), ["a"]);
  assert.deepEqual(open(intent("a"), intent("a")), ["a"]);
  assert.deepEqual(open(intent("a"), intent("a"), outcomeOf("a")), []);
  // Nobody knows any more what came first: it is looked into once more, which does no harm.
  assert.deepEqual(open(outcomeOf("a"), intent("a")), ["a"]);
});

test("an event that is too long is refused with its length, and the next one is written", async (t) => {
  const folder = await tempFolder(t);
  const journal = await openJournal(folder);
  const long: JournalEvent = { ...intent("long"), target: "x".repeat(17 * 1024 * 1024) };
  await assert.rejects(journal.append(long), /cannot write the journal .*: the event is 178\d{5} bytes long/);
  await journal.append(intent("next"));
  await journal.close();
  assert.deepEqual(await readJournal(folder), { events: [intent("next")], torn: 0 });
});

const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const damages = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("byte" as const), at: place, byte: fc.integer({ min: 0, max: 255 }) }),
    fc.record({ kind: fc.constant("zeros" as const), at: place, byte: fc.integer({ min: 1, max: 600 }) }),
    fc.record({ kind: fc.constant("cut" as const), at: place, byte: fc.integer({ min: 1, max: 600 }) }),
  ),
  { minLength: 1, maxLength: 8 },
);

type Damage = Readonly<{ kind: "byte" | "zeros" | "cut"; at: number; byte: number }>;

/** One damage within one line; an end of line that goes joins two of them. */
function damaged(line: Buffer, { kind, at, byte }: Damage): Buffer<ArrayBuffer> {
  const from = Math.floor(at * line.length);
  if (kind === "cut") return Buffer.concat([line.subarray(0, from), line.subarray(from + byte)]);
  const fill = kind === "zeros" ? Buffer.alloc(byte) : Buffer.of(byte);
  return Buffer.concat([line.subarray(0, from), fill, line.subarray(from + fill.length)]);
}

test("whatever happens to some bytes, the other lines are read as they were, and no event comes out of nothing", async () => {
  await fc.assert(
    fc.asyncProperty(damages, place, async (all, where) => {
      const ends = lines.map((line) => Buffer.concat([line, Buffer.of(0x0a)]));
      const touched = new Set<number>();
      for (const damage of all) {
        const index = Math.floor(((where + damage.at) % 1) * ends.length);
        const line = ends[index] ?? Buffer.alloc(0);
        ends[index] = damaged(line, damage);
        touched.add(index);
        // Without its end it hangs on the next one.
        if (ends[index]?.at(-1) !== 0x0a) touched.add(index + 1);
      }
      const { events: read } = await readBytes(Buffer.concat(ends));
      const rest = read.map((event) => JSON.stringify(event));
      for (const [index, event] of events.entries()) {
        if (touched.has(index)) continue;
        const found = rest.indexOf(JSON.stringify(event));
        assert.notEqual(found, -1, `line ${index} is not read any more`);
        rest.splice(0, found + 1);
      }
      assert.ok(read.length <= events.length);
      openIn({ events: read });
    }),
    { numRuns: runs },
  );
});

test("swapped and repeated lines are the same events, in the order in which they stand", async () => {
  const order = fc.array(fc.nat({ max: lines.length - 1 }), { maxLength: 100 });
  await fc.assert(
    fc.asyncProperty(order, async (given) => {
      const read = await readBytes(joinLines(given.flatMap((index) => lines[index] ?? [])));
      assert.deepEqual(read, { events: given.map((index) => events[index]), torn: 0 });
    }),
    { numRuns: Math.min(runs, 200) },
  );
});

test("random bytes are torn lines, never an exception and never an event", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), fc.integer({ min: 1, max: 50 }), async (bytes, chunk) => {
      const { events: found, torn } = await readBytes(Buffer.from(bytes), chunk);
      assert.deepEqual(found, []);
      assert.ok(torn <= bytes.length);
    }),
    { numRuns: runs },
  );
});
