import assert from "node:assert/strict";
import { test } from "node:test";
import { plainClient } from "../../src/engines/postgres/plain-client.ts";
import { eventually } from "../support/eventually.ts";
import { server } from "../support/servers.ts";

const postgres = await server();

test("a plain client gives every value as the server's text, under its own name", async (t) => {
  const client = await plainClient({ url: postgres.url(), application: "web-1" });
  t.after(client.end);
  assert.deepEqual(await client.query("select $1::int as one, null as nothing, now() is not null as yes", ["1"]), [
    { one: "1", nothing: null, yes: "t" },
  ]);
  assert.deepEqual(await client.query("select current_setting('application_name') as name"), [{ name: "web-1" }]);
  assert.deepEqual(await client.query("select 1 as a; select pg_backend_pid() as pid"), [{ pid: client.pid }]);
});

test("a plain client that loses its session says so, and ends nobody's process", async (t) => {
  const [victim, other] = [
    await plainClient({ url: postgres.url(), application: "victim" }),
    await plainClient({ url: postgres.url(), application: "other" }),
  ];
  t.after(other.end);
  assert.equal(victim.lost(), null);
  await other.query("select pg_terminate_backend($1::int)", [victim.pid]);
  await eventually("it knows that it is lost", () => victim.lost() !== null);
  assert.match(String(victim.lost()), /terminating connection due to administrator command/);
  await assert.rejects(victim.query("select 1"));
  await victim.end();
});

test("a plain client hangs up while it waits for a lock", async (t) => {
  const [holder, waiter, watcher] = [
    await plainClient({ url: postgres.url(), application: "holder" }),
    await plainClient({ url: postgres.url(), application: "waiter" }),
    await plainClient({ url: postgres.url(), application: "watcher" }),
  ];
  t.after(() => Promise.all([holder.end(), watcher.end()]));
  await holder.query("create table held ()");
  await holder.query("begin; lock table held");
  const waiting = assert.rejects(waiter.query("select from held"));
  await eventually("it waits", async () => {
    const [row] = await watcher.query("select wait_event_type from pg_stat_activity where pid = $1", [waiter.pid]);
    return row?.["wait_event_type"] === "Lock";
  });
  await waiter.end();
  await waiting;
});
