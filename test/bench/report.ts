import type { Interval, Summary } from "./statistics.ts";

/** First column text, the others figures. */
export type Table = Readonly<{
  title: string;
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}>;

export type Verdict = Readonly<{ what: string; target: string; got: string; met: boolean }>;

/** What one scenario found. */
export type Report = Readonly<{
  /** Under what the figures hold. */
  conditions: readonly string[];
  tables: readonly Table[];
  verdicts: readonly Verdict[];
}>;

export type Scenario = Readonly<{
  name: string;
  about: string;
  /** Measures a server: run once for each version. */
  needsServer: boolean;
  run(major: number): Promise<Report>;
}>;

export function renderReport({ conditions, tables }: Report): string {
  return [...conditions.map((condition) => `  ${condition}`), ...tables.map((table) => `\n${renderTable(table)}`)].join(
    "\n",
  );
}

export function renderTable({ title, columns, rows }: Table): string {
  const lines = [columns, ...rows];
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => (line[at] ?? "").length)));
  const draw = (line: readonly string[]) =>
    `  ${widths.map((width, at) => (at === 0 ? (line[at] ?? "").padEnd(width) : (line[at] ?? "").padStart(width))).join("  ")}`.trimEnd();
  const rule = `  ${widths.map((width) => "-".repeat(width)).join("  ")}`;
  return [`  ${title}`, draw(columns), rule, ...rows.map(draw)].join("\n");
}

export function renderVerdict({ what, target, got, met }: Verdict): string {
  return `  ${met ? "met    " : "not met"}  ${what}: ${got} (target: ${target})`;
}

/** Three significant digits are as many as a shared machine gives. */
export function figure(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

export const summaryColumns = ["n", "min", "median", "p99", "max"];

export function summaryCells({ count, min, median, p99, max }: Summary): readonly string[] {
  return [String(count), figure(min), figure(median), figure(p99), figure(max)];
}

export function intervalText({ low, high }: Interval): string {
  return `${figure(low)}..${figure(high)}`;
}
