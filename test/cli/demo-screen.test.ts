import assert from "node:assert/strict";
import { test } from "node:test";
import type { Person } from "../../src/demo/scene.ts";
import { sceneOf } from "../../src/demo/scene.ts";
import { createScreen, type Frame, type Line, renderLine, wrapText } from "../../src/demo/screen.ts";
import { endLines, type View, waitingFrame } from "../../src/demo/view.ts";

const escape = "\u001b";

test("a terminal's frame is redrawn in place, and what is said in between goes above it", () => {
  const terminal = fakeTerminal(40);
  const screen = createScreen({ out: terminal.out, columns: 40, colour: false, live: true });
  screen.say("first");
  screen.draw(frameOf("a 1", "b 1", "c 1"));
  screen.draw(frameOf("a 2", "b 2"));
  screen.say("second");
  screen.draw(frameOf("a 3", "b 3"));
  screen.settle([["the end"]]);
  screen.say("third");
  assert.deepEqual(terminal.lines(), ["first", "second", "the end", "third"]);
});

test("a line as wide as the terminal keeps its last character, and a shorter one after it leaves nothing of it", () => {
  const terminal = fakeTerminal(6);
  const screen = createScreen({ out: terminal.out, columns: 6, colour: false, live: true });
  screen.draw(frameOf("abcdef", "too long", "ghijkl"));
  assert.deepEqual(terminal.lines(), ["abcdef", "too l…", "ghijkl"]);
  screen.draw(frameOf("ab", "c", "d"));
  assert.deepEqual(terminal.lines(), ["ab", "c", "d"]);
});

test("off a terminal a line is said when there is news, and else once a second", () => {
  let now = 0;
  const said: string[] = [];
  const screen = createScreen({ out: (text) => said.push(text), columns: 40, colour: true, live: false }, () => now);
  const drawAt = (at: number, brief: string, key: string) => {
    now = at;
    screen.draw({ lines: [["not shown"]], brief, key });
  };
  drawAt(0, "one waits", "1");
  drawAt(200, "one still waits", "1");
  drawAt(400, "two wait", "2");
  drawAt(1_399, "two still wait", "2");
  drawAt(1_400, "two wait on", "2");
  screen.settle([[{ style: "green", text: "over" }, " now  "]]);
  assert.deepEqual(said, ["one waits", "two wait", "two wait on", "over now"]);
});

test("a line is cut to the terminal's width before it is coloured", () => {
  const line: Line = ["ab", { style: "red", text: "cdef" }, "gh"];
  assert.equal(renderLine(line, 8, false), "abcdefgh");
  assert.equal(renderLine(line, 5, false), "abcd…");
  assert.equal(renderLine(line, 6, false), "abcdef");
  assert.equal(renderLine(line, 5, true), `ab${escape}[31mcd…${escape}[39m`);
});

test("long text is broken at spaces, and what follows is indented", () => {
  assert.deepEqual(wrapText("  one two three four", 11), ["  one two", "    three", "    four"]);
  assert.deepEqual(wrapText("short", 11), ["short"]);
  assert.deepEqual(wrapText("abcdefghijkl", 8), ["abcdefgh", "  ijkl"]);
});

test("who waits stands behind the root, whoever is directly before him, and a harmless session beside them", () => {
  const scene = sceneOf([
    person("3", "web-3", "active", ["2"], 1_000),
    person("2", "web-2", "active", ["1"], 2_000),
    person("1", "web-1", "idle in transaction", []),
    person("4", "reporting", "idle in transaction", []),
    person("5", "web-4", "idle", []),
  ]);
  assert.equal(scene.root?.application, "web-1");
  assert.deepEqual(
    scene.waiting.map(({ application }) => application),
    ["web-2", "web-3"],
  );
  assert.deepEqual(
    scene.harmless.map(({ application }) => application),
    ["reporting"],
  );
});

test("every line of the frames fits 80 columns, and all of a frame 12 rows", () => {
  for (const lines of [waitingFrame(crowded).lines, endLines({ application: "web-1", pid: "4194304" }, crowded)]) {
    assert.ok(lines.length <= 12);
    for (const line of lines) {
      const text = renderLine(line, 1_000, false);
      assert.ok(text.length <= 80, `${text.length} columns: ${text}`);
    }
  }
});

test("the countdown says what the daemon said is left", () => {
  const shown = (leftMs: number) => waitingFrame({ ...crowded, verdict: { kind: "wait", leftMs } }).brief;
  assert.match(shown(4_160), /; stuck-login: terminate web-1 in 4\.2 s$/);
  assert.match(shown(-3), /; stuck-login: terminate now$/);
  const spared = waitingFrame({ ...crowded, verdict: { kind: "other", text: "spares it: protected" } }).brief;
  assert.match(spared, /; stuck-login: spares it: protected$/);
});

const crowded: View = {
  scene: sceneOf([
    person("4194304", "web-1", "idle in transaction", [], 59_900),
    person("4194303", "web-2", "active", ["4194304"], 59_900),
    person("4194302", "web-3", "active", ["4194303"], 59_800),
    person("4194301", "support", "active", ["4194303"], 59_700),
    person("4194300", "reporting", "idle in transaction", [], 59_900),
  ]),
  attempts: ["web-2", "web-3", "support"].map((application) => ({
    application,
    who: "the help desk, as alice",
    state: "in",
    ms: 59_900,
  })),
  rule: "stuck-login",
  verdict: { kind: "wait", leftMs: 8_000 },
};

function person(pid: string, application: string, state: string, blockers: readonly string[], stateMs = 500): Person {
  return { pid, application, state, stateMs, blockers, table: blockers.length > 0 ? "public.user_session" : null };
}

function frameOf(...lines: string[]): Frame {
  return { lines: lines.map((line) => [line]), brief: lines.join("; "), key: lines.join() };
}

const command = new RegExp(`^${escape}\\[\\??(\\d*)([A-Zhl])$`);
const tokens = new RegExp(`${escape}\\[\\??\\d*[A-Zhl]|\\n|\\r|[^${escape}\\n\\r]+`, "g");

/** As much of a terminal as the screen uses: lines, going up, erasing. Past its last column the cursor does not go. */
function fakeTerminal(columns: number): { out: (text: string) => void; lines: () => string[] } {
  let rows: string[] = [""];
  let [row, column] = [0, 0];
  const put = (token: string) => {
    const [, count, what] = command.exec(token) ?? [];
    if (token === "\n") rows[++row] ??= "";
    else if (what === "A") row -= Number(count);
    else if (what === "K" || what === "J") rows[row] = (rows[row] ?? "").slice(0, column);
    else if (what === undefined && token !== "\r") rows[row] = token + (rows[row] ?? "").slice(token.length);
    if (what === "J") rows = rows.slice(0, row + 1);
    if (what === undefined) column = token === "\n" || token === "\r" ? 0 : Math.min(token.length, columns - 1);
    assert.ok(row >= 0 && (rows[row] ?? "").length <= columns);
  };
  return {
    out: (text) => {
      for (const token of `${text}\n`.match(tokens) ?? []) put(token);
    },
    lines: () => rows.slice(0, -1),
  };
}
