import { existsSync } from "node:fs";
import { parseDuration } from "../config/duration.ts";
import { plainText } from "../core/plain-text.ts";
import { handleOf } from "../core/session.ts";
import { spokenDuration } from "../core/spoken-duration.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { journalPath } from "../journal.ts";
import { journalHistory, type Past, type Tally, type Wanted, type Whom } from "../journal-history.ts";
import { errorCode, errorText } from "../owned-file.ts";
import type { CommandSpec, Given } from "./command.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { stateDirOption, stateFolderOf } from "./state-folder.ts";

const usualLast = 50;
const mostLast = 1_000_000;
/** So many lines at most wait for a slow reader. */
const batch = 200;

export const history: CommandSpec = {
  name: "history",
  summary: "what was done, to whom, by whom and how it ended, from the journal; needs no database and no daemon",
  config: true,
  json: true,
  options: [
    { flags: "--last <n>", describe: `only the latest so many; ${usualLast}, unless --since says from when on` },
    {
      flags: "--since <when>",
      describe: "from then on: a duration such as 2h, or a moment such as 2026-03-01T03:00:00Z",
    },
    { flags: "--target <name>", describe: "only of this target" },
    { flags: "--rule <name>", describe: "only of this rule" },
    { flags: "--all", describe: "what sent nothing too: observed, notices, starts, stops, reloads" },
    stateDirOption,
  ],
  async run({ config: file, json, options }, output): Promise<ExitCode> {
    const asked = askedFor(options);
    if (typeof asked === "string") {
      output.err(`lockwarden history: ${asked}`);
      return exitCodes.usage;
    }
    const folder = stateFolderOf(file, options["stateDir"], output);
    if (folder === null) return exitCodes.usage;
    const tally: Tally = { torn: 0 };
    try {
      const told = journalHistory(folder.path, asked.wanted, tally);
      const count = await print(asked.last === null ? told : latest(told, asked.last), { json, output, tally });
      if (count === 0 && !json) output.out(quietText(emptyText(journalPath(folder.path), asked.wanted)));
    } catch (error) {
      output.err(quietText(`lockwarden history: ${errorText(error)}${hintFor(error, folder.path)}`));
      return exitCodes.failed;
    }
    if (tally.torn > 0)
      output.err(`warning: ${tally.torn} lines of the journal are no events (a write cut short, or a newer version's)`);
    return exitCodes.done;
  },
};

function emptyText(path: string, { all }: Wanted): string {
  if (!existsSync(path)) return `there is no journal ${path}: nothing was done there`;
  return `nothing of that is in the journal ${path}${all ? "" : "; --all shows what sent nothing too"}`;
}

type Asked = Readonly<{ wanted: Wanted; last: number | null }>;

/** A text: what is wrong. */
function askedFor(options: Given["options"]): Asked | string {
  const { last, since, target, rule, all } = options;
  const count = last === undefined ? null : Number(last);
  if (count !== null && !(Number.isInteger(count) && count >= 1 && count <= mostLast))
    return `--last: expected a number from 1 to ${mostLast}, got ${JSON.stringify(last)}`;
  const sinceMs = since === undefined ? Number.NEGATIVE_INFINITY : momentOf(String(since), Date.now());
  if (sinceMs === null)
    return `--since: expected a duration such as 2h or a moment such as 2026-03-01T03:00:00Z, got ${JSON.stringify(since)}`;
  const wanted = { sinceMs, target: nameOf(target), rule: nameOf(rule), all: all === true };
  return { wanted, last: count ?? (since === undefined ? usualLast : null) };
}

function nameOf(given: string | boolean | undefined): string | null {
  return typeof given === "string" ? given : null;
}

function momentOf(text: string, nowMs: number): number | null {
  const ago = parseDuration(text);
  if (ago !== null) return nowMs - ago;
  // Date.parse takes a bare number for a year, or worse.
  const moment = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(moment) ? null : moment;
}

/** The last so many, of which no more are held. */
async function* latest(told: AsyncIterable<Past>, count: number): AsyncGenerator<Past> {
  const ring: Past[] = [];
  let place = 0;
  for await (const past of told) {
    ring[place] = past;
    place = (place + 1) % count;
  }
  yield* ring.slice(place);
  yield* ring.slice(0, place);
}

type Printing = Readonly<{ json: boolean; output: Output; tally: Tally }>;

async function print(told: AsyncIterable<Past>, { json, output, tally }: Printing): Promise<number> {
  let count = 0;
  for await (const past of told) {
    // The comma of a list in JSON comes before each but the first.
    if (json) output.out(quietJson(`${count === 0 ? '{"events":[' : ","}${JSON.stringify(past)}`));
    else output.out(quietText(pastLine(past)));
    count += 1;
    if (count % batch === 0) await output.flush();
  }
  if (json) output.out(`${count === 0 ? '{"events":[' : ""}],"torn":${tally.torn}}`);
  return count;
}

const longestName = 63;
const longestText = 300;

/** Who did it: a rule, or a person. */
function actor({ rule, by }: Pick<Past, "rule" | "by">): string {
  return by === null ? (rule ?? "?") : `${rule ?? "?"} (${plainText(by, longestName)})`;
}

/** `2026-03-01T03:03:12.600Z app: stuck-login: terminate 4711,69a3.1267 (app, web): released, 2 freed, 340 ms: …` */
export function pastLine({ at, event, target, rule, by, action, session, ...past }: Past): string {
  const what =
    session === null ? eventText(event) : `${actor({ rule, by })}: ${verb(event)}${action ?? "?"} ${whomText(session)}`;
  const freed = past.freed === null ? [] : [`${past.freed} freed`];
  const took = past.tookMs === null ? [] : [spokenDuration(past.tookMs)];
  const ended = past.outcome === null ? [] : [[past.outcome, ...freed, ...took].join(", ")];
  const missing = event === "act" && past.outcome === null ? ["no outcome: under way, or cut off by a crash"] : [];
  const parts = [target ?? "every target", what, ...ended, ...missing, past.text];
  return `${plainText(at, 40)} ${parts.map((part) => plainText(part, longestText)).join(": ")}`;
}

function eventText(event: Past["event"]): string {
  return event === "act" ? "outcome without its intent" : event;
}

function verb(event: Past["event"]): string {
  if (event === "act") return "";
  return event === "observed" ? "did not " : `${event} `;
}

function whomText({ pid, sessionId, gid, user, application, ...named }: Whom): string {
  const session = handleOf({ ...named, pid, sessionId: sessionId ?? "?" });
  const handle = gid === null ? session : `prepared transaction ${gid}`;
  const names = [user ?? "unknown user", ...(application === null || application === "" ? [] : [application])];
  return `${handle} (${names.map((name) => plainText(name, longestName)).join(", ")})`;
}

function hintFor(error: unknown, folder: string): string {
  const denied = error instanceof Error && errorCode(error.cause) === "EACCES";
  return denied ? `; run this as the owner of ${folder}, or as root` : "";
}
