import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { place } from "../support/lockwarden.ts";
import { abandon, type LoginService, logIn, loginService, pidOf } from "../support/login-service.ts";
import { eventually, outerMajors } from "../support/servers.ts";

// A row that everybody wants: whoever has it now is not to blame for how long the others have waited.

const rules = `
  - {name: storm, match: {applications: [storm], transaction_for: 1s, blocks: {tables: [public.user_session], for: 1s}}, steps: [terminate]}
  - {name: queue, match: {applications: [queue], transaction_for: 500ms, blocks: {tables: [public.user_session], for: 500ms}}, steps: [terminate], cooldown: 5s}
  - {name: pool, match: {applications: [pool], idle_for: 500ms, blocks: {tables: [public.user_session]}}, steps: [terminate], cooldown: 1h}`;

const config = (url: string, poll: string): string => `
mode: enforce
targets: [{name: app, url: "${url}", poll: ${poll}}]
rules:${rules}`;

type Intent = Extract<JournalEvent, { event: "intent" | "observed" }>;
type Stage = Readonly<{ major: number; service: LoginService }>;

const stages: Stage[] = [];
for (const major of outerMajors()) stages.push({ major, service: await loginService({ major }) });
// So small that its slots can all be taken.
const crowded = await loginService({ settings: { max_connections: "20", superuser_reserved_connections: "3" } });

function intentsIn(events: readonly JournalEvent[]): readonly Intent[] {
  return events.filter((event): event is Intent => event.event === "intent");
}

function pidIn({ decision: { evidence } }: Intent): string | null {
  return evidence.victim.kind === "session" ? evidence.victim.pid : null;
}

for (const { major, service } of stages) {
  void describe(`PostgreSQL ${major}`, async () => {
    // It looks often, so that it sees many of the holders.
    const here = await place(config(service.url, "100ms"));
    const daemon = here.run();

    test("a storm of writers on one row, each of them long in the queue, gets nobody killed", async () => {
      await eventually(() => daemon.said().includes("connected"));
      const writers = 30;
      const enough = new AbortController();
      let written = 0;
      // One statement, so that only the server decides how long the row is held: 50 ms of the 1,500 of each transaction.
      const turn =
        "do $$ begin update public.user_session set seen = now() where id = 1; perform pg_sleep(0.05); end $$";
      const storm = Array.from({ length: writers }, async () => {
        const writer = await service.person("storm");
        while (!enough.signal.aborted) {
          await writer.query(turn);
          written++;
        }
      });
      const failed = Promise.all(storm);
      await Promise.race([failed, eventually(() => written >= 4 * writers, 60_000)]);
      // It is a storm when somebody's transaction is as old as the rule asks.
      const old =
        "select from pg_stat_activity where application_name = 'storm' and xact_start < clock_timestamp() - interval '1 s'";
      await Promise.race([failed, eventually(async () => (await service.admin.query(old)).rowCount)]);
      enough.abort();
      await failed;
      assert.deepEqual(intentsIn(await here.journal()), []);
    });

    test("whoever gets the row after an act has a cooldown, while another stuck row of the table is freed at once", async () => {
      const first = await service.person("queue");
      const heir = await service.person("queue");
      const last = await service.person("queue");
      const [firstPid, heirPid] = [await pidOf(first), await pidOf(heir)];
      await heir.query("begin; select 1");
      await last.query("begin; select 1");
      await abandon(first, 2);
      const inherited = logIn(heir, 2);
      inherited.catch(() => undefined);
      await eventually(
        async () =>
          (await service.admin.query("select from pg_locks where pid = $1 and not granted", [heirPid])).rowCount,
      );
      const patience = logIn(last, 2);
      await inherited;
      const other = await service.person("queue");
      const otherPid = await pidOf(other);
      await abandon(other, 3);
      const login = logIn(await service.person("somebody"), 3);
      await Promise.all([login, patience]);
      const acts = await eventually(async () => {
        const found = intentsIn(await here.journal());
        return found.length >= 3 && found;
      });
      assert.deepEqual(acts.map(pidIn), [firstPid, otherPid, heirPid].map(String));
      const moments = acts.map(({ decision }) => Date.parse(decision.evidence.at));
      assert.ok((moments[2] ?? 0) - (moments[0] ?? 0) >= 5_000, "the heir was acted on within its cooldown");
    });

    test("a pooled connection that stood behind one victim keeps no other victim alive with its next transaction", async () => {
      const patron = await service.person("patron");
      for (const row of [4, 5]) {
        const victim = await service.person("pool");
        await abandon(victim, row);
        await logIn(patron, row);
      }
      const acts = await eventually(async () => {
        const found = intentsIn(await here.journal()).filter(({ decision }) => decision.rule === "pool");
        return found.length === 2 && found;
      });
      assert.equal(acts.length, 2);
    });
  });
}

test("with every connection slot taken it still reads and acts", async () => {
  const here = await place(config(crowded.url, "1h"));
  const daemon = here.run();
  await eventually(() => daemon.said().includes("nothing to do"));
  const stuck = await crowded.person("queue");
  const [crashed, waiter] = [await pidOf(stuck), await crowded.person("somebody")];
  const full = async (): Promise<boolean> => {
    const refused = await crowded.person("pile-up").catch((error: unknown) => error);
    return refused instanceof Error && "code" in refused && refused.code === "53300";
  };
  await eventually(full);
  await abandon(stuck, 1);
  const login = logIn(waiter, 1);
  assert.equal(await full(), true);
  await login;
  const [act] = await eventually(async () => {
    const found = intentsIn(await here.journal());
    return found.length > 0 && found;
  });
  assert.ok(act !== undefined);
  assert.equal(pidIn(act), String(crashed));
  const connections = daemon.lines().filter(({ msg }) => String(msg).startsWith("connected"));
  assert.equal(connections.length, 1, "it had to connect anew");
});
