import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after } from "node:test";

// Hundreds of sessions at once: a client library would cost more than the sessions do. They speak no more of the
// protocol than a start without a password and simple queries.

export type RawSessions = Readonly<{
  /** In the order in which they began. */
  pids: readonly string[];
  end(): void;
}>;

type Where = Readonly<{ port: number; user: string; database: string; application: string }>;

/** So many sessions, each with a transaction of its own in which it does nothing; one after the other begins it. */
export async function idleTransactions(count: number, where: Where): Promise<RawSessions> {
  const sessions: Raw[] = [];
  after(() => sessions.forEach(({ socket }) => socket.destroy()));
  // A server starts few processes at once.
  for (let left = count; left > 0; left -= 20)
    sessions.push(...(await Promise.all(Array.from({ length: Math.min(20, left) }, () => open(where)))));
  for (const session of sessions) {
    // Ages are in ms: it takes longer, so that no two are of the same age.
    session.socket.write(query("begin; select pg_sleep(0.002)"));
    await session.ready();
  }
  return { pids: sessions.map(({ pid }) => pid()), end: () => sessions.forEach(({ socket }) => socket.destroy()) };
}

type Raw = Readonly<{ socket: Socket; pid(): string; ready(): Promise<void> }>;

async function open({ port, user, database, application }: Where): Promise<Raw> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const left = follow(socket);
  await once(socket, "connect");
  const said = ["user", user, "database", database, "application_name", application, "", ""].join("\0");
  const start = Buffer.from(`\0\0\0\0\0\u0003\0\0${said}`, "latin1");
  start.writeUInt32BE(start.length, 0);
  socket.write(start);
  await left.ready();
  return { socket, ...left };
}

function query(sql: string): Buffer {
  const message = Buffer.from(`Q\0\0\0\0${sql}\0`, "latin1");
  message.writeUInt32BE(message.length - 1, 1);
  return message;
}

/** Reads what the server says: the pid, and when it is ready for a query. */
function follow(socket: Socket): Pick<Raw, "pid" | "ready"> {
  let unread = Buffer.alloc(0);
  const heard = { pid: "", ready: 0, ended: false };
  socket.on("data", (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    while (unread.length >= 5 && unread.length > unread.readUInt32BE(1)) {
      const kind = String.fromCharCode(unread[0] ?? 0);
      if (kind === "K") heard.pid = String(unread.readUInt32BE(5));
      if (kind === "Z") heard.ready++;
      unread = unread.subarray(1 + unread.readUInt32BE(1));
    }
    socket.emit("heard");
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    heard.ended = true;
    socket.emit("heard");
  });
  return {
    pid: () => heard.pid,
    ready: async () => {
      while (heard.ready === 0) {
        if (heard.ended) throw new Error("the server has closed the connection: expected it to be ready for a query");
        await once(socket, "heard");
      }
      heard.ready--;
    },
  };
}
