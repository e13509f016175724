import assert from "node:assert/strict";
import { test } from "node:test";
import { momentOf } from "../../src/engines/postgres/moment.ts";

test("a moment keeps all of its microseconds, and zeros that the server leaves out come back", () => {
  assert.equal(momentOf("2026-11-21 06:28:07.123456+00"), "2026-11-21T06:28:07.123456Z");
  assert.equal(momentOf("2026-11-21 06:28:07.1+00"), "2026-11-21T06:28:07.100000Z");
  assert.equal(momentOf("2026-11-21 06:28:07+00"), "2026-11-21T06:28:07.000000Z");
});

test("a moment in another style or zone is refused, as it would name another one", () => {
  for (const shown of ["21/11/2026 06:28:07 UTC", "2026-11-21 07:28:07+01", "2026-11-21 11:58:07+05:30", ""]) {
    assert.throws(() => momentOf(shown), /expected a moment as DateStyle ISO and TimeZone UTC show it/);
  }
});
