import type { Target } from "../config/schema.ts";
import { type Forest, treeOf } from "../core/tree.ts";
import { quietText } from "../daemon/log-line.ts";
import { failureText } from "../daemon/once-report.ts";
import type { Link } from "../engines/engine.ts";
import { engineFor } from "../engines/registry.ts";

/** What is known of one target. */
export type View =
  | Readonly<{ kind: "asked"; target: string; lateMs: number }>
  | Readonly<{ kind: "seen"; target: string; forest: Forest; lateMs: number }>
  | Readonly<{ kind: "failed"; target: string; text: string }>;

/** Looks at one target and never acts. The connection stays open between looks; after a failure the next look connects anew. */
export type Observer = Readonly<{
  /** Never rejects. A look that is under way is not started twice. */
  look(signal: AbortSignal): Promise<void>;
  view(): View;
  close(): Promise<void>;
}>;

export function observe(target: Target, now: () => number = () => performance.now()): Observer {
  let link: Link | null = null;
  let looking: Promise<void> | null = null;
  let askedAt = 0;
  let last: Exclude<View, { kind: "asked" }> | null = null;

  const close = async (): Promise<void> => {
    const open = link;
    link = null;
    // What went wrong is told already; a connection that is lost cannot say goodbye.
    await open?.close().catch(() => undefined);
  };
  const lookNow = async (signal: AbortSignal): Promise<void> => {
    try {
      link ??= await engineFor(target).connect(target, signal);
      const snapshot = await link.read({ sessions: "transactions", locks: true }, signal);
      last = { kind: "seen", target: target.name, forest: treeOf(snapshot), lateMs: 0 };
    } catch (error) {
      last = { kind: "failed", target: target.name, text: quietText(failureText(error)) };
      await close();
    }
    looking = null;
  };
  return {
    look: (signal) => {
      if (looking === null) {
        askedAt = now();
        looking = lookNow(signal);
      }
      return looking;
    },
    view: () => {
      const lateMs = looking === null ? 0 : now() - askedAt;
      if (last === null) return { kind: "asked", target: target.name, lateMs };
      return last.kind === "seen" ? { ...last, lateMs } : last;
    },
    close: async () => {
      await looking;
      await close();
    },
  };
}
