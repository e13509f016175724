/** What a command prints, and how it ends. 0 done · 1 failed · 2 wrong usage or config · 3 a target is unreachable or denies what is needed. */
export type ExitCode = 0 | 1 | 2 | 3;

export type Output = Readonly<{
  out(text: string): void;
  err(text: string): void;
  isTerminal: boolean;
  columns: number;
  colour: boolean;
}>;

export const exitCodes = { done: 0, failed: 1, usage: 2, target: 3 } as const;

export function processOutput(): Output {
  const { stdout, stderr, env } = process;
  const isTerminal = stdout.isTTY;
  // A reader that left early (`| head`) is no failure of ours.
  for (const stream of [stdout, stderr]) stream.on("error", () => undefined);
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    isTerminal,
    columns: stdout.columns || 80,
    colour: isTerminal && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
  };
}
