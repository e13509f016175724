import { once } from "./once.ts";
import type { NodeKey, Relation } from "./session.ts";
import type { Hold } from "./snapshot.ts";

/** All granted locks of one look, found by who holds them or by what they are. */
export type HeldLocks = Readonly<{
  of(node: NodeKey): readonly Hold[];
  /** Everybody who holds such a lock; asked once for each table and mode, not for each lock. */
  holders(fits: (hold: Pick<Hold, "mode" | "relation">) => boolean): ReadonlySet<NodeKey>;
}>;

const none: readonly Hold[] = [];

export function heldLocks(holds: readonly Hold[]): HeldLocks {
  const byHolder = once(() => holdsByHolder(holds));
  const byKind = once(() => kindsOf(holds));
  return {
    of: (node) => byHolder().get(node) ?? none,
    holders: (fits) => {
      const found = new Set<NodeKey>();
      for (const { mode, relation, holders } of byKind()) {
        if (fits({ mode, relation })) for (const holder of holders) found.add(holder);
      }
      return found;
    },
  };
}

function holdsByHolder(holds: readonly Hold[]): ReadonlyMap<NodeKey, readonly Hold[]> {
  const found = new Map<NodeKey, Hold[]>();
  for (const hold of holds) {
    const list = found.get(hold.holder);
    if (list === undefined) found.set(hold.holder, [hold]);
    else list.push(hold);
  }
  return found;
}

type Kind = Readonly<{ mode: string; relation: Relation | null; holders: NodeKey[] }>;

/** A hundred thousand locks are of a few hundred kinds. */
function kindsOf(holds: readonly Hold[]): readonly Kind[] {
  const kinds: Kind[] = [];
  const byRelation = new Map<Relation | null, Map<string, Kind>>();
  for (const { holder, mode, relation } of holds) {
    let byMode = byRelation.get(relation);
    if (byMode === undefined) byRelation.set(relation, (byMode = new Map()));
    let kind = byMode.get(mode);
    if (kind === undefined) {
      kind = { mode, relation, holders: [] };
      byMode.set(mode, kind);
      kinds.push(kind);
    }
    kind.holders.push(holder);
  }
  return kinds;
}
