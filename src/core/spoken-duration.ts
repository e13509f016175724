const units = [
  { name: "d", ms: 86_400_000 },
  { name: "h", ms: 3_600_000 },
  { name: "min", ms: 60_000 },
  { name: "s", ms: 1_000 },
] as const;

/** A duration for people, in its two largest units: `3 min 12 s`, `2 h 5 min`, `35 ms`. */
export function spokenDuration(ms: number): string {
  if (!Number.isFinite(ms)) return "unknown";
  if (ms < 1_000) return `${Math.max(0, Math.floor(ms))} ms`;
  const first = units.findIndex((unit) => ms >= unit.ms);
  const parts: string[] = [];
  let rest = ms;
  for (const unit of units.slice(first, first + 2)) {
    const count = Math.floor(rest / unit.ms);
    if (count > 0) parts.push(`${count} ${unit.name}`);
    rest -= count * unit.ms;
  }
  return parts.join(" ");
}

/**
 * How long a wait has lasted; null: not known. Where the server does not say when it began, the first look that sees it counts
 * from that look on: nothing, which nobody is to take for the truth.
 */
export function spokenWait(ms: number | null): string | null {
  return ms === null || ms === 0 ? null : spokenDuration(ms);
}
