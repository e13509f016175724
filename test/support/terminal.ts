import { type ChildProcess, spawn } from "node:child_process";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { textWidth } from "../../src/cli/terminal-text.ts";
import type { Ended } from "./lockwarden.ts";

const cli = fileURLToPath(new URL("../../src/cli.js", import.meta.url));

export type TerminalRun = Readonly<{
  /** Everything that was written, control sequences too. */
  written(): string;
  /** What a person sees, the screen or the alternate one, without blank lines at its end. */
  screen(): readonly string[];
  isAlternate(): boolean;
  /** Typed on the keyboard. */
  type(text: string): void;
  /** To the program itself; fails before it runs. */
  signal(name: NodeJS.Signals): void;
  ended: Promise<Ended>;
}>;

/** Whether there is util-linux's `script`, which makes pseudo terminals; else why not, to skip a test with. */
export async function pseudoTerminals(): Promise<true | string> {
  const child = spawn("script", ["-qec", "true", "/dev/null"], { stdio: "ignore" });
  const code = await new Promise((resolve) => child.once("error", () => resolve(null)).once("close", resolve));
  return code === 0 ? true : "there is no script(1) of util-linux to make a pseudo terminal with";
}

/** The program in a pseudo terminal of so many columns and rows; it says when the terminal's own settings are other than before. */
export function inTerminal(
  words: readonly string[],
  { columns, rows }: Readonly<{ columns: number; rows: number }>,
  env: NodeJS.ProcessEnv = {},
): TerminalRun {
  const quoted = [process.execPath, cli, ...words].map((word) => `'${word}'`).join(" ");
  const lines = [
    `stty cols ${columns} rows ${rows}`,
    "before=$(stty -g)",
    `sh -c 'echo "pid $$"; exec "$@"' sh ${quoted}`,
    "code=$?",
    '[ "$before" = "$(stty -g)" ] || echo "the terminal was left with other settings"',
    "exit $code",
  ];
  const child = spawn("script", ["-qec", lines.join("\n"), "/dev/null"], {
    env: { PATH: process.env["PATH"], TERM: "xterm-256color", SHELL: "/bin/sh", ...env },
  });
  // Whoever is still there when a test has failed is hung up on.
  after(() => child.kill("SIGKILL"));
  let written = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    written += chunk;
  });
  return {
    written: () => written,
    screen: () => display(written, columns).lines,
    isAlternate: () => display(written, columns).alternate,
    type: (text) => child.stdin.write(text),
    signal: (name) => process.kill(Number(/pid (\d+)/.exec(written)?.[1]), name),
    ended: endOf(child, () => written),
  };
}

function endOf(child: ChildProcess, written: () => string): Promise<Ended> {
  return new Promise((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal, out: written(), err: "" }));
  });
}

type Page = { cells: string[][]; row: number; column: number };
const escape = "\u001b";
const tokens = new RegExp(`${escape}\\[(\\??)([\\d;]*)([A-Za-z])|\\r|\\n|[^${escape}]`, "gu");

/** As much of a terminal as the program uses: two screens, home, erasing, colours; past its last column nothing wraps. */
function display(written: string, columns: number): Readonly<{ lines: readonly string[]; alternate: boolean }> {
  const pages: [Page, Page] = [
    { cells: [], row: 0, column: 0 },
    { cells: [], row: 0, column: 0 },
  ];
  let alternate = false;
  for (const [token, mark, number, letter] of written.matchAll(tokens)) {
    const page = pages[alternate ? 1 : 0];
    if (letter === undefined) put(page, token, columns);
    else if (mark === "?" && number === "1049") alternate = letter === "h";
    else if (letter === "H") [page.row, page.column] = [0, 0];
    else if (letter === "K" || letter === "J") erase(page, letter, number === "2");
  }
  const { cells } = pages[alternate ? 1 : 0];
  const lines = Array.from(cells, (row) => Array.from(row ?? [], (cell) => cell ?? " ").join(""));
  while (lines.at(-1) === "") lines.pop();
  return { lines, alternate };
}

function put(page: Page, token: string, columns: number): void {
  if (token === "\r") page.column = 0;
  else if (token === "\n") page.row++;
  else {
    const row = (page.cells[page.row] ??= []);
    const width = textWidth(token);
    // The other half of a wide character is an empty cell.
    row[page.column] = token;
    for (let other = 1; other < width; other++) row[page.column + other] = "";
    page.column = Math.min(page.column + width, columns - 1);
  }
}

/** From the cursor to the end of the line, and with J of the screen. */
function erase(page: Page, letter: string, whole: boolean): void {
  if (whole) page.cells = [];
  else {
    page.cells[page.row] = (page.cells[page.row] ?? []).slice(0, page.column);
    if (letter === "J") page.cells = page.cells.slice(0, page.row + 1);
  }
}
