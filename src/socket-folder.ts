import { constants, open } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { errorCode } from "./owned-file.ts";

/** The kernel takes no longer socket path (sun_path, without its ending NUL). */
const longestPath = process.platform === "linux" ? 107 : 103;

/** A folder in which sockets can be reached by a path that the kernel takes, however long its own is. */
export type SocketFolder = Readonly<{ at(name: string): string; close(): Promise<void> }>;

export async function openSocketFolder(folder: string, longestName: string): Promise<SocketFolder> {
  const length = Buffer.byteLength(join(folder, longestName));
  if (length <= longestPath) return { at: (name) => join(folder, name), close: () => Promise.resolve() };
  if (process.platform !== "linux") {
    throw new Error(
      `the path of the state folder ${folder} is too long for a socket: ${length} bytes with the socket's name, ` +
        `at most ${longestPath} on this system; choose a shorter state_dir`,
    );
  }
  // An open folder has a short second name, and keeps it until it is closed.
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  let closing: Promise<void> | null = null;
  return {
    at: (name) => `/proc/self/fd/${handle.fd}/${name}`,
    close() {
      closing ??= handle.close();
      return closing;
    },
  };
}

/** What answers at a socket's path. `dead`: its owner has ended, a listener never comes back to the same socket. */
export type Knock = Readonly<{ kind: "connected"; socket: Socket }> | Readonly<{ kind: "crowded" | "dead" | "absent" }>;

const knocks: Readonly<Record<string, "crowded" | "dead" | "absent">> = {
  ECONNREFUSED: "dead",
  // It listened, and closed before it took this connection.
  ECONNRESET: "dead",
  ENOENT: "absent",
  // Its queue is full: somebody listens.
  EAGAIN: "crowded",
};

export function knock(path: string): Promise<Knock> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve({ kind: "connected", socket });
    });
    socket.once("error", (error) => {
      const kind = knocks[errorCode(error) ?? ""];
      if (kind === undefined) reject(error);
      else resolve({ kind });
    });
  });
}

/** Somebody listens at that path. */
export async function isAlive(path: string): Promise<boolean> {
  const answer = await knock(path);
  if (answer.kind === "connected") answer.socket.on("error", () => undefined).destroy();
  return answer.kind === "connected" || answer.kind === "crowded";
}
