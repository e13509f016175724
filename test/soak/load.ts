import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { type Count, type Load, scale, type Word } from "./load-scale.ts";

const script = fileURLToPath(new URL("./load-process.js", import.meta.url));
const processes = 2;

export type Running = Readonly<{
  /** Of all processes, in order. */
  counts(): Promise<readonly Count[]>;
  /** From now on some of them never rest, and nobody logs in or thinks. */
  race(): Promise<void>;
  /** They leave in the middle of what they are at. */
  stop(): Promise<readonly Count[]>;
  /** The same, without asking. */
  end(): void;
}>;

export async function prepare(superuser: pg.Client): Promise<void> {
  await superuser.query(`
    create schema bank;
    create table bank.branch as select id, 0::bigint as balance from generate_series(1, ${scale.branches}) as id;
    create table bank.teller as select id, 0::bigint as balance from generate_series(1, ${scale.tellers}) as id;
    create table bank.account as select id, 0::bigint as balance from generate_series(1, ${scale.accounts}) as id;
    create table bank.history (client int, account int, teller int, branch int, amount int, at timestamptz);
    create table public.login as select id, now() as seen from generate_series(1, 10000) as id;
    alter table bank.branch add primary key (id); alter table bank.teller add primary key (id);
    alter table bank.account add primary key (id); alter table public.login add primary key (id);
    analyze; grant usage on schema bank to app; grant all on all tables in schema bank, public to app`);
}

/** All are connected and at work when it resolves. */
export async function startLoad(load: Load): Promise<Running> {
  const children = Array.from({ length: processes }, (_, at) => {
    const share = (of: number) => Math.floor((of + at) / processes);
    return fork(script, [JSON.stringify({ ...load, clients: share(load.clients), racers: share(load.racers) })]);
  });
  const end = () => {
    for (const child of children) child.kill("SIGKILL");
  };
  await Promise.all(children.map((child) => answerOf(child))).catch((error: unknown) => {
    end();
    throw error;
  });
  const tell = (word: Word) =>
    Promise.all(
      children.map((child) => {
        const answer = answerOf(child);
        child.send(word);
        return answer as Promise<Count>;
      }),
    );
  return {
    end,
    counts: () => tell("count"),
    race: async () => void (await tell("race")),
    stop: async () => {
      const last = await tell("count");
      const ended = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
      for (const child of children) child.disconnect();
      await Promise.all(ended);
      return last;
    },
  };
}

function answerOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`a process of the load ended with ${code}`));
    child.once("exit", ended);
    child.once("message", (message) => {
      child.off("exit", ended);
      resolve(message);
    });
  });
}
