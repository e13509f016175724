// Names and statements come from strangers: whoever connects may call himself a terminal escape or a mail header.

/** What takes room without being seen, or steers what shows it: controls, bidi and zero-width marks, lone surrogates. */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}]/gu;
/** And what ends a line; JSON writes only the first 32 as codes. */
const hidden = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const blanks = /[\s\p{Zl}\p{Zp}]+/gu;

/** One line of plain text: white space becomes one blank, what is unsafe to show becomes its code (`\x1b`, `\u202e`). */
export function plainText(text: string, maxLength: number): string {
  // Cut before looking, so that a statement of megabytes costs nothing; blanks may shrink, hence the room.
  const room = maxLength * 8 + 1_024;
  const line = text
    .slice(0, room)
    .replace(blanks, " ")
    .replace(unsafe, (character) => code(character.codePointAt(0) ?? 0))
    .trim();
  if (line.length <= maxLength && text.length <= room) return line;
  return `${line.slice(0, endOfWhole(line, Math.min(maxLength - 1, line.length)))}…`;
}

/** The same in quotes, with its blanks as they are: what somebody wrote, to be shown as it stands. */
export function quoted(text: string): string {
  return JSON.stringify(text).replace(hidden, (character) => code(character.codePointAt(0) ?? 0));
}

function code(point: number): string {
  if (point <= 0xff) return `\\x${point.toString(16).padStart(2, "0")}`;
  return point <= 0xffff ? `\\u${point.toString(16)}` : `\\u{${point.toString(16)}}`;
}

/** The last place at or before `end` that does not cut a surrogate pair in two. */
function endOfWhole(line: string, end: number): number {
  const last = line.charCodeAt(end - 1);
  return last >= 0xd800 && last <= 0xdbff ? end - 1 : Math.max(end, 0);
}
