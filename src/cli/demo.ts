import { unreachable } from "../core/unreachable.ts";
import { type DemoEnd, runDemo } from "../demo/demo.ts";
import type { CommandSpec } from "./command.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

const howToGet = `How to get one: npm ci or npm install without --omit=optional, or your system's server
(Debian, Ubuntu: apt install postgresql), version 12 or later. The demo starts it by itself.`;

const epilogue = `
An abandoned transaction kept everybody from logging in as alice. As soon as the
rule was true, Lockwarden wrote down its intent, ended exactly that session, and
saw that the lock was free. Next: README.md, and a config of your own, made from
config/lockwarden.example.yaml; it only tells until it says mode: enforce.
Nothing is left behind: server, daemon and temporary folders are gone.`;

export const demo: CommandSpec = {
  name: "demo",
  summary: "an embedded PostgreSQL, a stuck login, and its release, shown live",
  async run(_given, output) {
    const stop = new AbortController();
    let by = "";
    const onSignal = (name: NodeJS.Signals): void => {
      by ||= name;
      stop.abort(new Error(`stopped by ${name}`));
    };
    // SIGHUP: the terminal was closed.
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    for (const name of signals) process.on(name, onSignal);
    const live = output.isTerminal && process.env["TERM"] !== "dumb";
    try {
      const program = process.argv[1] ?? "";
      return report(await runDemo({ program, output: { ...output, live }, signal: stop.signal }), by, output);
    } finally {
      for (const name of signals) process.off(name, onSignal);
    }
  },
};

function report(end: DemoEnd, by: string, { out, err }: Output): ExitCode {
  const failed = (text: string, left: readonly string[]): ExitCode => {
    err(`lockwarden demo: ${text}`);
    for (const one of left) err(`  still there: ${one}`);
    if (left.length === 0) err("The server, the daemon and the temporary folders are gone.");
    return exitCodes.failed;
  };
  switch (end.kind) {
    case "done":
      out(epilogue);
      return exitCodes.done;
    case "interrupted":
      return failed(`stopped by ${by} before its end`, end.left);
    case "failed":
      return failed(end.text, end.left);
    case "no-postgres":
      err(`lockwarden demo: ${end.text}\n${howToGet}`);
      return exitCodes.target;
    default:
      return unreachable(end);
  }
}
