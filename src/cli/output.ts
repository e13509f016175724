import { errorCode, errorText } from "../owned-file.ts";

/** What a command prints, and how it ends. 0 done · 1 failed · 2 wrong usage or config · 3 a target is unreachable or denies what is needed. */
export type ExitCode = 0 | 1 | 2 | 3;

export type Output = Readonly<{
  /** The result, and nothing else: programs read it. */
  out(text: string): void;
  /** Everything that is not the result. */
  err(text: string): void;
  /** Until everything is written; then why the result could not be, or null. */
  flush(): Promise<string | null>;
  isTerminal: boolean;
  columns: number;
  colour: boolean;
}>;

export const exitCodes = { done: 0, failed: 1, usage: 2, target: 3 } as const;

export function processOutput(): Output {
  const { stdout, stderr, env } = process;
  const isTerminal = stdout.isTTY;
  let lost: string | null = null;
  let last: Promise<void> = Promise.resolve();
  // Without these a failed write would end the process with a stack; each write learns of its own failure.
  for (const stream of [stdout, stderr]) stream.on("error", () => undefined);
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    const before = last;
    const written = new Promise<Error | null>((resolve) => {
      stream.write(`${text}\n`, (error) => resolve(error ?? null));
    });
    last = before.then(async () => {
      const error = await written;
      // A reader that left early (`| head`) is no failure of ours; a full disk is.
      if (error !== null && stream === stdout && !readerLeft(error)) lost ??= errorText(error);
    });
  };
  return {
    out: (text) => write(stdout, text),
    err: (text) => write(stderr, text),
    flush: async () => {
      await last;
      return lost;
    },
    isTerminal,
    columns: stdout.columns || 80,
    colour: isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
  };
}

function readerLeft(error: Error): boolean {
  // After the first failure the stream is destroyed; what is written then fails for that reason.
  return ["EPIPE", "ERR_STREAM_DESTROYED"].includes(errorCode(error) ?? "");
}
