/** Breaks at spaces, so that no line is longer than `columns`; each is indented, the later ones by two more. A longer word stays whole. */
export function wrap(text: string, columns: number, indent: string): readonly string[] {
  const [first = "", ...words] = text.split(" ");
  const lines: string[] = [];
  let line = `${indent}${first}`;
  for (const word of words) {
    const longer = `${line} ${word}`;
    if (Array.from(longer).length <= columns) {
      line = longer;
      continue;
    }
    lines.push(line);
    line = `${indent}  ${word}`;
  }
  return [...lines, line];
}
