import { LinkLost } from "../engine.ts";

/** What an error of the server's means for a signal. */
export type Failure = Readonly<{ kind: "gone" | "denied" | "failed" | "lost"; error: string }>;

/** By its words and the product's own error number: the driver's names for the numbers are those of another product. */
export function classify(error: unknown): Failure {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof LinkLost) return { kind: "lost", error: text };
  if (/-4174\b|Unknown thread id/.test(text)) return { kind: "gone", error: text };
  if (/-5251\b|not owner of thread|(ORA|OBE)-01031|Access denied/.test(text)) return { kind: "denied", error: text };
  return { kind: "failed", error: text };
}
