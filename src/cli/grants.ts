import { postgres } from "../engines/postgres/index.ts";
import { errorText } from "../owned-file.ts";
import type { CommandSpec } from "./command.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";

export const grants: CommandSpec = {
  name: "grants",
  summary: "the SQL that makes a least-privilege role, to be run by a superuser",
  arguments: [{ name: "[role]", describe: "its name; default lockwarden" }],
  run({ arguments: [role = "lockwarden"] }, output) {
    return Promise.resolve(printGrants(role, output));
  },
};

function printGrants(role: string, output: Output): ExitCode {
  try {
    output.out(postgres.grants(role).trimEnd());
    return exitCodes.done;
  } catch (error) {
    // The only thing that can be wrong is the name.
    output.err(`lockwarden grants: ${errorText(error)}`);
    return exitCodes.usage;
  }
}
