import { setMaxListeners } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, errorText } from "./owned-file.ts";
import { knock, openSocketFolder } from "./socket-folder.ts";

export const controlSocket = "control.sock";

/** Answers one request; `signal` aborts when the client has gone or the server stops. */
export type Handler = (message: unknown, signal: AbortSignal) => Promise<unknown>;

export type Reply = Readonly<{ kind: "answer"; answer: unknown }> | Readonly<{ kind: "nobody" }>;

export type ControlServer = Readonly<{ server: Server; serve(handler: Handler): void; stop(): Promise<void> }>;

/** The owner of the folder starts, or runs one command: asking again soon helps. */
export const notServing = "it takes no requests now, as it is starting or runs one command; try again";

const longestRequest = 64 * 1024;
const longestAnswer = 64 * 1024 * 1024;
const mostConnections = 32;
/** For a client to send its line, and to take its answer. */
const clientMs = 5_000;
/** For handlers to notice that the server stops. */
const stopMs = 5_000;

/** One line of JSON in, one line of JSON out, on each connection; not yet listening. */
export function controlServer(): ControlServer {
  let handler: Handler | null = null;
  const stopping = new AbortController();
  setMaxListeners(mostConnections, stopping.signal);
  const open = new Map<Socket, Promise<void>>();
  const server = createServer((socket) => {
    const talk = converse(socket, () => handler, stopping.signal).finally(() => {
      open.delete(socket);
    });
    open.set(socket, talk);
  });
  server.maxConnections = mostConnections;
  // An accept that failed for lack of file descriptors concerns that client only.
  server.on("error", () => undefined);
  return {
    server,
    serve(answering) {
      handler = answering;
    },
    async stop() {
      stopping.abort(new Error("lockwarden is stopping"));
      await Promise.race([Promise.all(open.values()), sleep(stopMs, undefined, { ref: false })]);
      for (const socket of open.keys()) socket.destroy();
    },
  };
}

async function converse(socket: Socket, handler: () => Handler | null, stopping: AbortSignal): Promise<void> {
  const gone = new AbortController();
  const abort = () => gone.abort(new Error("the client has gone"));
  const stop = () => gone.abort(stopping.reason);
  socket.on("error", () => undefined).once("close", abort);
  stopping.addEventListener("abort", stop);
  try {
    const line = await readLine(socket, longestRequest, AbortSignal.any([gone.signal, AbortSignal.timeout(clientMs)]));
    const reply = await answer(line, handler(), gone.signal);
    socket.setTimeout(clientMs, () => socket.destroy());
    socket.end(reply);
  } catch {
    // The client left, said nothing in time or too much: there is nobody to tell.
    socket.destroy();
  } finally {
    stopping.removeEventListener("abort", stop);
  }
}

async function answer(line: string, handler: Handler | null, signal: AbortSignal): Promise<string> {
  try {
    const message: unknown = JSON.parse(line);
    if (handler === null) throw new Error(notServing);
    const reply = JSON.stringify({ ok: true, answer: (await handler(message, signal)) ?? null });
    if (reply.length >= longestAnswer) throw new Error(`the answer of ${reply.length} characters is too long`);
    return `${reply}\n`;
  } catch (error) {
    return `${JSON.stringify({ ok: false, error: errorText(error) })}\n`;
  }
}

/** What comes before the first line end. */
function readLine(socket: Socket, longest: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let length = 0;
    const settle = (finish: () => void) => {
      socket.off("data", take).off("end", ended).off("error", failed).off("close", ended);
      signal.removeEventListener("abort", aborted);
      finish();
    };
    const take = (part: Buffer) => {
      const end = part.indexOf(0x0a);
      parts.push(end === -1 ? part : part.subarray(0, end));
      length += part.length;
      if (length > longest) settle(() => reject(new Error(`a line of more than ${longest} bytes`)));
      else if (end !== -1) settle(() => resolve(Buffer.concat(parts).toString("utf8")));
    };
    const ended = () => settle(() => reject(new Error("closed before a whole line came")));
    const failed = (error: Error) => settle(() => reject(error));
    const aborted = () => settle(() => reject(signal.reason));
    socket.on("data", take).once("end", ended).once("error", failed).once("close", ended);
    if (signal.aborted) aborted();
    else signal.addEventListener("abort", aborted);
  });
}

/** Asks whoever owns the state folder. Throws when he answers with an error, not in time, or may not be asked. */
export async function request(
  stateDir: string,
  message: unknown,
  options: Readonly<{ timeoutMs: number; signal?: AbortSignal }>,
): Promise<Reply> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
  try {
    const line = await ask(stateDir, `${JSON.stringify(message)}\n`, signal);
    return line === null ? { kind: "nobody" } : { kind: "answer", answer: parseReply(line) };
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    const what = timeout.aborted ? `no answer within ${options.timeoutMs} ms` : errorText(error);
    const hint = errorCode(error) === "EACCES" ? `; run this as the owner of ${stateDir}, or as root` : "";
    throw new Error(`the lockwarden that owns ${stateDir} did not do as asked: ${what}${hint}`, { cause: error });
  }
}

async function ask(stateDir: string, line: string, signal: AbortSignal): Promise<string | null> {
  const folder = await openSocketFolder(stateDir, controlSocket).catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return null;
    throw error;
  });
  if (folder === null) return null;
  try {
    const answered = await knock(folder.at(controlSocket));
    if (answered.kind === "crowded") throw new Error("too many clients wait for it already; try again");
    if (answered.kind !== "connected") return null;
    const { socket } = answered;
    try {
      socket.write(line);
      return await readLine(socket, longestAnswer, signal);
    } finally {
      socket.on("error", () => undefined).destroy();
    }
  } finally {
    await folder.close();
  }
}

function parseReply(line: string): unknown {
  const reply: unknown = JSON.parse(line);
  if (typeof reply === "object" && reply !== null) {
    if ("ok" in reply && reply.ok === true && "answer" in reply) return reply.answer;
    if ("error" in reply) throw new Error(String(reply.error));
  }
  throw new Error("its answer cannot be understood; is it the same version?");
}
