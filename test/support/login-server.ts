import { createServer, type Socket } from "node:net";
import { after } from "node:test";
import { createSecureContext, TLSSocket } from "node:tls";

/** What one client did. */
export type LoginTalk = Readonly<{
  /** major.minor of its startup message. */
  protocol: string;
  /** Each of its password messages. */
  passwords: readonly string[];
}>;

export type LoginServer = Readonly<{ port: number; talks: readonly LoginTalk[] }>;

export type LoginScript = Readonly<{
  /** The bytes after the startup message. */
  ask: Buffer;
  /** The bytes after the password message; left out: it waits for ever. */
  reply?: (password: string) => Buffer;
  /** Chunks of one byte each. */
  dribbles?: boolean;
  /** Answers an SSLRequest with yes, by this certificate. */
  tls?: Readonly<{ key: string; cert: string }>;
}>;

/** A backend's message: type, length, body. */
export function message(type: string, ...parts: readonly (string | number | Buffer)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === "number" ? int32(part) : Buffer.from(part))));
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

export function errorMessage(code: string, text: string): Buffer {
  return message("E", `SFATAL\0C${code}\0M${text}\0\0`);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** Only the login of a server on loopback, byte for byte as the script says; it is closed after the tests of the file. */
export async function loginServer(script: LoginScript): Promise<LoginServer> {
  const sockets = new Set<Socket>();
  const talks: LoginTalk[] = [];
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    socket.once("data", (first) => {
      if (first.length === 8 && script.tls !== undefined) {
        socket.write("S");
        const secure = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(script.tls) });
        secure.on("error", () => undefined);
        secure.once("data", (startup: Buffer) => talk(secure, startup));
      } else talk(socket, first);
    });
  });
  const talk = (socket: Socket, startup: Buffer) => {
    const passwords: string[] = [];
    talks.push({ protocol: `${startup.readInt16BE(4)}.${startup.readInt16BE(6)}`, passwords });
    const say = (bytes: Buffer) => {
      socket.setNoDelay(true);
      if (script.dribbles === true) for (const byte of bytes) socket.write(Buffer.from([byte]));
      else socket.write(bytes);
    };
    socket.on("data", (bytes: Buffer) => {
      if (bytes[0] !== 0x70) return;
      const password = bytes.toString("utf8", 5, bytes.length - 1);
      passwords.push(password);
      if (script.reply !== undefined) say(script.reply(password));
    });
    say(script.ask);
  };
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("the login server listens on no port");
  return { port: address.port, talks };
}
