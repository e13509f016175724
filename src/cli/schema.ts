import { configJsonSchema } from "../config/json-schema.ts";
import type { CommandSpec } from "./command.ts";
import { exitCodes } from "./output.ts";

export const schema: CommandSpec = {
  name: "schema",
  summary: "the config's JSON Schema, for editors",
  run(_given, output) {
    output.out(JSON.stringify(configJsonSchema(), null, 2));
    return Promise.resolve(exitCodes.done);
  },
};
