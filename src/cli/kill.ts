import { readStatement } from "../core/statement.ts";
import { quietText } from "../daemon/log-line.ts";
import { byHand, handOptions } from "./by-hand.ts";
import type { CommandSpec } from "./command.ts";
import { exitCodes } from "./output.ts";
import { processes } from "./processes.ts";

const session = { name: "<session>", describe: "as tree and explain print it, mostly 'PID,SESSIONID'" };

export const kill: CommandSpec = {
  name: "kill",
  summary: "ends one session by hand: cancels its statement, then terminates it; asks first",
  arguments: [session],
  options: [{ flags: "--immediate", describe: "terminates it at once, without a cancel" }, ...handOptions],
  config: true,
  json: true,
  run: (given, output) => {
    const [written = ""] = given.arguments;
    const way = given.options["immediate"] === true ? "immediate" : "gentle";
    return byHand({ command: "kill", session: written, way, given, output });
  },
};

export const cancel: CommandSpec = {
  name: "cancel",
  summary: "cancels what one session runs, by hand; asks first",
  arguments: [session],
  options: handOptions,
  config: true,
  json: true,
  run: (given, output) => {
    const [written = ""] = given.arguments;
    return byHand({ command: "cancel", session: written, way: "cancel", given, output });
  },
};

export const sql: CommandSpec = {
  name: "sql",
  summary:
    "the vendors' own statements, on every engine: ALTER SYSTEM KILL SESSION 'PID,SESSIONID' [IMMEDIATE], KILL [QUERY] ID, SHOW [FULL] PROCESSLIST",
  arguments: [{ name: "<statement>", describe: "one of them, in one argument" }],
  options: handOptions,
  config: true,
  json: true,
  run: async (given, output) => {
    const read = readStatement(given.arguments[0] ?? "");
    if (typeof read === "string") {
      output.err(quietText(`lockwarden sql: ${read}`));
      return exitCodes.usage;
    }
    if (read.kind === "processes") return await processes(read.full, given, output);
    return await byHand({ command: "sql", session: read.session, way: read.way, given, output });
  },
};
