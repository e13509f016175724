import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../config/schema.ts";
import { spokenDuration } from "../core/spoken-duration.ts";
import { openFullScreen } from "./full-screen.ts";
import { type Observer, observe, type View } from "./observer.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { type Line, renderLine } from "./terminal-text.ts";
import { frame, type Shape } from "./tree-frame.ts";

export type Watching = Shape & Readonly<{ intervalMs: number }>;

/** Until somebody ends it: that is its ordinary end. */
export async function watch({ targets }: Config, shape: Watching, output: Output): Promise<ExitCode> {
  const stop = new AbortController();
  const quit = (): void => stop.abort();
  // SIGHUP: the terminal was closed. An error: nobody reads any more (`| head`).
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const one of signals) process.on(one, quit);
  process.stdout.once("error", quit);
  const observers = targets.map((target) => observe(target));
  const views = () => observers.map((observer) => withRetry(observer.view()));
  const full = output.isTerminal && !shape.json && process.env["TERM"] !== "dumb";
  const paper = full ? screenFor(views, shape, { colour: output.colour, quit }) : rollFor(views, shape, output);
  try {
    // A screen shows at once what there is; on paper, a first frame without an answer would be of no use to anybody.
    if (!full) await Promise.all(observers.map((observer) => observer.look(stop.signal)));
    await keepLooking(observers, { intervalMs: shape.intervalMs, draw: paper.draw, signal: stop.signal });
  } finally {
    paper.close();
    await Promise.all(observers.map((observer) => observer.close()));
    process.stdout.off("error", quit);
    for (const one of signals) process.off(one, quit);
  }
  return exitCodes.done;
}

function withRetry(view: View): View {
  return view.kind === "failed" ? { ...view, text: `${view.text}; trying again` } : view;
}

type Paper = Readonly<{ draw(): void; close(): void }>;
type Views = () => readonly View[];

function screenFor(
  views: Views,
  shape: Watching,
  { colour, quit }: Readonly<{ colour: boolean; quit: () => void }>,
): Paper {
  const draw = (): void => {
    const { columns, rows } = screen.size();
    const lines = [
      renderLine(clockLine(shape, "; q ends"), columns, colour),
      "",
      ...frame(views(), shape, { columns, colour }),
    ];
    const hidden = lines.length - rows;
    const more = renderLine([`and ${hidden + 1} more lines; a taller terminal shows them`], columns, colour);
    screen.draw(hidden > 0 ? [...lines.slice(0, Math.max(0, rows - 1)), more] : lines);
  };
  const screen = openFullScreen({ quit, redraw: draw });
  draw();
  return { draw, close: screen.close };
}

function rollFor(views: Views, shape: Watching, output: Output): Paper {
  let first = true;
  const columns = output.isTerminal ? output.columns : null;
  const draw = (): void => {
    const lines = frame(views(), shape, { columns, colour: output.colour });
    const clock = shape.json ? [] : [...(first ? [] : [""]), renderLine(clockLine(shape), columns, output.colour)];
    first = false;
    output.out([...clock, ...lines].join("\n"));
  };
  return { draw, close: () => undefined };
}

/** By the clock on the wall. */
function clockLine({ intervalMs }: Watching, hint = ""): Line {
  const now = new Date();
  const date = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0"));
  const clock = `${date.join("-")} ${now.toTimeString().slice(0, 8)}`;
  return [{ style: "dim", text: `lockwarden tree, ${clock}, every ${spokenDuration(intervalMs)}${hint}` }];
}

type Looking = Readonly<{ intervalMs: number; draw(): void; signal: AbortSignal }>;

/** A target that is slow to answer does not keep the others from being shown. */
async function keepLooking(observers: readonly Observer[], { intervalMs, draw, signal }: Looking): Promise<void> {
  while (!signal.aborted) {
    const due = performance.now() + intervalMs;
    const untilDue = (): Promise<void> =>
      sleep(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => undefined);
    await Promise.race([Promise.all(observers.map((observer) => observer.look(signal))), untilDue()]);
    if (signal.aborted) return;
    draw();
    await untilDue();
  }
}
