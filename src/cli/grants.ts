import { postgres } from "../engines/postgres/index.ts";
import type { CommandSpec } from "./command.ts";
import { exitCodes } from "./output.ts";

export const grants: CommandSpec = {
  name: "grants",
  summary: "the SQL that makes a least-privilege role, to be run by a superuser",
  arguments: [{ name: "[role]", describe: "its name; default lockwarden" }],
  run({ arguments: [role = "lockwarden"] }, output) {
    output.out(postgres.grants(role).trimEnd());
    return Promise.resolve(exitCodes.done);
  },
};
