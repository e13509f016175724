import { connect, createServer, type Socket } from "node:net";
import { after } from "node:test";

export type SilentProxy = Readonly<{
  port: number;
  /** From now on it swallows every byte, on open and on new connections, and closes nothing. */
  silence(): void;
}>;

export type ProxyOptions = Readonly<{
  /** What becomes of the server's bytes. */
  fromServer?: (chunk: Buffer) => Buffer;
}>;

/** A TCP proxy on loopback in front of `port`; it is stopped after the tests of the file. */
export async function silentProxy(port: number, { fromServer }: ProxyOptions = {}): Promise<SilentProxy> {
  const sockets = new Set<Socket>();
  let silent = false;
  const keep = (socket: Socket, other: () => Socket | null) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    // Silence swallows a goodbye, too.
    socket.on("end", () => void (silent || other()?.end()));
    socket.on("close", () => {
      sockets.delete(socket);
      if (!silent) other()?.destroy();
    });
  };
  const proxy = createServer({ allowHalfOpen: true }, (here) => {
    const there = silent ? null : connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    keep(here, () => there);
    here.on("data", (chunk) => void (silent || there?.write(chunk)));
    if (there === null) return;
    keep(there, () => here);
    there.on("data", (chunk) => void (silent || here.write(fromServer?.(chunk) ?? chunk)));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  after(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const address = proxy.address();
  if (address === null || typeof address === "string") throw new Error("the proxy listens on no port");
  return {
    port: address.port,
    silence: () => {
      silent = true;
    },
  };
}
