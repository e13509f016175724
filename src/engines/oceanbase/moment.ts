const form = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,9})? ?([+-]\d\d:?\d\d)$/;
const seconds = /^(\d{9,11})(\.\d{1,9})?$/;

/** The server's clock, a moment with its offset or seconds since 1970, as ISO 8601 in UTC with all its digits. */
export function momentOf(text: string | null | undefined): string {
  const [, epoch, part = ""] = seconds.exec(text?.trim() ?? "") ?? [];
  if (epoch !== undefined) return `${iso(Number(epoch) * 1_000)}${part}Z`;
  const [, day, time, fraction = "", offset] = form.exec(text?.trim() ?? "") ?? [];
  if (day === undefined || time === undefined || offset === undefined)
    throw new Error(`the server answered without its clock: got ${JSON.stringify(text ?? null)}`);
  const zone = `${offset.slice(0, 3)}:${offset.slice(-2)}`;
  return `${iso(Date.parse(`${day}T${time}${zone}`))}${fraction}Z`;
}

/** To the second. */
function iso(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19);
}
