import type { Log } from "../../src/notify/log-channel.ts";

/** A log that keeps its lines as `level text`. */
export function logLines(): Readonly<{ log: Log; lines: string[] }> {
  const lines: string[] = [];
  const write = (level: string) => (_fields: unknown, text: string) => {
    lines.push(`${level} ${text}`);
  };
  return { lines, log: { info: write("info"), warn: write("warn"), error: write("error") } };
}
