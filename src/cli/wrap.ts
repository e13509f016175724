/** Breaks at spaces, so that no line is longer than `columns`; later lines begin with the indent. A longer word stays whole. */
export function wrap(text: string, columns: number, indent: string): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (Array.from(longer).length <= columns || line.trim() === "") line = longer;
    else {
      lines.push(line);
      line = `${indent}${word}`;
    }
  }
  return [...lines, line];
}
