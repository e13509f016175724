import type { Duplex } from "node:stream";

// The frames of the PostgreSQL protocol, version 3: one letter, a length that counts itself, a body.

/** `whole`: all of its bytes. */
export type Frame = Readonly<{ kind: string; body: Buffer; whole: Buffer }>;

export type Reader = Readonly<{
  /** The first message of a connection has no letter. null: the peer is gone. */
  startup(): Promise<Buffer | null>;
  /** All whole frames that have come, at least one. null: the peer is gone. */
  frames(): Promise<readonly Frame[] | null>;
  /** One of them. */
  frame(): Promise<Frame | null>;
  /** Stops reading, so that somebody else may (TLS). */
  release(): void;
}>;

export function reader(socket: Duplex): Reader {
  let unread: Buffer = Buffer.alloc(0);
  let ended = false;
  let wake = (): void => undefined;
  const take = (chunk: Buffer): void => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    wake();
  };
  const end = (): void => {
    ended = true;
    wake();
  };
  socket.on("data", take);
  for (const event of ["end", "close", "error"]) socket.on(event, end);
  const until = async <T>(cut: () => T | null): Promise<T | null> => {
    for (;;) {
      const found = cut();
      if (found !== null || ended) return found;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  const cutFrame = (): Frame | null => {
    if (unread.length < 5 || unread.length <= unread.readUInt32BE(1)) return null;
    const size = 1 + unread.readUInt32BE(1);
    const frame = {
      kind: String.fromCharCode(unread[0] ?? 0),
      body: unread.subarray(5, size),
      whole: unread.subarray(0, size),
    };
    unread = unread.subarray(size);
    return frame;
  };
  return {
    startup: () =>
      until(() => {
        if (unread.length < 8 || unread.length < unread.readUInt32BE(0)) return null;
        const size = unread.readUInt32BE(0);
        const body = unread.subarray(4, size);
        unread = unread.subarray(size);
        return body;
      }),
    frame: () => until(cutFrame),
    frames: () =>
      until(() => {
        const found: Frame[] = [];
        for (let next = cutFrame(); next !== null; next = cutFrame()) found.push(next);
        return found.length === 0 ? null : found;
      }),
    release: () => {
      socket.off("data", take);
      for (const event of ["end", "close", "error"]) socket.off(event, end);
    },
  };
}

export function encode(kind: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(kind, 0, "latin1");
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** Texts with their closing zeros. */
export function cstrings(...texts: readonly string[]): Buffer {
  return Buffer.from(texts.map((text) => `${text}\0`).join(""));
}

export function cstringAt(body: Buffer, at: number): string {
  return body.toString("utf8", at, body.indexOf(0, at));
}

export type Complaint = Readonly<{ severity: string; code: string; message: string; hint?: string }>;

export function errorFrame({ severity, code, message, hint }: Complaint): Buffer {
  const fields = [`S${severity}`, `C${code}`, `M${message}`];
  if (hint !== undefined) fields.push(`H${hint}`);
  return encode("E", cstrings(...fields, ""));
}

/** The fields of an ErrorResponse or NoticeResponse by their letters. */
export function fieldsOf(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const text = cstringAt(body, at + 1);
    fields.set(String.fromCharCode(body[at] ?? 0), text);
    at += Buffer.byteLength(text) + 2;
  }
  return fields;
}

export function encodeFields(kind: string, fields: ReadonlyMap<string, string>): Buffer {
  return encode(kind, cstrings(...[...fields].map(([letter, text]) => letter + text), ""));
}
