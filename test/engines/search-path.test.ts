import assert from "node:assert/strict";
import { after, test } from "node:test";
import { postgres as engine } from "../../src/engines/postgres/index.ts";
import { stages } from "../support/scene.ts";
import { patience, target } from "../support/targets.ts";
import { quiet } from "../support/text-connection.ts";

/** What Lockwarden calls, as somebody who may create functions would like it to be understood. */
const traps = [
  "pg_lock_status()",
  "pg_stat_get_activity(int)",
  "pg_blocking_pids(int)",
  "pg_try_advisory_lock(int, int)",
  "pg_terminate_backend(int)",
  "pg_backend_pid()",
  "to_char(timestamp, text)",
  "clock_timestamp()",
  "age(xid)",
  "host(inet)",
  "unnest(anyarray)",
  "current_setting(text)",
];

const made = await stages({}, async (here, postgres) => {
  await here.connection.query("create schema trap", [], quiet);
  await here.connection.query("create table public.account (id int)", [], quiet);
  for (const trap of traps) {
    const body = `begin raise exception 'trapped by ${trap.replace(/\(.*/u, "")}'; end`;
    const returns = trap.includes("anyarray") ? "anyelement" : "text";
    await here.connection.query(
      `create function trap.${trap} returns ${returns} language plpgsql as $$${body}$$`,
      [],
      quiet,
    );
  }
  await here.connection.query("create role lockwarden login superuser", [], quiet);
  await here.connection.query("grant usage on schema trap to public", [], quiet);
  await here.connection.query("alter role lockwarden set search_path = trap, pg_catalog", [], quiet);
  return postgres.url("lockwarden");
});

for (const { major, here, prepared: url } of made) {
  test(`${major}: functions of the same names in front of the catalog's are never called`, async () => {
    const link = await engine.connect(target(url), patience());
    after(() => link.close());
    const holder = await here.person();
    await holder.run("begin; lock table public.account in share mode");
    const waiter = await here.person();
    waiter.start("begin; lock table public.account in row exclusive mode");
    await here.readWith(1);
    const snapshot = await link.read({ sessions: "all", locks: true }, patience());
    assert.equal(snapshot.waits?.length, 1);
    assert.equal(await link.lease(patience()), "held");
    assert.ok(Array.isArray(await link.check(patience())));
    await holder.end();
    await waiter.end();
  });
}
