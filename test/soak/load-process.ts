import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { type Count, type Load, scale, type Word } from "./load-scale.ts";

// A child process with clients that bank, log in and think; nobody may ever touch one of them.

const load = JSON.parse(process.argv[2] ?? "") as Load;
const count = { transactions: 0, logins: 0, longestLoginMs: 0, errors: [] as string[] };
let racing = false;
let ready = 0;

process.once("disconnect", () => process.exit(0));
process.on("message", (word: Word) => {
  if (word === "race") racing = true;
  process.send?.({ at: performance.now(), ...count } satisfies Count);
});
for (let seat = 0; seat < load.clients; seat++) void client(seat);

function anyOf(most: number): number {
  return 1 + Math.floor(Math.random() * most);
}

async function client(seat: number): Promise<void> {
  const own = new pg.Client({ connectionString: load.url, application_name: "shop" });
  const disturbed = (error: unknown) => void count.errors.push(`client ${seat}: ${String(error)}`);
  own.on("error", disturbed);
  try {
    await own.connect();
    ready += 1;
    if (ready === load.clients) process.send?.("ready");
    for (;;) {
      await work(own, seat);
      const rest = racing && seat < load.racers ? 0 : load.restMs * (racing ? 10 : 0.5 + Math.random());
      if (rest > 0) await pause(rest);
    }
  } catch (error) {
    disturbed(error);
  }
}

async function work(own: pg.Client, seat: number): Promise<void> {
  const dice = racing ? 1 : Math.random();
  if (dice < 0.1) await logIn(own);
  else if (dice < 0.12) await own.query("select pg_sleep(3)");
  else await bank(own, seat, dice < 0.2);
  count.transactions += 1;
}

/** In the order of TPC-B; `thinking`: its client keeps the transaction open for a moment, as people's programs do. */
async function bank(own: pg.Client, seat: number, thinking: boolean): Promise<void> {
  const [account, teller, branch] = [anyOf(scale.accounts), anyOf(scale.tellers), anyOf(scale.branches)];
  const amount = anyOf(10_000) - 5_000;
  await own.query("begin");
  await own.query("update bank.account set balance = balance + $2 where id = $1", [account, amount]);
  await own.query("select balance from bank.account where id = $1", [account]);
  if (thinking) await pause(200);
  await own.query("update bank.teller set balance = balance + $2 where id = $1", [teller, amount]);
  await own.query("update bank.branch set balance = balance + $2 where id = $1", [branch, amount]);
  await own.query("insert into bank.history values ($1, $2, $3, $4, $5, now())", [
    seat,
    account,
    teller,
    branch,
    amount,
  ]);
  await own.query("commit");
}

/** Whoever left a login open makes this one wait. */
async function logIn(own: pg.Client): Promise<void> {
  const begun = performance.now();
  await own.query("update public.login set seen = now() where id = $1", [anyOf(load.logins)]);
  count.logins += 1;
  count.longestLoginMs = Math.max(count.longestLoginMs, performance.now() - begun);
}
