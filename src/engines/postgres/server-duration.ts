const unitsMs = { us: 0.001, ms: 1, s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds of a timeout as somebody set it for a role or a database, `10s`, `1 min`, `500`; null: in a form that is not known. */
export function parseServerDuration(text: string): number | null {
  const found =
    /^\s*(?<amount>0x[0-9a-f]+|[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?|[0-9]+\.)\s*(?<unit>us|ms|s|min|h|d)?\s*$/i.exec(text);
  const { amount, unit = "ms" } = found?.groups ?? {};
  if (amount === undefined || !isUnit(unit)) return null;
  // C's way of writing octal numbers counts here too.
  const number = /^0[0-7]+$/.test(amount) ? Number.parseInt(amount, 8) : Number(amount);
  return Number.isFinite(number) ? Math.round(number * unitsMs[unit]) : null;
}

/** Units are case-sensitive, as the server has it. */
function isUnit(unit: string): unit is keyof typeof unitsMs {
  return unit in unitsMs;
}
