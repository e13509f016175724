const isoInUtc = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/;

/**
 * What Lockwarden's sessions are shown of a timestamptz (DateStyle ISO, TimeZone UTC), as text with all microseconds that any
 * session reads back. Done here, as the server's own to_char() costs as much as the rest of a row.
 */
export function momentOf(shown: string): string {
  const [, day, time, fraction = ""] = isoInUtc.exec(shown) ?? [];
  if (day === undefined || time === undefined) {
    throw new Error(
      `expected a moment as DateStyle ISO and TimeZone UTC show it, got ${JSON.stringify(shown)}: something changed these settings of Lockwarden's own session`,
    );
  }
  return `${day}T${time}.${fraction.padEnd(6, "0")}Z`;
}
