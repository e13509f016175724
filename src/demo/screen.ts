import { styleText } from "node:util";

export type Style = "bold" | "dim" | "red" | "yellow" | "green" | "cyan";
export type Span = string | Readonly<{ style: Style; text: string }>;
export type Line = readonly Span[];

/** What changes while it is shown. */
export type Frame = Readonly<{
  lines: readonly Line[];
  /** The same in one line, where nothing can be redrawn. */
  brief: string;
  /** When this changes, the brief line is news at once and not only after a second. */
  key: string;
}>;

export type Screen = Readonly<{
  /** Text that stays; long lines are wrapped on a terminal. */
  say(text: string, style?: Style): void;
  /** Redraws the frame in place; off a terminal, says its brief line now and then. */
  draw(frame: Frame): void;
  /** A last frame, which stays. */
  settle(lines: readonly Line[]): void;
}>;

export type ScreenOutput = Readonly<{
  out(text: string): void;
  columns: number;
  colour: boolean;
  /** A terminal in which the cursor can be moved. */
  live: boolean;
}>;

const briefMs = 1_000;

// Within a frame the terminal wraps no line: one that became two would make it climb too little when it is redrawn.
const noWrap = "\u001b[?7l";
const wrap = "\u001b[?7h";
const eraseLine = "\u001b[K";
const eraseBelow = "\u001b[J";

export function createScreen(output: ScreenOutput, now: () => number = () => performance.now()): Screen {
  return output.live ? liveScreen(output) : plainScreen(output, now);
}

function plainScreen({ out }: ScreenOutput, now: () => number): Screen {
  let last = { key: "", at: Number.NEGATIVE_INFINITY };
  return {
    say: (text) => out(text),
    draw: ({ brief, key }) => {
      if (key === last.key && now() - last.at < briefMs) return;
      last = { key, at: now() };
      out(brief);
    },
    settle: (lines) => {
      for (const line of lines) out(line.map(textOf).join("").trimEnd());
    },
  };
}

function liveScreen({ out, columns, colour }: ScreenOutput): Screen {
  let shown: readonly string[] = [];
  const show = (above: readonly string[], frame: readonly string[]) => {
    const climb = shown.length === 0 ? "" : `\u001b[${shown.length}A\r`;
    const lines = [...above, ...frame];
    const last = lines.length - 1;
    // Before it is written: behind a line that fills the terminal the cursor stands on its last character.
    const text = lines.map((line, index) => (index === last ? eraseBelow : eraseLine) + line).join("\n");
    out(`${noWrap}${climb}${text}${wrap}`);
    shown = frame;
  };
  const rendered = (lines: readonly Line[]) => lines.map((line) => renderLine(line, columns, colour));
  return {
    say: (text, style) => {
      const lines = wrapText(text, columns).map((line): Line => [style === undefined ? line : { style, text: line }]);
      show(rendered(lines), shown);
    },
    draw: ({ lines }) => show([], rendered(lines)),
    settle: (lines) => {
      show([], rendered(lines));
      shown = [];
    },
  };
}

/** Cut to the width, then coloured. */
export function renderLine(line: Line, columns: number, colour: boolean): string {
  let left = columns;
  const parts: string[] = [];
  for (const span of line) {
    const text = textOf(span);
    const shown = text.length <= left ? text : `${text.slice(0, Math.max(0, left - 1))}…`;
    if (left > 0) parts.push(colour && typeof span !== "string" ? paint(span.style, shown) : shown);
    left -= text.length;
  }
  return parts.join("");
}

/** Whether there is colour at all is decided before: styleText would judge by stdout once more, and not in every version. */
function paint(style: Style, text: string): string {
  return styleText(style, text, { validateStream: false });
}

/** Broken at spaces; what goes on is indented by two more than it began. */
export function wrapText(text: string, columns: number): string[] {
  const indent = `${/^ */.exec(text)?.[0] ?? ""}  `;
  const lines: string[] = [];
  let rest = text;
  while (rest.length > columns) {
    const space = rest.lastIndexOf(" ", columns);
    const at = space > indent.length ? space : columns;
    lines.push(rest.slice(0, at));
    rest = indent + rest.slice(at).trimStart();
  }
  return [...lines, rest];
}

function textOf(span: Span): string {
  return typeof span === "string" ? span : span.text;
}
