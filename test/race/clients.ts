import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import type { Suffered, Work } from "./client-process.ts";

export type Clients = Readonly<{
  /** Lets them finish what they are at; says what they suffered. */
  stop(): Promise<Suffered>;
  /** Ends their processes, whatever they are at. */
  end(): void;
}>;

const script = fileURLToPath(new URL("./client-process.js", import.meta.url));
/** Of their own, so that whoever judges has a processor of his own. */
const processes = 2;

/** All of them are in their transactions when it resolves. */
export async function startClients(work: Work): Promise<Clients> {
  const children = Array.from({ length: processes }, (_, at) => {
    const clients = Math.floor((work.clients + at) / processes);
    const child = fork(script, [JSON.stringify({ ...work, clients })]);
    // With as much work as these have, whoever judges would wait for them.
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    return child;
  });
  const end = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  await Promise.all(children.map((child) => messageOf(child))).catch((error: unknown) => {
    end();
    throw error;
  });
  return {
    end,
    stop: async () => {
      const told = children.map((child) => messageOf(child));
      for (const child of children) child.send("stop");
      const all = (await Promise.all(told)) as Suffered[];
      return {
        hits: all.flatMap((one) => one.hits),
        transactions: all.reduce((sum, one) => sum + one.transactions, 0),
      };
    },
  };
}

async function messageOf(child: ChildProcess): Promise<unknown> {
  const done = new AbortController();
  const { signal } = done;
  const ended = once(child, "exit", { signal }).then(([code]) => {
    throw new Error(`the process of the clients ended with ${String(code)} before it was told to`);
  });
  try {
    const [message] = (await Promise.race([once(child, "message", { signal }), ended])) as [unknown];
    return message;
  } finally {
    done.abort();
    await ended.catch(() => undefined);
  }
}
