/** A signal that follows others for a while. */
export type BoundedSignal = Readonly<{
  signal: AbortSignal;
  /** It was the time that ran out. */
  isLate(): boolean;
  /** Lets go of what it follows; to be called in a `finally`. */
  release(): void;
}>;

/**
 * Aborts as soon as one of `signals` does, or after so many ms. AbortSignal.any would leave a trace in each signal that it
 * follows for as long as that one lives, and the daemon's own lives for months.
 */
export function boundedSignal(signals: readonly AbortSignal[], ms = Number.POSITIVE_INFINITY): BoundedSignal {
  const own = new AbortController();
  const follow = signals.map((signal) => ({ signal, abort: () => own.abort(signal.reason) }));
  let late = false;
  const expire = () => {
    late = true;
    own.abort(new Error(`not within ${Math.round(ms)} ms`));
  };
  const timer = Number.isFinite(ms) ? setTimeout(expire, ms) : undefined;
  for (const { signal, abort } of follow) {
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  }
  return {
    signal: own.signal,
    isLate: () => late,
    release: () => {
      clearTimeout(timer);
      for (const { signal, abort } of follow) signal.removeEventListener("abort", abort);
    },
  };
}
