/** How a signal is sent. */
export type Way = "guarded" | "by pid alone" | "through the executor";

/** One that the server says it sent, in the order of sending; a pid gets its next one only when this one is over. */
export type Signal = Readonly<{ way: Way; pid: string; judged: string }>;

/** What a client suffered. Transactions are named by their start, as the server shows it: later ones compare greater. */
export type Hit = Readonly<{
  pid: string;
  /** Its last transaction that had ended by then; empty: none. */
  after: string;
  /** The one that was hit; null: none was open, or its start had not been told yet. */
  in: string | null;
  /** The one that came next, as far as it is known. */
  before: string | null;
}>;

export type Score = Readonly<{ signals: number; right: number; wrong: number; nobody: number }>;
export type Scores = Readonly<{
  byWay: ReadonlyMap<Way, Score>;
  /** Hits that no signal explains: with any of these the count is worth nothing. */
  strays: readonly Hit[];
}>;

/**
 * Whom each signal hit. It can hit nobody before the transaction that was judged, and nobody from the next one on that was
 * judged in the same session, as that happens when its effect is over. A cancel that comes between two transactions hits nobody.
 */
export function score(signals: readonly Signal[], hits: readonly Hit[]): Scores {
  const ofPid = new Map<string, Signal[]>();
  for (const signal of signals) ofPid.set(signal.pid, [...(ofPid.get(signal.pid) ?? []), signal]);
  const found = new Map<Signal, "right" | "wrong">();
  const strays: Hit[] = [];
  for (const hit of hits) {
    const signal = ofPid.get(hit.pid)?.findLast((one) => mayHaveSent(one, hit));
    if (signal === undefined || found.has(signal)) strays.push(hit);
    else found.set(signal, isRight(signal, hit) ? "right" : "wrong");
  }
  const byWay = new Map<Way, Score>();
  for (const signal of signals) {
    const so = byWay.get(signal.way) ?? { signals: 0, right: 0, wrong: 0, nobody: 0 };
    const result = found.get(signal) ?? "nobody";
    byWay.set(signal.way, { ...so, signals: so.signals + 1, [result]: so[result] + 1 });
  }
  return { byWay, strays };
}

function mayHaveSent({ judged }: Signal, hit: Hit): boolean {
  if (hit.in !== null) return judged <= hit.in;
  return hit.before === null || judged < hit.before;
}

/** Between two known transactions a session had the judged one only if it began after the first of them. */
function isRight({ judged }: Signal, hit: Hit): boolean {
  return hit.in === null ? judged > hit.after : judged === hit.in;
}
