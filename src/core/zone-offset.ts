/** How far the clocks of a time zone are ahead of UTC at a moment, both in ms; undefined: of this process's own zone. */
export function zoneOffset(timeZone: string | undefined): (atMs: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    calendar: "gregory",
    numberingSystem: "latn",
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
    ...(timeZone === undefined ? {} : { timeZone }),
  });
  return (atMs) => {
    const whole = Math.floor(atMs / 1_000) * 1_000;
    const parts: Record<string, number> = {};
    for (const { type, value } of format.formatToParts(whole)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second) - whole;
  };
}
