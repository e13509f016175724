import assert from "node:assert/strict";
import { test } from "node:test";
import type pg from "pg";
import type { JournalEvent } from "../../src/core/journal-event.ts";
import { type Place, place } from "../support/lockwarden.ts";
import { loginService } from "../support/login-service.ts";
import { eventually } from "../support/servers.ts";

const service = await loginService();

function config(rule: string, more = ""): string {
  return `
mode: enforce
targets: [{name: app, url: "${service.url}", poll: 5s, leader_database: app}]
rules:
  - ${rule}
${more}`;
}

async function eventsOf(here: Place, kind: JournalEvent["event"]): Promise<readonly JournalEvent[]> {
  return (await here.journal()).filter(({ event }) => event === kind);
}

test("writers that queue for a table, each for a moment, all live: who has just got the lock has blocked nobody for long", async () => {
  const here = await place(
    config('{name: jam, match: {applications: ["writer*"], blocks: {for: 2s}}, steps: [terminate]}'),
  );
  const writers: pg.Client[] = [];
  for (let at = 0; at < 20; at++) writers.push(await service.person(`writer ${at}`));
  const owner = await service.person("owner", "postgres");
  await owner.query("create table hot (id int); grant all on hot to login_service");
  let done = 0;
  const wanted = 80;
  const work = writers.map(async (writer) => {
    while (done < wanted) {
      await writer.query("begin");
      await writer.query("lock table hot in exclusive mode");
      await writer.query("select pg_sleep(0.3)");
      await writer.query("commit");
      done++;
    }
  });
  const all = Promise.allSettled(work);
  // By now each of them has queued for seconds.
  await eventually(() => done > 20);
  const daemon = here.run();
  await eventually(() => daemon.said().includes("somebody waits for a lock"));
  const ended = await all;
  assert.deepEqual(await eventsOf(here, "intent"), []);
  assert.deepEqual(
    ended.filter(({ status }) => status === "rejected"),
    [],
  );
});
