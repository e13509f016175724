import { either } from "./mistake.ts";

/** Sunday is 0; `from` after `to` goes over the end of the week. */
export type DayRange = Readonly<{ from: number; to: number }>;
/** Minutes since midnight; `to` is not in it, and at or before `from` it is of the next day. */
export type HourRange = Readonly<{ from: number; to: number }>;

const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;
const word = days.join("|");
export const dayRangePattern = new RegExp(`^(${word})(?:-(${word}))?$`);
export const dayRangeForm = `a day or a range of days such as mon-fri (${either(days)})`;
export const hourRangePattern = /^(\d{2}):([0-5]\d)-(\d{2}):([0-5]\d)$/;
export const hourRangeForm = "hours such as 22:00-06:00, from 00:00 to 24:00";

export function parseDayRange(text: string): DayRange | null {
  const [, first = "", last = first] = dayRangePattern.exec(text) ?? [];
  const range = { from: days.findIndex((day) => day === first), to: days.findIndex((day) => day === last) };
  return range.from < 0 || range.to < 0 ? null : range;
}

/** null also for hours that begin and end at the same time: nobody knows whether that is never or always. */
export function parseHourRange(text: string): HourRange | null {
  const found = hourRangePattern.exec(text);
  if (found === null) return null;
  const [fromHour = 0, fromMinute = 0, toHour = 0, toMinute = 0] = found.slice(1).map(Number);
  const range = { from: fromHour * 60 + fromMinute, to: toHour * 60 + toMinute };
  return range.from < dayMinutes && range.to <= dayMinutes && range.from !== range.to ? range : null;
}

const dayMinutes = 1_440;
