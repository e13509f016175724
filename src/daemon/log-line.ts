import type { Level } from "./log-port.ts";

// Text from the database (an application name, a query) ends up in terminals. Control characters could move the cursor or
// retitle the window; bidirectional marks and line separators could make a line read differently from what it says.
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const colours: Readonly<Record<Level, string>> = { debug: "2", info: "32", warn: "33", error: "31" };

/** What the journal calls the levels (sd-daemon(3)). */
const priorities: Readonly<Record<Level, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

/** A line of JSON, in which nothing is left that a terminal would act on; its value stays the same. */
export function quietJson(line: string): string {
  const end = line.endsWith("\n") ? "\n" : "";
  return line.slice(0, line.length - end.length).replace(invisible, (character) => escapeUnits(character)) + end;
}

/** Text in which every invisible character is written out. */
export function quietText(text: string): string {
  return text.replace(invisible, (character) => escapeUnits(character));
}

/** With the prefix by which the journal knows its priority, and which the journal takes off. */
export function journalLine(line: string): string {
  return `<${priorities[levelOf(recordOf(line))]}>${quietJson(line)}`;
}

/** `12:00:03 warn  text  key=value`, by the clock on the wall, of a line of JSON. */
export function humanLine(line: string, colour: boolean): string {
  const record = recordOf(line);
  const { time, msg, level: _, ...fields } = record;
  const level = levelOf(record);
  const clock = new Date(String(time)).toTimeString().slice(0, 8);
  const word = colour ? `\u001b[${colours[level]}m${level.padEnd(5)}\u001b[0m` : level.padEnd(5);
  const facts = Object.entries(fields).map(([key, value]) => `${quietText(key)}=${humanValue(value)}`);
  return `${[`${clock} ${word} ${quietText(String(msg))}`, ...facts].join("  ")}\n`;
}

function humanValue(value: unknown): string {
  if (isError(value)) return humanValue(value.code === undefined ? value.message : `${value.message} (${value.code})`);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const plain = typeof value !== "string" || /^[^\s"=\\]+$/.test(text);
  return quietText(plain ? text : JSON.stringify(text));
}

function isError(value: unknown): value is { message: string; code?: string | number } {
  return typeof value === "object" && value !== null && "type" in value && "message" in value;
}

function recordOf(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}

function levelOf({ level }: Record<string, unknown>): Level {
  return level === "debug" || level === "warn" || level === "error" ? level : "info";
}

/** Every UTF-16 unit as \uXXXX. */
function escapeUnits(character: string): string {
  return character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}
