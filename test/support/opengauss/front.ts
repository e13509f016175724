import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type SecureContextOptions, TLSSocket } from "node:tls";
import type { Account } from "./accounts.ts";
import { type Reader, reader } from "./frames.ts";
import { authenticate, refuse, type Startup, startupFor, startupOf, startupRefusal } from "./login.ts";
import type { Setting } from "./names.ts";
import { type House, relay } from "./relay.ts";

// The port: who comes in, by which protocol, and is let in or not.

export type Door = Readonly<{
  house: House;
  accounts: ReadonlyMap<string, Account>;
  answers: string[];
  added: Readonly<Record<string, Setting>>;
  tls: SecureContextOptions | null;
}>;

export type Front = Readonly<{ port: number; close(): Promise<void> }>;

const cancelRequest = 80_877_102;
const tlsRequest = 80_877_103;
const gssRequest = 80_877_104;

export async function front(door: Door): Promise<Front> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true, allowHalfOpen: false }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    void receive(door, socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the front listens on no port");
  return {
    port: address.port,
    close: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function receive(door: Door, socket: Socket): Promise<void> {
  const opened = await begin(door, socket);
  if (opened === null) return void socket.destroy();
  const { wire, startup, input } = opened;
  const user = startup.parameters.get("user") ?? "";
  const write = (bytes: Buffer) => void wire.write(bytes);
  const added = Object.keys(door.added);
  const refusal =
    startupRefusal(startup, added) ??
    (await authenticate({ input, write }, startup, door.accounts.get(user), () => void door.answers.push(user)));
  if (refusal !== null) {
    refuse(write, refusal);
    return void wire.end();
  }
  const seat = door.house.seats.open(socket.remotePort ?? 0);
  await relay(door.house, { user, socket: wire, input, startup: startupFor(startup, added), seat });
}

type Opened = Readonly<{ wire: Duplex; input: Reader; startup: Startup }>;

/** TLS first, if it is asked for; null: nobody who wants a session. */
async function begin(door: Door, socket: Socket): Promise<Opened | null> {
  let wire: Duplex = socket;
  let input = reader(socket);
  for (;;) {
    const body = await input.startup();
    if (body === null) return null;
    switch (body.readUInt32BE(0)) {
      case cancelRequest:
        await passCancel(door.house.backendPort, body);
        return null;
      case gssRequest:
        wire.write("N");
        break;
      case tlsRequest:
        if (door.tls === null) {
          wire.write("N");
          break;
        }
        input.release();
        wire.write("S");
        wire = new TLSSocket(socket, { isServer: true, ...door.tls });
        wire.on("error", () => undefined);
        input = reader(wire);
        break;
      default:
        return { wire, input, startup: startupOf(body) };
    }
  }
}

async function passCancel(port: number, body: Buffer): Promise<void> {
  const backend = connect({ port, host: "127.0.0.1" });
  backend.on("error", () => undefined);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length + 4);
  backend.end(Buffer.concat([head, body]));
  await new Promise((resolve) => backend.once("close", resolve));
}
