import type { Asked, Way } from "../core/by-hand.ts";
import type { JournalEvent } from "../core/journal-event.ts";
import { plainText } from "../core/plain-text.ts";
import { actByHand, type Found, findByHand, type HandResult } from "./by-hand.ts";
import type { Log } from "./log-port.ts";
import { failureText } from "./once-report.ts";
import { inTurns } from "./turns.ts";
import type { Watch } from "./watch.ts";

/** What a command asks of the daemon: show that session, or act on it. */
export type HandRequest =
  | Readonly<{ command: "find"; target: string; asked: Asked }>
  | Readonly<{ command: "byHand"; target: string; asked: Asked; by: string }>;

/** What the daemon lends to whoever acts by hand. */
export type HandKit = Readonly<{
  write(event: JournalEvent): Promise<void>;
  newId(): string;
  now(): Date;
  log: Pick<Log, "info" | "warn">;
}>;

type Watched = readonly Readonly<{ name: string; watch: Watch }>[];
type Asking = Readonly<{ message: object; watched: Watched; signal: AbortSignal }>;

export async function answerFind({ message, watched, signal }: Asking): Promise<Found> {
  const { watch, asked } = addressed(message, watched);
  try {
    return await findByHand(asked, await inTurns(watch, signal));
  } catch (error) {
    return { kind: "unreachable", text: failureText(error) };
  }
}

export async function answerByHand({ message, watched, signal }: Asking, kit: HandKit): Promise<HandResult> {
  const { name, watch, asked } = addressed(message, watched);
  const { write, newId, now, log } = kit;
  const by = plainText("by" in message && typeof message.by === "string" ? message.by : "somebody", longestBy);
  try {
    const turns = await inTurns(watch, signal);
    const report = (level: "info" | "warn", facts: object, text: string) =>
      log[level]({ target: name, ...facts }, text);
    return await actByHand({ ...asked, by }, { ...turns, write, newId, now, report, heed: watch.heed, left: signal });
  } catch (error) {
    return { outcome: "unreachable", text: `${failureText(error)}; nothing was sent`, steps: [] };
  }
}

const longestBy = 200;
const ways: readonly Way[] = ["cancel", "gentle", "immediate"];

function addressed(message: object, watched: Watched): Watched[number] & Readonly<{ asked: Asked }> {
  const wanted = "target" in message ? message.target : undefined;
  const one = watched.find(({ name }) => name === wanted);
  if (one === undefined) {
    const names = watched.map(({ name }) => name).join(", ");
    throw new Error(`this daemon watches ${names}, and no target ${JSON.stringify(wanted)}`);
  }
  return { ...one, asked: askedOf("asked" in message ? message.asked : null) };
}

/** Nothing that was not asked for in full is done. */
function askedOf(value: unknown): Asked {
  const { pid, sessionId, identity, way, lift } =
    typeof value === "object" && value !== null ? (value as Partial<Asked>) : {};
  const numbered = typeof pid === "string" && (typeof sessionId === "string" || sessionId === null);
  const whole = numbered && typeof lift === "boolean";
  const named = identity === null || typeof identity === "string";
  const known = ways.find((one) => one === way);
  if (!whole || !named || known === undefined)
    throw new Error("the request names no session and no way to act on it; is it of the same version?");
  return { pid, sessionId, identity, way: known, lift };
}
