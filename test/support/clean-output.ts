import assert from "node:assert/strict";
import type { Ended } from "./lockwarden.ts";

/** What stands in the tests' urls, files and settings as a password. */
export const secret = "hunter2-correct-horse";

/** Whatever went wrong, people see neither a stack nor a secret, and no colours where nobody looks. */
export function assertClean({ out, err }: Pick<Ended, "out" | "err">): void {
  const said = out + err;
  assert.doesNotMatch(said, /^\s+at .*:\d+/m, "a stack");
  assert.doesNotMatch(said, /node:internal|UnhandledPromise|ERR_UNHANDLED/);
  assert.ok(!said.includes(secret), `the secret shows: ${said}`);
  assert.ok(!said.includes("\u001b"), "an escape sequence");
}

/** Code and both texts at once, so that a failure shows all of them. */
export function assertEnded(ended: Ended, expected: Readonly<{ code: number; out?: RegExp; err?: RegExp }>): void {
  assertClean(ended);
  assert.equal(ended.code, expected.code, JSON.stringify(ended));
  for (const stream of ["out", "err"] as const) {
    const pattern = expected[stream];
    // Not named: nothing was said there.
    if (pattern === undefined) assert.equal(ended[stream], "");
    else assert.match(ended[stream], pattern);
  }
}
