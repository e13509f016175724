const struck = "[redacted]";
const longestText = 8_192;
const deepest = 6;
const longestList = 100;

/** Keys whose values are secret at any depth; a `…_file` twin only says where the secret lies. */
const secretKey =
  /pass(?:word|wd|phrase)|secret|token|credential|authorization|cookie|private_?key|api_?key|conn(?:ection)?_?(?:string|info)|dsn|(?:^|_)(?:url|uri|smtp|webhook)$|(?:Url|Uri)$/i;
const place = /(?:_file|File)$/;

/** A copy of `value` that is safe to print: no secrets, nothing cyclic, nothing without end. */
export function discreet(value: unknown, above: readonly object[] = []): unknown {
  if (typeof value === "string") return discreetText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "function" || typeof value === "symbol") return `[${typeof value}]`;
  return typeof value === "object" && value !== null ? discreetObject(value, above) : value;
}

/** Text without the passwords that stand in its URLs and connection strings, and not too long. */
export function discreetText(text: string): string {
  const cut = text.length > longestText ? `${text.slice(0, longestText)}… (${text.length} characters)` : text;
  return cut
    .replace(/(:\/\/[^\s:/@]*):[^\s]*@/g, `$1:${struck}@`)
    .replace(/(password|passphrase|secret|token)(\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&'"]+)/gi, `$1$2${struck}`);
}

function discreetObject(value: object, above: readonly object[]): unknown {
  if (above.includes(value)) return "[circular]";
  if (above.length >= deepest) return "[…]";
  const path = [...above, value];
  try {
    if (value instanceof Error) return discreetError(value, path);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[no date]" : value.toISOString();
    if (value instanceof URL) return discreetText(value.href);
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (value instanceof Map) return discreet([...value.entries()], path);
    if (value instanceof Set) return discreet([...value.values()], path);
    if (Array.isArray(value)) return discreetList(value, path);
    return discreetRecord(value, path);
  } catch {
    // A getter or a proxy that throws must not take the daemon with it.
    return "[unreadable]";
  }
}

function discreetList(list: readonly unknown[], path: readonly object[]): unknown[] {
  const shown = list.slice(0, longestList).map((item) => discreet(item, path));
  return list.length > longestList ? [...shown, `… (${list.length} entries)`] : shown;
}

function discreetRecord(record: object, path: readonly object[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([key, item]) => {
      const secret = secretKey.test(key) && !place.test(key) && item !== null && item !== undefined;
      return [key, secret && typeof item !== "boolean" ? struck : discreet(item, path)];
    }),
  );
}

/** Drivers hang all sorts of things on their errors, connection settings included: only what says what happened is kept. */
function discreetError(error: Error, path: readonly object[]): Record<string, unknown> {
  const { code, cause, stack } = error as Error & { code?: unknown };
  return {
    type: error.name,
    message: discreetText(error.message),
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    ...(stack === undefined ? {} : { stack: discreetText(stack) }),
    ...(cause === undefined ? {} : { cause: discreet(cause, path) }),
  };
}
