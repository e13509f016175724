import { styleText } from "node:util";
import { quietText } from "../daemon/log-line.ts";
import type { Output } from "./output.ts";
import { wrap } from "./wrap.ts";

// What `check` found, as data: printed for people, and counted for the exit code.

export type Mark = "ok" | "note" | "warning" | "error";

export type Found = Readonly<{
  mark: Mark;
  text: string;
  /** Never broken into lines of our own: it is there to be copied. */
  sql?: string;
}>;

/** One thing that was looked at. */
export type Group = Readonly<{ heading: string; summary: string; found: readonly Found[] }>;

const colours = { ok: "green", note: "dim", warning: "yellow", error: "red" } as const;

/** The worst that was found; a note is no flaw. */
export function verdict({ found }: Group): "ok" | "warning" | "error" {
  if (found.some(({ mark }) => mark === "error")) return "error";
  return found.some(({ mark }) => mark === "warning") ? "warning" : "ok";
}

export function printGroup(group: Group, output: Output): void {
  const mark = verdict(group);
  // A single error is the whole of what there is to say.
  const whole = group.summary === "" ? group.found[0] : undefined;
  prose(`${group.heading}: `, mark, `: ${whole?.text ?? group.summary}`, "", output);
  for (const { mark: own, text, sql } of group.found.slice(whole === undefined ? 0 : 1)) {
    prose("", own, `: ${text}`, "  ", output);
    if (sql !== undefined && sql !== "") for (const line of sql.trimEnd().split("\n")) output.out(`    ${line}`);
  }
}

function prose(before: string, mark: Mark, after: string, indent: string, output: Output): void {
  const plain = quietText(`${before}${mark}${after}`);
  const lines = wrap(plain, output.columns, indent);
  const word = quietText(before).length + indent.length;
  const [first = "", ...rest] = lines;
  // Coloured only now: what does not show has no width.
  const shown = output.colour && first.startsWith(mark, word) ? paint(first, mark, word) : first;
  for (const line of [shown, ...rest]) output.out(line);
}

function paint(line: string, mark: Mark, at: number): string {
  return `${line.slice(0, at)}${styleText(colours[mark], mark)}${line.slice(at + mark.length)}`;
}

/** What the whole comes to: `2 warnings`, or nothing. */
export function countText(groups: readonly Group[], mark: Mark): string {
  const count = groups.reduce((sum, { found }) => sum + found.filter((one) => one.mark === mark).length, 0);
  return count === 0 ? "" : `${count} ${mark}${count === 1 ? "" : "s"}`;
}
