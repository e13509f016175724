import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cutText, type Line, renderLine, textWidth } from "../../src/cli/terminal-text.ts";

const escape = "\u001b";

for (const [name, text, width] of [
  ["plain text", "abc", 3],
  ["letters with accents of their own", "Žofie", 5],
  ["letters with combining accents", "e\u0301a\u0308\u0323", 2],
  ["Chinese, Japanese, Korean", "用户かなカナ한글", 16],
  ["half-width katakana with its mark", "ｶﾞ", 2],
  ["full-width letters", "ＡＢ", 4],
  ["an emoji", "🐘", 2],
  ["an emoji with a skin tone", "👍🏽", 2],
  ["a heart that is shown as a picture", "❤\ufe0f", 2],
  ["a heart that is not", "❤", 1],
  ["a flag", "🇩🇪", 2],
  ["half a flag", "🇩", 1],
  ["Arabic and Hebrew", "مرحبا שלום", 10],
  ["lines of a tree", "│  ├─ └─", 8],
] as const) {
  test(`the width of ${name}`, () => assert.equal(textWidth(text), width));
}

test("what is cut ends in an ellipsis, and no character is cut in two", () => {
  assert.equal(cutText("abcdef", 6), "abcdef");
  assert.equal(cutText("abcdef", 5), "abcd…");
  assert.equal(cutText("用户用户", 8), "用户用户");
  assert.equal(cutText("用户用户", 7), "用户用…");
  assert.equal(cutText("用户用户", 6), "用户…");
  assert.equal(cutText("ae\u0301e\u0301e\u0301", 3), "ae\u0301…");
  assert.equal(cutText("🇩🇪🇩🇪", 3), "🇩🇪…");
  assert.equal(cutText("abc", 1), "…");
  assert.equal(cutText("abc", 0), "");
});

test("a line is cut to its width before it is coloured, and says so wherever it is cut", () => {
  const line: Line = ["ab", { style: "red", text: "cdef" }, "gh"];
  assert.equal(renderLine(line, null, false), "abcdefgh");
  assert.equal(renderLine(line, 8, false), "abcdefgh");
  assert.equal(renderLine(line, 7, false), "abcdef…");
  assert.equal(renderLine(line, 6, false), "abcde…");
  assert.equal(renderLine(line, 5, true), `ab${escape}[31mcd…${escape}[39m`);
  assert.equal(renderLine(line, 2, false), "a…");
  assert.equal(renderLine(["ab", ""], 2, false), "ab");
});

test("whatever the line and the width, it fits", () => {
  const span = fc.string({ unit: "grapheme", maxLength: 12 });
  fc.assert(
    fc.property(fc.array(span, { maxLength: 5 }), fc.nat({ max: 40 }), (spans, columns) => {
      const shown = renderLine(spans, columns, false);
      assert.ok(textWidth(shown) <= columns);
      if (textWidth(spans.join("")) > columns && columns > 0) assert.ok(shown.endsWith("…"));
    }),
  );
});
