import type { Config, Target } from "../config/schema.ts";
import type { Asked, Picture, Way } from "../core/by-hand.ts";
import { readHandle } from "../core/handle.ts";
import { handleOf } from "../core/session.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Found, HandOutcome, HandResult } from "../daemon/by-hand.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { asker } from "./asker.ts";
import { pictureLines, questionOf } from "./by-hand-text.ts";
import type { CommandSpec, Given } from "./command.ts";
import { stateDirOf, usableConfig } from "./config.ts";
import { type ExitCode, exitCodes, type Output } from "./output.ts";
import { canAsk, isConfirmed } from "./question.ts";
import { type Reach, reach } from "./reach.ts";

/** What `kill`, `cancel` and `sql` have in common. */
export const handOptions: NonNullable<CommandSpec["options"]> = [
  { flags: "--target <name>", describe: "the target; needed when the config has several" },
  { flags: "--lift-protection", describe: "even if it is protected by default or by protect" },
  { flags: "--yes", describe: "without asking; needed where nobody can be asked" },
];

export type Wish = Readonly<{ command: string; session: string; way: Way; given: Given; output: Output }>;

/** Finds the session, shows it, asks, and cancels or ends it. */
export async function byHand({ command, session, way, given, output }: Wish): Promise<ExitCode> {
  const complain = (text: string): ExitCode => {
    output.err(quietText(`lockwarden ${command}: ${text}`));
    return exitCodes.usage;
  };
  const handle = readHandle(session);
  if (handle.kind === "wrong") return complain(handle.text);
  const loaded = usableConfig(given.config, output);
  if (loaded === null) return exitCodes.usage;
  const target = targetOf(loaded.config, given.options["target"]);
  if (typeof target === "string") return complain(target);
  const warn = (text: string) => output.err(`warning: ${quietText(text)}`);
  const { config, digest } = loaded;
  const route = reach({ config, digest, target, file: given.config, stateDir: stateDirOf(config), warn });
  try {
    const lift = given.options["liftProtection"] === true;
    const sessionId = handle.kind === "alone" ? null : handle.sessionId;
    // One number may be a pid, of which there is more to say.
    if (sessionId !== null && isMute(given)) return complain(muteText);
    const asked = { pid: handle.pid, sessionId, identity: null, way, lift };
    return await carryOut(asked, route, { target: target.name, given, output, complain });
  } finally {
    await route.close();
  }
}

export function targetOf({ targets }: Config, wanted: string | boolean | undefined): Target | string {
  const names = targets.map(({ name }) => name).join(", ");
  const [only] = targets;
  if (wanted === undefined) {
    if (targets.length === 1 && only !== undefined) return only;
    return `expected --target NAME, as the config has several targets: ${names}`;
  }
  const named = targets.find(({ name }) => name === wanted);
  return named ?? `--target: expected one of ${names}, got ${JSON.stringify(wanted)}`;
}

const muteText = "nothing was sent: there is no terminal to ask on; --yes goes ahead without asking";

function isMute({ options }: Given): boolean {
  return options["yes"] !== true && !canAsk();
}

type Telling = Readonly<{ target: string; given: Given; output: Output; complain(text: string): ExitCode }>;

async function carryOut(asked: Asked, { find, act }: Reach, telling: Telling): Promise<ExitCode> {
  const { given, output, complain } = telling;
  const found = await find(asked);
  if (found.kind === "unclear") return complain(found.text);
  if (found.kind === "found" && isMute(given)) return complain(muteText);
  if (found.kind !== "found")
    return tell(unfound(found), "picture" in found ? found.picture : null, { ...telling, asked });
  const { picture } = found;
  const columns = output.isTerminal ? output.columns : Number.POSITIVE_INFINITY;
  for (const line of pictureLines(picture, columns)) output.err(quietText(line));
  if (given.options["yes"] !== true) {
    // What is written before a question must be on the screen before it.
    await output.flush();
    if (!(await isConfirmed(questionOf(asked.way, picture.person.state)))) {
      output.err("nothing was sent");
      return exitCodes.failed;
    }
  }
  const result = await act({ ...asked, identity: picture.identity }, asker());
  return tell(result, picture, { ...telling, asked });
}

function unfound({ kind, text }: Exclude<Found, { kind: "found" }>): HandResult {
  const result = (outcome: HandOutcome): HandResult => ({ outcome, text: `${text}; nothing was sent`, steps: [] });
  switch (kind) {
    case "gone":
    case "changed":
    case "unreachable":
    case "refused":
      return result(kind);
    case "unseen":
      return result("denied");
    case "idle":
    case "unclear":
      return result("failed");
    default:
      return unreachable(kind);
  }
}

function tell(
  { outcome, text, steps }: HandResult,
  picture: Picture | null,
  { target, given, output, asked: { pid, sessionId } }: Telling & Readonly<{ asked: Asked }>,
): ExitCode {
  if (given.json) {
    const { user = null, database = null, application = null, client = null, state = null } = picture?.person ?? {};
    const named = { pid: picture?.person.pid ?? pid, sessionId: picture?.person.sessionId ?? sessionId };
    const session = { ...named, user, database, application, client, state };
    const taken = steps.map((step) => ({ action: step.action, outcome: step.outcome.kind, text: step.outcome.text }));
    output.out(quietJson(JSON.stringify({ target, session, outcome, text, steps: taken })));
    return exitCodeOf(outcome);
  }
  const who = picture === null ? writtenText(pid, sessionId) : handleOf(picture.person);
  for (const step of steps)
    output.out(quietText(`${target}: ${step.action} ${who}: ${step.outcome.kind}: ${step.outcome.text}`));
  if (steps.at(-1)?.outcome.text !== text) output.out(quietText(`${target}: ${who}: ${outcome}: ${text}`));
  return exitCodeOf(outcome);
}

function writtenText(pid: string, sessionId: string | null): string {
  return sessionId === null ? pid : `${pid},${sessionId}`;
}

function exitCodeOf(outcome: HandOutcome): ExitCode {
  switch (outcome) {
    case "released":
      return exitCodes.done;
    case "denied":
    case "unreachable":
      return exitCodes.target;
    case "gone":
    case "changed":
    case "survived":
    case "failed":
    case "unknown":
    case "refused":
      return exitCodes.failed;
    default:
      return unreachable(outcome);
  }
}
