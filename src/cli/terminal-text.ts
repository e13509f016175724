import { styleText } from "node:util";

export type Style = "bold" | "dim" | "red" | "yellow" | "cyan";
export type Span = string | Readonly<{ style: Style; text: string }>;
export type Line = readonly Span[];

/** A whole character takes two columns: East Asian wide and full-width ones, and emoji that are shown as pictures. */
const wide =
  /[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{18d00}-\u{18d8f}\u{1aff0}-\u{1b2ff}\u{1f200}-\u{1f265}\u{20000}-\u{3fffd}]|(?!\p{Regional_Indicator})\p{Emoji_Presentation}/u;
/** Written onto the character before it. */
const mark = /[\p{Mn}\p{Me}]/u;
const picture = /^\p{Regional_Indicator}{2}$|^\p{Extended_Pictographic}\ufe0f|\p{Emoji_Modifier}$/u;
const plain = /^[ -~]*$/;
const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Columns that it takes in a terminal. Where terminals differ, the larger number: too short a line is better than one too long. */
export function textWidth(text: string): number {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += clusterWidth(segment);
  return width;
}

function clusterWidth(cluster: string): number {
  if (picture.test(cluster)) return 2;
  let width = 0;
  for (const character of cluster) if (!mark.test(character)) width += wide.test(character) ? 2 : 1;
  return width;
}

/** As much of it as fits, never half a character; what is cut ends in `…`. */
export function cutText(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text;
  if (columns < 1) return "";
  let room = columns - 1;
  let kept = "";
  for (const { segment } of segmenter.segment(text)) {
    room -= clusterWidth(segment);
    if (room < 0) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** Cut to the width (null: whole), then coloured. */
export function renderLine(line: Line, columns: number | null, colour: boolean): string {
  let left = columns ?? Number.POSITIVE_INFINITY;
  const parts: string[] = [];
  for (const [place, span] of line.entries()) {
    const text = typeof span === "string" ? span : span.text;
    const follows = line.slice(place + 1).some((later) => (typeof later === "string" ? later : later.text) !== "");
    // A line that goes on where no column is left must say so in the last one.
    const width = textWidth(text);
    const shown = width < left || (width === left && !follows) ? text : cutText(`${text}…`, left);
    if (shown !== "") parts.push(colour && typeof span !== "string" ? paint(span.style, shown) : shown);
    if (shown !== text) break;
    left -= width;
  }
  return parts.join("");
}

/** Whether there is colour at all is decided before: styleText would judge by stdout once more, and not in every version. */
function paint(style: Style, text: string): string {
  return styleText(style, text, { validateStream: false });
}
