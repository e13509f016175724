import { pino } from "pino";
import { unreachable } from "../core/unreachable.ts";
import { discreet, discreetText } from "./discreet.ts";
import { humanLine, journalLine, quietJson } from "./log-line.ts";
import type { Fields, Level, Log } from "./log-port.ts";
import { type Destination, standardOutput } from "./standard-output.ts";

export type LogOptions = Readonly<{
  level: Level;
  /** Short lines for people instead of JSON. Left out: when the destination is a terminal. */
  pretty?: boolean;
  destination?: Destination;
}>;

/** Keys that every line has; a field of that name gets a `_` behind it, as JSON with a key twice is read differently. */
const taken = new Set(["level", "time", "msg"]);

/** A line of JSON for every event; on a terminal a line for people; in systemd's journal, each with its priority. */
export function createLog({ level, pretty, destination = standardOutput() }: LogOptions): Log {
  const format = formatFor(destination.kind, pretty);
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => destination.write(format(line)) },
  );

  const withFields = (bound: Fields): Log => {
    const say =
      (at: Level) =>
      (fields: Fields, text: string): void => {
        if (logger.isLevelEnabled(at)) logger[at]({ ...bound, ...printable(fields) }, discreetText(text));
      };
    return {
      debug: say("debug"),
      info: say("info"),
      warn: say("warn"),
      error: say("error"),
      child: (fields) => withFields({ ...bound, ...printable(fields) }),
      flush: () => destination.flush(),
    };
  };
  return withFields({});
}

function printable(fields: Fields): Fields {
  const safe = discreet(fields);
  if (typeof safe !== "object" || safe === null) return {};
  return Object.fromEntries(Object.entries(safe).map(([key, value]) => [taken.has(key) ? `${key}_` : key, value]));
}

function formatFor(kind: Destination["kind"], pretty: boolean | undefined): (line: string) => string {
  switch (kind) {
    case "plain":
      return pretty === true ? (line) => humanLine(line, false) : quietJson;
    case "journal":
      return pretty === true ? (line) => humanLine(line, false) : journalLine;
    case "terminal":
      return pretty === false ? quietJson : (line) => humanLine(line, false);
    case "colour-terminal":
      return pretty === false ? quietJson : (line) => humanLine(line, true);
    default:
      return unreachable(kind);
  }
}
