import type { ReadStream, WriteStream } from "node:tty";

/** The terminal's other screen, which leaves what was on the first one as it was. */
export type FullScreen = Readonly<{
  size(): Readonly<{ columns: number; rows: number }>;
  /** Replaces what is shown, in one write: nothing flickers. */
  draw(lines: readonly string[]): void;
  /** Gives the terminal back as it was. Again and again, it does nothing. */
  close(): void;
}>;

export type FullScreenEvents = Readonly<{
  /** Ctrl-C or q, or the terminal is gone. */
  quit(): void;
  /** The size has changed, or the screen is back after Ctrl-Z. */
  redraw(): void;
}>;

// The terminal wraps no line while we draw: it may think a character wider than we do.
const enter = "\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J";
const leave = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const home = "\u001b[H";
const eraseLine = "\u001b[K";
const eraseBelow = "\u001b[J";
const interrupt = "\u0003";
const suspension = "\u001a";

export function openFullScreen(
  { quit, redraw }: FullScreenEvents,
  input: ReadStream = process.stdin,
  output: WriteStream = process.stdout,
): FullScreen {
  let isOpen = false;
  const open = (): void => {
    if (isOpen) return;
    isOpen = true;
    // Without this, whatever is typed shows in the middle of the frame.
    if (input.isTTY) input.setRawMode(true).resume();
    output.write(enter);
  };
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    output.write(leave);
    if (input.isTTY) input.setRawMode(false).pause();
  };
  const onKey = (typed: Buffer): void => {
    const text = typed.toString("latin1");
    if (text.includes(interrupt) || text.toLowerCase() === "q") quit();
    else if (text.includes(suspension)) {
      close();
      // As the terminal would: whoever started us, a launcher say, is stopped too.
      process.kill(0, "SIGSTOP");
    }
  };
  const onContinue = (): void => {
    open();
    redraw();
  };
  open();
  input.on("data", onKey).on("error", quit);
  output.on("resize", redraw).on("error", quit);
  process.on("SIGCONT", onContinue).on("exit", close);
  return {
    size: () => ({ columns: output.columns || 80, rows: output.rows || 24 }),
    draw: (lines) => {
      // Erased before it is written: behind a line that fills the terminal the cursor stands on its last character.
      const last = lines.length - 1;
      const text = lines.map((line, place) => `${place === last ? eraseBelow : eraseLine}${line}`).join("\r\n");
      if (isOpen) output.write(`${home}${text}`);
    },
    close: () => {
      process.off("SIGCONT", onContinue).off("exit", close);
      // Errors are still listened to: a terminal that is gone tells it late, and nobody may be ended by that.
      input.off("data", onKey);
      output.off("resize", redraw).off("error", quit);
      close();
    },
  };
}
