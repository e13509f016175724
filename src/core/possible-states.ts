import type { Conditions } from "../config/schema.ts";

export type State = NonNullable<Conditions["state"]>[number];

export const everyState: readonly State[] = ["active", "idle", "idle in transaction", "idle in transaction (aborted)"];

/** The only locks that outlive a transaction: what the server calls advisory. */
const sessionLocktypes: readonly string[] = ["advisory", "userlock"];
const sessionLockModes: readonly string[] = ["ShareLock", "ExclusiveLock"];

/** The states in which a session could meet all of these conditions. */
export function possibleStates(match: Conditions): readonly State[] {
  const { state = everyState, idle_for: idleFor, query_for: queryFor, query, waits } = match;
  const namesIdle = match.state?.includes("idle") === true;
  const onlyActive = queryFor !== undefined || query !== undefined || waits !== undefined;
  return state.filter((one) => {
    if (one === "active") return idleFor === undefined;
    if (onlyActive) return false;
    return one !== "idle" || (needsTransaction(match) === null && (idleFor === undefined || namesIdle));
  });
}

/** The condition that a session without a transaction cannot meet; null: there is none. */
export function needsTransaction({
  transaction_for: transactionFor,
  xmin_age: xminAge,
  has_written: hasWritten,
  blocks,
  holds,
}: Conditions): "transaction_for" | "xmin_age" | "has_written" | "blocks" | "holds" | null {
  if (transactionFor !== undefined) return "transaction_for";
  if (xminAge !== undefined) return "xmin_age";
  if (hasWritten === true) return "has_written";
  if (blocks !== undefined && !mayBlockAcross(blocks)) return "blocks";
  if (holds === undefined) return null;
  const kept = holds.modes === undefined || holds.modes.some((mode) => sessionLockModes.includes(mode));
  return holds.tables === undefined && kept ? null : "holds";
}

/** Could the block last longer than the transaction that began it? */
export function mayBlockAcross({ locktypes, tables }: NonNullable<Conditions["blocks"]>): boolean {
  return tables === undefined && locktypes.some((one) => sessionLocktypes.includes(one));
}

/** Locks of these kinds are about no table. */
export function areOfNoTable(locktypes: readonly string[]): boolean {
  return locktypes.every((one) => sessionLocktypes.includes(one));
}
