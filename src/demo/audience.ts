import { setTimeout as sleep } from "node:timers/promises";
import { ruleName } from "./config-file.ts";
import { type DaemonProcess, mustRun } from "./daemon-process.ts";
import { DemoFailed } from "./failure.ts";
import { lookAtScene, type Scene } from "./scene.ts";
import type { Screen } from "./screen.ts";
import type { Stage } from "./stage.ts";
import { type Attempt, type Verdict, type View, waitingFrame } from "./view.ts";

/** Those who watch: shows the scene while something is waited for. */
export type Audience = Readonly<{
  /** Shows it for so long. */
  watchFor(ms: number): Promise<void>;
  /** Shows it until the condition holds. */
  watchUntil(what: string, condition: () => Promise<boolean>, withinMs: number): Promise<void>;
  view(): Promise<View>;
}>;

export type AudienceOptions = Readonly<{
  stage: Stage;
  daemon: DaemonProcess;
  screen: Screen;
  attempts(): readonly Attempt[];
  signal: AbortSignal;
}>;

const frameMs = 150;
const askAgainMs = 1_000;

export function createAudience({ stage, daemon, screen, attempts, signal }: AudienceOptions): Audience {
  const verdictOn = verdicts(daemon, signal);
  const view = async (): Promise<View> => {
    const scene = await lookAtScene(stage.service.observer);
    const verdict = await verdictOn(scene);
    return { scene, verdict, attempts: attempts(), rule: ruleName };
  };
  const frame = async (): Promise<void> => {
    mustRun(daemon);
    const seen = await view();
    if (seen.scene.root !== null) screen.draw(waitingFrame(seen));
    await sleep(frameMs, undefined, { signal });
  };
  return {
    view,
    watchFor: async (ms) => {
      const end = performance.now() + ms;
      while (performance.now() < end) await frame();
    },
    watchUntil: async (what, condition, withinMs) => {
      const end = performance.now() + withinMs;
      while (!(await condition())) {
        if (performance.now() > end) throw new DemoFailed(`${what}: expected within ${withinMs / 1_000} s`);
        await frame();
      }
    },
  };
}

/**
 * What the daemon makes of the root: it is asked when somebody new waits, and what it said is counted down from there.
 * Asking makes it look; between that and the release it is left to its own timing.
 */
function verdicts(daemon: DaemonProcess, signal: AbortSignal): (scene: Scene) => Promise<Verdict | null> {
  let asked = { key: "", at: Number.NEGATIVE_INFINITY };
  let answer: Readonly<{ verdict: Verdict; at: number }> | null = null;
  return async ({ root, waiting }) => {
    const key = [root, ...waiting].map((person) => person?.pid ?? "").join(" ");
    const now = performance.now();
    const isNews = key !== asked.key || (answer === null && now - asked.at > askAgainMs);
    if (root !== null && isNews) {
      asked = { key, at: now };
      const verdict = await ask(daemon, root.pid, signal);
      answer = verdict === null ? null : { verdict, at: performance.now() };
    }
    if (root === null || answer === null) return null;
    const { verdict, at } = answer;
    return verdict.kind === "wait" ? { ...verdict, leftMs: verdict.leftMs - (performance.now() - at) } : verdict;
  };
}

async function ask(daemon: DaemonProcess, pid: string, signal: AbortSignal): Promise<Verdict | null> {
  const reports = (await daemon.once(signal)) ?? [];
  const found = reports
    .flatMap(({ report }) => [...report.decisions])
    .find(({ rule, session }) => rule === ruleName && session["pid"] === pid);
  if (found === undefined) return null;
  if (found.decision === "wait" && found.inMs !== null) return { kind: "wait", leftMs: found.inMs };
  return { kind: "other", text: found.decision === "act" ? `${found.action} now` : `spares it: ${found.reason}` };
}
