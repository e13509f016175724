// MySQL's client/server protocol 10, as much of it as a text query needs: framing, greeting, OK, error, result set.

/** A column of a result set; `type` is the protocol's number of it. */
export type Column = Readonly<{ name: string; type: number; numeric: boolean }>;
export type Cell = string | null;

/** Cuts a stream of bytes into packets: length in three bytes, sequence, payload. */
export function packetReader(take: (payload: Buffer, sequence: number) => void): (chunk: Buffer) => void {
  let unread: Buffer = Buffer.alloc(0);
  return (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    while (unread.length >= 4 && unread.length >= 4 + unread.readUIntLE(0, 3)) {
      const size = unread.readUIntLE(0, 3);
      const payload = unread.subarray(4, 4 + size);
      const sequence = unread[3] ?? 0;
      unread = unread.subarray(4 + size);
      take(payload, sequence);
    }
  };
}

export function frame(payload: Buffer, sequence: number): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head[3] = sequence & 0xff;
  return Buffer.concat([head, payload]);
}

/** A length-encoded integer; nothing here is longer than 2^24 bytes. */
function length(value: number): Buffer {
  if (value < 251) return Buffer.from([value]);
  if (value < 0x1_0000) return Buffer.from([0xfc, value & 0xff, value >> 8]);
  return Buffer.from([0xfd, value & 0xff, (value >> 8) & 0xff, value >> 16]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([length(bytes.length), bytes]);
}

function int(value: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntLE(value, 0, bytes);
  return buffer;
}

/** What OBServer and OBProxy announce. Bit 27 is not in it, although Oracle mode asks the client for that bit. */
const capabilities = { lower: 0xf7df, upper: (1 << 2) | (1 << 3) | (1 << 4) | (1 << 7) | (1 << 12) | (1 << 13) };
const utf8mb4 = 45;
const binary = 63;

export function greeting(threadId: number, salt: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([10]),
    Buffer.from("5.7.25\0", "latin1"),
    int(threadId, 4),
    salt.subarray(0, 8),
    Buffer.from([0]),
    int(capabilities.lower, 2),
    Buffer.from([utf8mb4]),
    int(2, 2),
    int(capabilities.upper, 2),
    Buffer.from([21]),
    Buffer.alloc(10),
    salt.subarray(8, 20),
    Buffer.from([0]),
    Buffer.from("mysql_native_password\0", "latin1"),
  ]);
}

export function ok(affected: number, status: number): Buffer {
  return Buffer.concat([Buffer.from([0]), length(affected), length(0), int(status, 2), int(0, 2)]);
}

export function error(errno: number, sqlState: string, message: string): Buffer {
  return Buffer.concat([Buffer.from([0xff]), int(errno, 2), Buffer.from(`#${sqlState}${message}`, "utf8")]);
}

function endOfRows(status: number): Buffer {
  return Buffer.concat([Buffer.from([0xfe]), int(0, 2), int(status, 2)]);
}

function definition({ name, type, numeric }: Column): Buffer {
  return Buffer.concat([
    ...["def", "", "", "", name, name].map(text),
    Buffer.from([0x0c]),
    int(numeric ? binary : utf8mb4, 2),
    int(1024, 4),
    Buffer.from([type]),
    int(numeric ? 0x80 : 0, 2),
    Buffer.from([0, 0, 0]),
  ]);
}

/** The packets of a result set, without their frames. */
export function resultSet(columns: readonly Column[], rows: readonly (readonly Cell[])[], status: number): Buffer[] {
  return [
    length(columns.length),
    ...columns.map(definition),
    endOfRows(status),
    ...rows.map((row) => Buffer.concat(row.map((cell) => (cell === null ? Buffer.from([0xfb]) : text(cell))))),
    endOfRows(status),
  ];
}
