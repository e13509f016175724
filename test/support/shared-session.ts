import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { after } from "node:test";
import type pg from "pg";
import { client } from "./servers.ts";

/**
 * The least that makes a pooler in statement mode: every client is let in, and whatever it asks goes through one session of
 * the server, which is the url's; or through several, in turn. It is closed after the tests of the file.
 */
export async function sharedSession(url: string, count = 1): Promise<number> {
  const servers: Socket[] = [];
  for (let at = 0; at < count; at++) {
    const shared = await client(url);
    const server = (shared as pg.Client & { connection: { stream: Socket } }).connection.stream;
    server.removeAllListeners("data");
    servers.push(server);
  }
  let asks = 0;
  const sockets = new Set<Socket>();
  let turn: Promise<void> = Promise.resolve();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let said = Buffer.alloc(0);
    let isIn = false;
    socket.on("data", (chunk: Buffer) => {
      if (!isIn) {
        isIn = true;
        // Let in; key 1, 2; ready.
        socket.write(Buffer.from([82, 0, 0, 0, 8, 0, 0, 0, 0, 75, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, ...ready]));
        return;
      }
      said = Buffer.concat([said, chunk]);
      // Until a Sync; goodbyes are not passed on.
      if (said[0] === 0x58 || !said.subarray(-5).equals(sync)) return;
      const asked = said;
      said = Buffer.alloc(0);
      turn = turn.then(async () => {
        const server = servers[asks++ % count];
        if (server !== undefined) socket.write(await answer(server, asked));
      });
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
    for (const server of servers) server.destroy();
  });
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("it listens on no port");
  return address.port;
}

const ready = [90, 0, 0, 0, 5, 73];
const sync = Buffer.from([83, 0, 0, 0, 4]);

async function answer(server: Socket, asked: Buffer): Promise<Buffer> {
  let got = Buffer.alloc(0);
  server.write(asked);
  while (!got.subarray(-6).equals(Buffer.from(ready))) {
    const [chunk] = (await once(server, "data")) as [Buffer];
    got = Buffer.concat([got, chunk]);
  }
  return got;
}
