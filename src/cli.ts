#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { check } from "./cli/check.ts";
import { type CommandSpec, defaultConfig, type Given } from "./cli/command.ts";
import { demo } from "./cli/demo.ts";
import { explain } from "./cli/explain.ts";
import { grants } from "./cli/grants.ts";
import { history } from "./cli/history.ts";
import { cancel, kill, sql } from "./cli/kill.ts";
import { notify } from "./cli/notify.ts";
import { once } from "./cli/once.ts";
import { type ExitCode, exitCodes, type Output, processOutput } from "./cli/output.ts";
import { pause } from "./cli/pause.ts";
import { replay } from "./cli/replay.ts";
import { resume } from "./cli/resume.ts";
import { run } from "./cli/run.ts";
import { schema } from "./cli/schema.ts";
import { snapshot } from "./cli/snapshot.ts";
import { status } from "./cli/status.ts";
import { test } from "./cli/test.ts";
import { tree } from "./cli/tree.ts";
import { version } from "./version.ts";

const commands: readonly CommandSpec[] = [
  run,
  once,
  pause,
  resume,
  status,
  history,
  check,
  explain,
  tree,
  kill,
  cancel,
  sql,
  snapshot,
  replay,
  test,
  grants,
  notify,
  schema,
  demo,
];

const output = processOutput();
const ended = await main(process.argv.slice(2), output);
const lost = await output.flush();
if (lost !== null) {
  output.err(`lockwarden: cannot write to standard output: ${lost}`);
  await output.flush();
}
// Whatever is left over, a socket or a timer, must not keep a command that is done.
process.exit(lost === null ? ended : exitCodes.failed);

async function main(words: readonly string[], to: Output): Promise<ExitCode> {
  let code: ExitCode = exitCodes.done;
  const program = new Command("lockwarden")
    .description(
      "Frees stuck database locks: finds the session that holds them, ends exactly that one by rule, proves it, tells people.",
    )
    .version(version())
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 failed, 2 wrong usage or config,\n3 a target is unreachable or denies what is needed.",
    )
    .showSuggestionAfterError()
    .showHelpAfterError("lockwarden --help says what there is")
    .configureOutput({
      writeOut: (text) => to.out(text.trimEnd()),
      writeErr: (text) => to.err(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error: /, "lockwarden: ").replace("\n(", " (")),
    })
    .exitOverride();
  for (const spec of commands) {
    add(program, spec, async (given) => {
      code = await spec.run(given, to);
    });
  }
  try {
    await program.parseAsync([...words], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    to.err(`lockwarden: ${causes(error)}`);
    return exitCodes.failed;
  }
}

function add(program: Command, spec: CommandSpec, action: (given: Given) => Promise<void>): void {
  const command = program
    .command(spec.name)
    .description(spec.summary)
    .showHelpAfterError(`lockwarden ${spec.name} --help says what it takes`);
  for (const argument of spec.arguments ?? []) command.argument(argument.name, argument.describe);
  if (spec.config === true) command.option("-c, --config <file>", "the config", defaultConfig);
  if (spec.json === true) command.option("--json", "for programs");
  for (const option of spec.options ?? []) command.option(option.flags, option.describe);
  command.action(async () => {
    const options = command.opts<Record<string, string | boolean | undefined>>();
    const { config, json } = options;
    await action({ config: String(config ?? defaultConfig), json: json === true, arguments: command.args, options });
  });
}

/** The sentence and what caused it, one after the other; no stack, which tells an operator nothing. */
function causes(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause =
    error.cause instanceof Error && !error.message.includes(error.cause.message) ? `: ${causes(error.cause)}` : "";
  return `${error.message}${cause}`;
}
