import { connect, createServer, type Socket } from "node:net";
import { after } from "node:test";

export type Switchboard = Readonly<{
  port: number;
  /** From now on the server of this port answers; who is connected loses the one before. */
  lead(port: number): void;
}>;

/** A port on loopback behind which servers take turns, as an address does that moves at a failover; closed after the tests of the file. */
export async function switchboard(first: number): Promise<Switchboard> {
  const sockets = new Set<Socket>();
  let to = first;
  const keep = (socket: Socket, other: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      other.destroy();
    });
    socket.pipe(other);
  };
  const listener = createServer((here) => {
    const there = connect({ port: to, host: "127.0.0.1", noDelay: true });
    keep(here, there);
    keep(there, here);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const endAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  after(() => {
    endAll();
    listener.close();
  });
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("it listens on no port");
  return {
    port: address.port,
    lead: (port) => {
      to = port;
      endAll();
    },
  };
}
