import assert from "node:assert/strict";
import { test } from "node:test";
import { conflictingModes, conflicts, covers, isAtLeast, lockModes } from "../../src/core/lock-mode.ts";

// The documentation's table of conflicting lock modes, row by row, weakest mode first; X conflicts.
const documented = [".......X", "......XX", "....XXXX", "...XXXXX", "..XX.XXX", "..XXXXXX", ".XXXXXXX", "XXXXXXXX"];

test("lock modes conflict as the server's documentation says", () => {
  const ours = lockModes.map((one) => lockModes.map((other) => (conflicts(one, other) ? "X" : ".")).join(""));
  assert.deepEqual(ours, documented);
});

test("a mode covers another when everything that blocks the other blocks it", () => {
  for (const wide of lockModes) {
    for (const narrow of lockModes) {
      const expected = conflictingModes(narrow).every((mode) => conflicts(wide, mode));
      assert.equal(covers(wide, narrow), expected, `${wide} covers ${narrow}`);
    }
  }
});

test("a mode outside the table conflicts with nothing and is not strong", () => {
  assert.equal(conflicts("SIReadLock", "AccessExclusiveLock"), false);
  assert.equal(conflicts("AccessExclusiveLock", "SIReadLock"), false);
  assert.equal(isAtLeast("SIReadLock", "AccessShareLock"), false);
  assert.equal(isAtLeast("RowExclusiveLock", "RowShareLock"), true);
  assert.equal(isAtLeast("AccessShareLock", "RowShareLock"), false);
});
