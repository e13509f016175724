import { connect, createServer, type Socket } from "node:net";
import { after } from "node:test";

/** `swallow` takes connections and bytes and answers nothing; `garbage` answers what is no PostgreSQL. */
export type Conduct = "pass" | "swallow" | "garbage" | "hang up";

export type Front = Readonly<{
  port: number;
  /** From now on, on open connections too: those fall silent, or are ended by `hang up`. */
  behave(conduct: Conduct): void;
  /** performance.now() of every connection that was taken. */
  taken(): readonly number[];
  /** performance.now() of the last that each of them was told by the server, from before it heard it. */
  told(): readonly number[];
}>;

/** A TCP port on loopback in front of a server, which can stop to be one; it is closed after the tests of the file. */
export async function front(port: number): Promise<Front> {
  const sockets = new Set<Socket>();
  const taken: number[] = [];
  const told: number[] = [];
  let conduct: Conduct = "pass";
  const keep = (socket: Socket, other: () => Socket | null) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      if (conduct !== "swallow") other()?.destroy();
    });
  };
  const pass = (here: Socket, number: number): Socket => {
    const there = connect({ port, host: "127.0.0.1" });
    keep(there, () => here);
    there.on("data", (chunk) => {
      told[number] = performance.now();
      if (conduct === "pass") here.write(chunk);
    });
    here.on("data", (chunk) => void (conduct === "pass" && there.write(chunk)));
    return there;
  };
  const listener = createServer((here) => {
    const number = taken.push(performance.now()) - 1;
    let there: Socket | null = null;
    keep(here, () => there);
    if (conduct === "pass") there = pass(here, number);
    else if (conduct === "hang up") here.destroy();
    else if (conduct === "garbage") here.once("data", () => here.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    else here.resume();
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("the front listens on no port");
  return {
    port: address.port,
    behave: (next) => {
      const before = conduct;
      conduct = next;
      // A passed connection would go on in the middle of what was swallowed.
      if (next === "hang up" || next === "garbage" || before === "swallow")
        for (const socket of sockets) socket.destroy();
    },
    taken: () => taken,
    told: () => told,
  };
}
