import type pg from "pg";
import { type LoginService, logIn, pidOf } from "../login-service.ts";
import type { Random } from "../oracle/random.ts";
import { client, eventually } from "../servers.ts";

/** Sessions that hold a row each and abandon it, somebody who waits for each, and innocents beside them. */
export type Crowd = Readonly<{
  /** So many rows are stuck, or more. */
  topUp(count: number): Promise<void>;
  stuck(): number;
  /** Everybody who waited got through. */
  allThrough(): Promise<void>;
  /** How many rows were ever stuck. */
  made(): number;
  innocentsLive(): Promise<void>;
}>;

/** What `victim` and `runner` sessions are freed by. */
export const crowdRules = `rules:
  - name: abandoned
    match: {state: idle in transaction, applications: [victim], idle_for: 200ms, blocks: {tables: [public.user_session]}}
    steps: [terminate]
  - name: runaway
    match: {state: active, applications: [runner], transaction_for: 300ms, blocks: {for: 200ms}}
    steps: [cancel, {wait: 1s}, terminate]`;

export async function crowd(service: LoginService, random: Random): Promise<Crowd> {
  const owner = await service.person("owner", "postgres");
  await owner.query("insert into public.user_session select i from generate_series(1000, 9000) i");
  const innocents = [await service.person("innocent"), await service.person("innocent")] as const;
  const [resting, busy] = innocents;
  for (const [at, one] of innocents.entries()) await hold(one, at + 1);
  const working = busy.query("select pg_sleep(3600)").catch((error: unknown) => error);
  let ended = false;
  void working.then(() => (ended = true));
  const open = new Set<Promise<void>>();
  const failures: unknown[] = [];
  let row = 1_000;

  const stick = async (): Promise<void> => {
    const runs = random.chance(0.3);
    const url = service.postgres.url("login_service", "app");
    const victim = await client(url, { application_name: runs ? "runner" : "victim" });
    const waiter = await client(url, { application_name: "waiter" });
    const id = row++;
    await hold(victim, id);
    if (runs) victim.query("select pg_sleep(3600)").catch(() => undefined);
    const through = logIn(waiter, id)
      .catch((error: unknown) => failures.push(error))
      .then(async () => {
        open.delete(through);
        await Promise.all([victim.end().catch(() => undefined), waiter.end()]);
      });
    open.add(through);
  };
  return {
    topUp: async (count) => {
      while (open.size < count) await stick();
    },
    stuck: () => open.size,
    made: () => row - 1_000,
    allThrough: async () => {
      await eventually(() => open.size === 0, 60_000);
      if (failures.length > 0) throw new AggregateError(failures, "somebody who waited was hit");
    },
    innocentsLive: async () => {
      if (ended) throw new Error("the innocent's statement was ended");
      await pidOf(resting);
      await resting.query("commit");
      await service.admin.query(
        "select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'innocent'",
      );
      await working;
    },
  };
}

async function hold(person: pg.Client, id: number): Promise<void> {
  await person.query("begin");
  await logIn(person, id);
}
