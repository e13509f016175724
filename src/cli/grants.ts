import { existsSync } from "node:fs";
import type { Target } from "../config/schema.ts";
import { quietText } from "../daemon/log-line.ts";
import type { Engine } from "../engines/engine.ts";
import { engineFor, engineNamed, engineNames } from "../engines/registry.ts";
import { errorText } from "../owned-file.ts";
import { type CommandSpec, defaultConfig, type Given } from "./command.ts";
import { usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

const usual = "postgres";

export const grants: CommandSpec = {
  name: "grants",
  summary: "the SQL that makes a least-privilege role, to be run by an administrator of the server",
  arguments: [{ name: "[role]", describe: "its name; default lockwarden" }],
  config: true,
  options: [
    { flags: "--engine <name>", describe: `${engineNames.join(", ")}; default: the config's, else ${usual}` },
    { flags: "--target <name>", describe: "the engine of this target of the config" },
  ],
  run(given, output) {
    const [role = "lockwarden"] = given.arguments;
    const engine = engineOf(given, output);
    if (typeof engine === "object") return Promise.resolve(printGrants(engine, role, output));
    if (engine !== "") output.err(quietText(`lockwarden grants: ${engine}`));
    return Promise.resolve(exitCodes.usage);
  },
};

/** A text: what is wrong; empty: it is told already. */
function engineOf({ options, config: file }: Given, output: Output): Engine<Target> | string {
  const { engine, target } = options;
  if (typeof engine === "string") {
    const expected = `--engine: expected ${engineNames.join(", ")}, got ${JSON.stringify(engine)}`;
    return engineNamed(engine) ?? expected;
  }
  // Before the first config there is a role to be made.
  const mayLack = file === defaultConfig && target === undefined && !existsSync(file);
  if (mayLack) return engineNamed(usual) ?? usual;
  const loaded = usableConfig(file, output);
  if (loaded === null) return "";
  const { targets } = loaded.config;
  const names = targets.map(({ name }) => name).join(", ");
  const asked = targets.filter(({ name }) => target === undefined || name === target);
  if (asked.length === 0) return `--target: expected one of ${names}, got ${JSON.stringify(target)}`;
  const wanted = new Set(asked.map((one) => engineNamed(engineFor(one).name) ?? engineFor(one)));
  const [only] = wanted;
  if (wanted.size === 1 && only !== undefined) return only;
  return `expected --target NAME or --engine NAME, as the config has targets of several engines: ${names}`;
}

function printGrants(engine: Engine<Target>, role: string, output: Output): ExitCode {
  try {
    output.out(engine.grants(role).trimEnd());
    return exitCodes.done;
  } catch (error) {
    // The only thing that can be wrong is the name.
    output.err(`lockwarden grants: ${errorText(error)}`);
    return exitCodes.usage;
  }
}
