import { spokenDuration } from "../core/spoken-duration.ts";
import { unreachable } from "../core/unreachable.ts";
import { quietJson } from "../daemon/log-line.ts";
import type { QueryText } from "../query-text.ts";
import type { View } from "./observer.ts";
import { type Line, renderLine } from "./terminal-text.ts";
import { failureTreeReport, type TreeReport, treeReport } from "./tree-report.ts";
import { forestLines } from "./tree-text.ts";
import { wrap } from "./wrap.ts";

/** A look that takes longer than this is spoken of. */
const lateMs = 1_000;

export type Shape = Readonly<{
  json: boolean;
  /** Everybody, however many wait. */
  all: boolean;
  /** What of a statement may be shown. */
  show: QueryText;
}>;

export type Medium = Readonly<{
  /** null: lines of any length. */
  columns: number | null;
  colour: boolean;
}>;

/** Everything that is shown of one look at all targets. */
export function frame(views: readonly View[], shape: Shape, { columns, colour }: Medium): readonly string[] {
  if (shape.json) return [quietJson(JSON.stringify({ targets: views.map((view) => reportOf(view, shape.show)) }))];
  return views
    .flatMap((view, place) => [...(place === 0 ? [] : [[]]), ...viewLines(view, shape, columns)])
    .map((line) => renderLine(line, columns, colour));
}

function reportOf(view: View, show: QueryText): TreeReport {
  switch (view.kind) {
    case "seen":
      return treeReport(view.forest, show);
    case "asked":
      return failureTreeReport(view.target, "no answer yet");
    case "failed":
      return failureTreeReport(view.target, view.text);
    default:
      return unreachable(view);
  }
}

function viewLines(view: View, shape: Shape, columns: number | null): readonly Line[] {
  const prose = (text: string) => (columns === null ? [text] : wrap(text, columns, ""));
  const said = (text: string, style: "red" | "yellow") => prose(text).map((line): Line => [{ style, text: line }]);
  switch (view.kind) {
    case "asked":
      return [[`${view.target}: no answer yet`]];
    case "failed":
      return said(`${view.target}: ${view.text}`, "red");
    case "seen": {
      const { forest } = view;
      const late = `no answer to a look for ${spokenDuration(view.lateMs)}; this is of ${forest.snapshot.at}`;
      return [
        ...forestLines(forest, shape),
        ...(view.lateMs < lateMs ? [] : said(late, "yellow")),
        ...forest.snapshot.gaps.flatMap((gap) => said(`note: ${gap}`, "yellow")),
      ];
    }
    default:
      return unreachable(view);
  }
}
