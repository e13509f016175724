import assert from "node:assert/strict";
import { test } from "node:test";
import { tablePattern, waitsOn } from "../../src/core/relation.ts";
import type { LockWait } from "../../src/core/snapshot.ts";
import { agreeing } from "../support/oracle/agree.ts";
import { leave, stages, waitOf } from "../support/scene.ts";
import { quiet } from "../support/text-connection.ts";

type Case = Readonly<{
  name: string;
  make: readonly string[];
  /** `holder` in a transaction, then `waiter`. */
  holder: string;
  waiter: string;
  locktype: string;
  /** The wait is about them, whatever the rule does. */
  names: readonly string[];
  /** It is not about these. */
  not: readonly string[];
}>;

const cases: readonly Case[] = [
  {
    name: "a row of a partition two levels down is the partition, and every table above it",
    make: [
      "create table part (id int, n int) partition by range (id)",
      "create table part_low partition of part for values from (0) to (100) partition by range (id)",
      "create table part_low_1 partition of part_low for values from (0) to (10)",
      "create table part_high partition of part for values from (100) to (200)",
      "insert into part values (1, 0)",
    ],
    holder: "update part set n = 1 where id = 1",
    waiter: "update part set n = 2 where id = 1",
    locktype: "transactionid",
    names: [
      "public.part",
      "public.part_low",
      "public.part_low_1",
      "postgres.public.part",
      "public.pa*",
      "*.part_low_?",
    ],
    not: ["public.part_high", "other.public.part", "part", "private.part"],
  },
  {
    name: "a lock on the parent that keeps out who reads a partition is a wait for the parent",
    make: [],
    holder: "lock table only part",
    waiter: "select from part where id = 1",
    locktype: "relation",
    names: ["public.part"],
    not: ["public.part_low", "public.part_low_1"],
  },
  {
    name: "a row that an update of the parent reaches by inheritance is the child's and the parent's",
    make: [
      "create schema side",
      "create table base (id int, n int)",
      "create table side.heir () inherits (base)",
      "insert into side.heir values (1, 0)",
    ],
    holder: "update base set n = 1 where id = 1",
    waiter: "update base set n = 2 where id = 1",
    locktype: "transactionid",
    names: ["side.heir", "public.base", "side.*", "postgres.side.heir"],
    not: ["public.heir"],
  },
  {
    name: "a foreign key's check is a wait for the table that it refers to",
    make: [
      "create table owner (id int primary key)",
      "create table pet (owner int references owner)",
      "insert into owner values (1)",
    ],
    holder: "delete from owner where id = 1",
    waiter: "insert into pet values (1)",
    locktype: "transactionid",
    names: ["public.owner"],
    not: ["public.pet"],
  },
  {
    name: "a delete that a child's insert keeps out is a wait for the table that it refers to",
    make: [],
    holder: "insert into pet values (1)",
    waiter: "delete from owner where id = 1",
    locktype: "transactionid",
    names: ["public.owner"],
    not: ["public.pet"],
  },
  {
    name: "an index is its table",
    make: ["create table indexed (id int)", "create index indexed_id on indexed (id)"],
    holder: "alter index indexed_id set (fillfactor = 50)",
    waiter: "alter index indexed_id set (fillfactor = 60)",
    locktype: "relation",
    names: ["public.indexed"],
    not: ["public.indexed_id"],
  },
  {
    name: "the table of long values is the table whose values they are",
    make: [
      "create table long (id int, t text)",
      "alter table long alter column t set storage external",
      `do $$ begin execute format('create function redo() returns text language sql as %L', (
         select format('select %L::text', 'reindex table pg_toast.' || t.relname)
           from pg_class as c join pg_class as t on t.oid = c.reltoastrelid where c.relname = 'long')); end $$`,
    ],
    holder: "insert into long values (1, repeat('x', 10000))",
    waiter: "select redo() \\gexec",
    locktype: "relation",
    names: ["public.long", "*.long"],
    not: ["pg_toast.*"],
  },
  {
    name: "a unique key that two insert is the table that both insert into",
    make: ["create table unique_key (id int primary key)"],
    holder: "insert into unique_key values (1)",
    waiter: "insert into unique_key values (1)",
    locktype: "transactionid",
    names: ["public.unique_key", "public.unique*"],
    not: ["public.unique_key_pkey"],
  },
];

const settings = { deadlock_timeout: "60s", autovacuum: "off" };
const made = await stages({ settings }, (_, postgres) => agreeing((database) => postgres.url("postgres", database)));
for (const { major, here, prepared: look } of made) {
  const sql = (text: string) => here.connection.query(text, [], quiet);

  for (const one of cases) {
    test(`${major}: ${one.name}`, async () => {
      for (const text of one.make) await sql(text);
      const [holder, waiter] = [await here.person(), await here.person()];
      await holder.run(`begin; ${one.holder}`);
      waiter.start(await statement(one.waiter, sql));
      await here.readWith(1);
      const wait = waitOf(await look(), waiter.pid);
      assert.equal(wait.locktype, one.locktype);
      assert.deepEqual(wait.blockers, [{ node: holder.pid, soft: false }]);
      for (const name of one.names) assert.equal(isAbout(wait, name), true, `${name} is not what it is about`);
      for (const name of one.not) assert.equal(isAbout(wait, name), false, `${name} is what it is about`);
      await leave(holder, waiter);
    });
  }
}

/** By the stricter way: as a rule that acts asks. */
function isAbout(wait: LockWait, pattern: string): boolean {
  return waitsOn(wait, tablePattern([pattern]), true);
}

/** What a query makes, where the statement itself has a name that the server chose. */
async function statement(text: string, sql: (text: string) => Promise<readonly Record<string, string | null>[]>) {
  if (!text.endsWith("\\gexec")) return text;
  const [row] = await sql(text.replace("\\gexec", ""));
  return Object.values(row ?? {})[0] ?? "";
}
