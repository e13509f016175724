import { type Link, LinkLost } from "../engines/engine.ts";
import type { Interlude } from "./askers.ts";
import type { Settings } from "./settings.ts";
import type { Watch } from "./watch.ts";

/** A link to a watched target whose every call takes a turn of its own between two looks. */
export type Turns = Readonly<{ settings: Settings; link: Interlude["link"]; signal: AbortSignal }>;

type Call<T> = (link: Interlude["link"]) => Promise<T>;

/**
 * Whoever acts by hand waits for proofs, for as long as verify_for; the loop goes on meanwhile, as each statement takes
 * only its own time. All of them go over one connection: another one may be to another server, where the same process id
 * is somebody else.
 */
export async function inTurns(watch: Pick<Watch, "between">, left: AbortSignal): Promise<Turns> {
  const first = await unlessAborted(
    watch.between((now) => Promise.resolve(now)),
    left,
  );
  const { settings, signal } = first;
  const lost = () => new LinkLost("lost", `the connection to ${settings.target.name} was lost in between`);
  const turn = <T>(call: Call<T>, until: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      let state: "waiting" | "begun" | "over" = "waiting";
      const giveUp = () => {
        // What has begun is seen to its end; a turn that comes after that does nothing.
        if (state !== "waiting") return;
        state = "over";
        reject(until.aborted ? until.reason : signal.reason);
      };
      const stop = AbortSignal.any([signal, until]);
      if (stop.aborted) return giveUp();
      stop.addEventListener("abort", giveUp, { once: true });
      const take = async ({ link }: Interlude): Promise<void> => {
        if (state === "over") return;
        state = "begun";
        if (link !== first.link) return reject(lost());
        resolve(await call(link));
      };
      watch.between(take).catch(reject);
    });
  return { settings, signal, link: linkOf(turn) };
}

function linkOf(turn: <T>(call: Call<T>, until: AbortSignal) => Promise<T>): Interlude["link"] {
  const act: Link["act"] = async (order, signal) => {
    let begun = false;
    const call: Call<Awaited<ReturnType<Link["act"]>>> = (link) => {
      begun = true;
      return link.act(order, signal);
    };
    try {
      return await turn(call, signal);
    } catch (error) {
      if (begun) throw error;
      const why = error instanceof Error ? error.message : String(error);
      return { kind: "failed", error: `${why}; nothing was sent` };
    }
  };
  return {
    act,
    read: (look, signal) => turn((link) => link.read(look, signal), signal),
    prove: (evidence, signal) => turn((link) => link.prove(evidence, signal), signal),
    probe: (probe, signal) => turn((link) => link.probe(probe, signal), signal),
  };
}

export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return Promise.race([promise, aborted]);
}
