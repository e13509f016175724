import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { plainText, quoted } from "../../src/core/plain-text.ts";

for (const [name, text, expected] of [
  ["plain text stays as it is", "app_login", "app_login"],
  ["letters of any script stay as they are", "Žofie 用户 🐘", "Žofie 用户 🐘"],
  ["line ends and tabs become one blank", "select 1\r\n\t from t", "select 1 from t"],
  ["a terminal escape becomes visible", "\u001b[31mred\u009b0m", "\\x1b[31mred\\x9b0m"],
  ["a NUL and a bell become visible", "a\0b\u0007", "a\\x00b\\x07"],
  ["bidi and zero-width marks become visible", "user\u202eresu\u200b", "user\\u202eresu\\u200b"],
  ["hidden tag characters become visible", "a\u{e0041}", "a\\u{e0041}"],
  ["half a surrogate pair becomes visible", "a\ud83db\udc18", "a\\ud83db\\udc18"],
  ["line and paragraph separators become one blank", "a\u2028\u2029b", "a b"],
] as const) {
  test(name, () => assert.equal(plainText(text, 100), expected));
}

test("what is too long is cut and says so", () => {
  assert.equal(plainText("abcdef", 6), "abcdef");
  assert.equal(plainText("abcdefg", 6), "abcde…");
});

test("a cut never leaves half a surrogate pair", () => {
  assert.equal(plainText("abcd🐘🐘", 6), "abcd…");
});

test("a text of megabytes with a short visible beginning is cut and says so", () => {
  assert.equal(plainText(`a${" ".repeat(5_000_000)}b`, 10), "a…");
});

test("whatever comes in, what comes out is one bounded line without anything hidden", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.integer({ min: 1, max: 200 }), (text, length) => {
      const line = plainText(text, length);
      assert.ok(line.length <= length);
      assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
    }),
  );
});

test("what is quoted shows what it hides, and keeps its blanks", () => {
  assert.equal(quoted('a "b"\n  c\u007f\u009b31m\u202e\u2028'), '"a \\"b\\"\\n  c\\x7f\\x9b31m\\u202e\\u2028"');
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      assert.doesNotMatch(quoted(text), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
    }),
  );
});
