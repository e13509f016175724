/** What the promise comes to within that time, else the other value. */
export async function within<T>(ms: number, promise: Promise<T>, otherwise: T): Promise<T> {
  let bound: NodeJS.Timeout | undefined;
  const late = new Promise<T>((resolve) => {
    bound = setTimeout(() => resolve(otherwise), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(bound));
}

/** Waits for its end, but no longer than that; how it ends is of no interest. */
export async function patiently(ms: number, promise: Promise<unknown>): Promise<void> {
  const ended = promise.then(
    () => undefined,
    () => undefined,
  );
  await within(ms, ended, undefined);
}
