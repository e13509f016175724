const form = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:\s*(Z|[+-]\d\d:?\d\d))?$/;

/** The server's clock as ISO 8601 in UTC, with all its digits; it comes in UTC where it names no offset. */
export function momentOf(text: string | null | undefined): string {
  const [, day, time, offset = "Z"] = form.exec(text?.trim() ?? "") ?? [];
  if (day === undefined || time === undefined)
    throw new Error(`the server answered without its clock: got ${JSON.stringify(text ?? null)}`);
  if (offset === "Z") return `${day}T${time}Z`;
  const [seconds = time, fraction = ""] = time.split(".");
  const utc = new Date(`${day}T${seconds}${offset.length === 5 ? `${offset.slice(0, 3)}:${offset.slice(3)}` : offset}`);
  return `${utc.toISOString().slice(0, 19)}${fraction === "" ? "" : `.${fraction}`}Z`;
}
