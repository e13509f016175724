import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { momentOf } from "../../src/engines/postgres/moment.ts";
import type { Hit } from "./score.ts";

// A child process with clients that run one short transaction after the other, and know in which one a signal hit them.

/** `cancel`: the transaction is one message that works all the time. `terminate`: its client thinks in the middle of it. */
export type Work = Readonly<{ url: string; clients: number; lengthMs: number; hitBy: "cancel" | "terminate" }>;
export type Suffered = Readonly<{ hits: readonly Hit[]; transactions: number }>;

type Answer = Readonly<{ start: string | null; error: string | null }>;
type Open = Readonly<{ client: pg.Client; pid: string; lost: Promise<void>; isLost(): boolean }>;

const work = JSON.parse(process.argv[2] ?? "") as Work;
const stopping = new AbortController();
const hits: (Hit & { before: string | null })[] = [];
let transactions = 0;
let ready = 0;

process.once("disconnect", () => process.exit(1));
process.once("message", () => stopping.abort());
const client = work.hitBy === "cancel" ? workingClient : thinkingClient;
await Promise.all(Array.from({ length: work.clients }, client));
const suffered: Suffered = { hits, transactions };
process.send?.(suffered, () => process.exit(0));

async function connect(): Promise<Open> {
  const config = { connectionString: work.url, application_name: "race", options: "-c timezone=UTC -c datestyle=ISO" };
  const own: pg.Client & { processID?: number | null } = new pg.Client(config);
  let isLost = false;
  const lost = new Promise<void>((resolve) => {
    const lose = () => {
      isLost = true;
      resolve();
    };
    own.on("error", lose).on("end", lose);
  });
  await own.connect();
  return { client: own, pid: String(own.processID), lost, isLost: () => isLost };
}

function announce(): void {
  ready += 1;
  if (ready === work.clients) process.send?.("ready");
}

/** Rows that came before an error count: they say which transaction it was. */
function send({ client: own }: Open, text: string): Promise<Answer> {
  return new Promise((resolve) => {
    let start: string | null = null;
    const query = new pg.Query<{ start?: string }>(text);
    query.on("row", (row) => {
      start ??= row.start === undefined ? null : momentOf(row.start);
    });
    query.on("error", (error: Error & { code?: string }) => resolve({ start, error: error.code ?? error.message }));
    query.on("end", () => resolve({ start, error: null }));
    own.query(query);
  });
}

async function workingClient(): Promise<void> {
  const open = await connect();
  const whole = `begin; select now()::text as start; select pg_sleep(${work.lengthMs / 1_000}); commit`;
  let [after, count] = ["", 0];
  while (!stopping.signal.aborted) {
    const { start, error } = await send(open, whole);
    const last = hits.findLast((hit) => hit.pid === open.pid);
    if (last !== undefined && start !== null && start > last.after && last.in !== start) last.before ??= start;
    if (error !== null) await cancelled(open, { after, in: start, error });
    after = start ?? after;
    transactions += 1;
    if (count++ === 0) announce();
  }
  await open.client.end();
}

/** Takes it down, and goes on with the next transaction. */
async function cancelled(open: Open, { after, in: start, error }: Pick<Hit, "after" | "in"> & { error: string }) {
  for (let code: string | null = error; code !== null; ) {
    if (code !== "57014") throw new Error(`expected a client to be cancelled or left alone, got ${code}`);
    hits.push({ pid: open.pid, after, in: start, before: null });
    code = (await send(open, "rollback")).error;
  }
}

async function thinkingClient(): Promise<void> {
  let first = true;
  while (!stopping.signal.aborted) {
    const open = await connect();
    let after = "";
    while (!stopping.signal.aborted && !open.isLost()) {
      const begun = await send(open, "begin; select now()::text as start");
      if (begun.error === null) {
        await Promise.race([pause(work.lengthMs), open.lost]);
        const done = open.isLost() ? "lost" : (await send(open, "commit")).error;
        if (done !== null) hits.push({ pid: open.pid, after, in: begun.start, before: null });
        else after = begun.start ?? after;
        if (done !== null) break;
      } else {
        hits.push({ pid: open.pid, after, in: begun.start, before: null });
        break;
      }
      transactions += 1;
      if (first) announce();
      first = false;
    }
    await open.client.end().catch(() => undefined);
  }
}
