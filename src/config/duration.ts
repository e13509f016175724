const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof units;

/** The form of a duration, for the JSON Schema too: one or more of NUMBER UNIT, such as 30s, 1h30m, 250ms. */
export const durationPattern = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

/** Ten years: past it somebody mistyped. */
export const longestDurationMs = 3_650 * units.d;

/** Milliseconds, from 1 to ten years, of text such as `30s`, `1h30m`, `250ms`; null when it is no such duration. */
export function parseDuration(text: string): number | null {
  if (!durationPattern.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    total += Number(amount) * units[unit as Unit];
  const ms = Math.round(total);
  return ms >= 1 && ms <= longestDurationMs ? ms : null;
}

/** The shortest text that parseDuration reads back to the same number of milliseconds. */
export function formatDuration(ms: number): string {
  let rest = Math.max(0, Math.round(ms));
  if (rest === 0) return "0s";
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"] as const) {
    const count = Math.floor(rest / units[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * units[unit];
  }
  return text;
}
