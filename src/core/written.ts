import type { Transaction } from "./session.ts";

/** Whether it has been given an id because it wrote; null: not known, or not asked for in this look. */
export function hasWritten(transaction: Transaction): boolean | null {
  if (transaction.kind !== "open") return transaction.kind === "none" ? false : null;
  return transaction.writeUnknown === true ? null : transaction.writeId !== null;
}

export function writtenText(written: boolean | null): string {
  return written === null ? "may have written" : written ? "has written" : "has not written";
}
