/** `text`: null for a line that is longer than wanted. `ended`: with a line feed, so nothing of it is missing. */
export type TextLine = Readonly<{ text: string | null; ended: boolean }>;

/** The lines of a stream of bytes, of which never more than one and its chunk is held. */
export async function* textLines(chunks: AsyncIterable<Buffer>, longest: number): AsyncGenerator<TextLine> {
  let parts: Buffer[] = [];
  let length = 0;
  const add = (part: Buffer) => {
    length += part.length;
    if (length <= longest) parts.push(part);
    else parts = [];
  };
  const take = (ended: boolean) => {
    const text = length > longest ? null : Buffer.concat(parts).toString("utf8");
    parts = [];
    length = 0;
    return { text, ended };
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      add(chunk.subarray(start, end));
      yield take(true);
      start = end + 1;
    }
    add(chunk.subarray(start));
  }
  if (length > 0) yield take(false);
}
