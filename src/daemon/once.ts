export type Once = Readonly<{
  /** Whether this text differs from the last one under this key: say it. */
  changed(key: string, text: string): boolean;
  /** It is well again: the next text is said even if it is the same. */
  clear(key: string): void;
}>;

/** Remembers the last text of each key, so that the same error is not repeated. */
export function createOnce(): Once {
  const said = new Map<string, string>();
  return {
    changed: (key, text) => {
      if (said.get(key) === text) return false;
      said.set(key, text);
      return true;
    },
    clear: (key) => void said.delete(key),
  };
}
