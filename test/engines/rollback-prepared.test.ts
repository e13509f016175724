import assert from "node:assert/strict";
import { test } from "node:test";
import type { Order, Sent } from "../../src/core/decision.ts";
import type { Prepared } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import { LinkLost } from "../../src/engines/engine.ts";
import { preparedRights } from "../../src/engines/postgres/prepared-rights.ts";
import { prove } from "../../src/engines/postgres/prove.ts";
import { rollbackPrepared } from "../../src/engines/postgres/rollback-prepared.ts";
import { leave, stages } from "../support/scene.ts";
import { eventually } from "../support/servers.ts";
import { quiet, textConnection } from "../support/text-connection.ts";

function preparedOf(snapshot: Snapshot, gid: string): Prepared {
  return snapshot.prepared.find((one) => one.gid === gid) ?? assert.fail(`${gid} is not in the snapshot`);
}

/** An order to roll it back, as long as `waiters` of those in the snapshot wait for it. */
function orderOn(snapshot: Snapshot, gid: string, waiters = 0): Order {
  const victim = preparedOf(snapshot, gid);
  const waits = (snapshot.waits ?? []).filter((wait) => wait.blockers.some(({ node }) => node === victim.key));
  const edges = waits.map(({ pid, lock, mode }) => ({
    waiterPid: pid ?? "",
    blockerPid: "0",
    lock,
    mode,
    counts: true,
  }));
  return {
    action: "rollback-prepared",
    evidence: { at: snapshot.at, serverId: snapshot.serverId, victim, holds: [], waits, waiters: [] },
    guard: {
      sinceState: false,
      sinceQuery: false,
      blocks: waiters === 0 ? null : { edges, waiters },
      waits: null,
      notMaintenance: false,
    },
  };
}

const withVictim = (order: Order, more: Partial<Prepared>): Order => ({
  ...order,
  evidence: { ...order.evidence, victim: { ...order.evidence.victim, ...more } as Prepared },
});

const settings = { max_prepared_transactions: "10", deadlock_timeout: "60s" };
const made = await stages({ settings }, async ({ connection }) => {
  for (const sql of [
    "create table account as select id, 0 as n from generate_series(1, 20) id",
    "create role owner login",
    "create role stranger login",
    "create role member login in role owner",
    "grant all on account to owner",
    "create database other",
  ])
    await connection.query(sql, [], quiet);
});

for (const { major, postgres, here } of made) {
  const openAs = (user: string) => (database: string) => textConnection(postgres.url(user, database));
  const send = (order: Order, user = "postgres"): Promise<Sent> => rollbackPrepared(openAs(user), order, quiet);
  const isThere = async (gid: string) => (await here.read()).prepared.some((one) => one.gid === gid);
  /** Row `id` is held by a prepared transaction of `owner`. */
  const prepare = async (gid: string, id: number, database = "postgres") => {
    const person = await here.person("app", database === "postgres" ? "owner" : "postgres", database);
    if (database !== "postgres") await person.run("create table account as select 1 as id, 0 as n");
    await person.run(`begin; update account set n = 1 where id = ${id}`);
    await person.run(`prepare transaction '${gid.replaceAll("'", "''")}'`);
    await leave(person);
  };
  /** Somebody who waits for that row. */
  const queue = async (id: number) => {
    const person = await here.person("waiter", "owner");
    const through = person.client.query(`update account set n = 2 where id = ${id}`);
    through.catch(() => undefined);
    return { person, through };
  };

  test(`${major}: the one that was judged is rolled back, its waiter gets through, and no other is touched`, async () => {
    await prepare("app-1", 1);
    await prepare("app-10", 2);
    const { person, through } = await queue(1);
    const order = orderOn(await here.readWith(1), "app-1", 1);
    const before = await prove(here.connection, order.evidence, quiet);
    assert.deepEqual([before.sameTransaction, before.stillBlocked], [true, [person.pid]]);
    assert.deepEqual(await send(order), { kind: "sent" });
    assert.equal((await through).rowCount, 1);
    const after = await prove(here.connection, order.evidence, quiet);
    assert.deepEqual([after.alive, after.sameTransaction, after.stillBlocked], [false, false, []]);
    assert.deepEqual([await isThere("app-1"), await isThere("app-10")], [false, true]);
    assert.deepEqual(await send(order), { kind: "gone" });
    assert.deepEqual(await send(orderOn(await here.read(), "app-10")), { kind: "sent" });
    await leave(person);
  });

  test(`${major}: a look shows its moment, its owner's power and the age of its id`, async () => {
    await prepare("app-look", 1);
    const one = preparedOf(await here.read(), "app-look");
    assert.match(one.preparedAt ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.deepEqual([one.user, one.database, one.superuser], ["owner", "postgres", false]);
    const first = one.xminAge ?? assert.fail("unknown");
    await here.connection.query("insert into account values (99, 0)", [], quiet);
    assert.equal(preparedOf(await here.read(), "app-look").xminAge, first + 1);
    assert.deepEqual(await send(orderOn(await here.read(), "app-look")), { kind: "sent" });
  });

  test(`${major}: a gid that was given anew is another transaction, and so is one whose moment, owner or id differs`, async () => {
    await prepare("app-2", 3);
    const order = orderOn(await here.read(), "app-2");
    const owner = await here.person("app", "owner");
    await owner.run("rollback prepared 'app-2'");
    await prepare("app-2", 3);
    assert.deepEqual(await send(order), { kind: "changed" });
    const now = orderOn(await here.read(), "app-2");
    const { preparedAt, transactionId } = preparedOf(await here.read(), "app-2");
    for (const more of [
      { preparedAt: preparedAt?.replace(/\d{3}Z$/, "") === undefined ? null : "2026-01-01T00:00:00.000001Z" },
      { transactionId: String(Number(transactionId) + 1) },
      { user: "postgres" },
    ])
      assert.deepEqual(await send(withVictim(now, more)), { kind: "changed" }, JSON.stringify(more));
    assert.equal(await isThere("app-2"), true);
    assert.deepEqual(await send(now), { kind: "sent" });
    await leave(owner);
  });

  test(`${major}: it is left alone when too few still wait for it`, async () => {
    await prepare("app-3", 4);
    const { person } = await queue(4);
    const order = orderOn(await here.readWith(1), "app-3", 1);
    await leave(person);
    assert.deepEqual(await send(order), { kind: "changed" });
    const other = await here.person("holder", "owner");
    await other.run("begin; update account set n = 3 where id = 5");
    const elsewhere = await queue(5);
    const [edge] = orderOn(await here.readWith(1), "app-3", 1).guard.blocks?.edges ?? [];
    assert.equal(edge, undefined);
    const [wait] = (await here.read()).waits ?? [];
    const invented = { waiterPid: elsewhere.person.pid, blockerPid: "0", counts: true };
    const edges = [{ ...invented, lock: wait?.lock ?? "", mode: wait?.mode ?? "" }];
    const guard = { ...order.guard, blocks: { edges, waiters: 1 } };
    assert.deepEqual(await send({ ...order, guard }), { kind: "changed" });
    assert.equal(await isThere("app-3"), true);
    assert.deepEqual(await send(orderOn(await here.read(), "app-3")), { kind: "sent" });
    await leave(other, elsewhere.person);
  });

  test(`${major}: one of another database is rolled back in that one, over a session that is closed again`, async () => {
    await prepare("app-4", 1, "other");
    const order = orderOn(await here.read(), "app-4");
    assert.equal(preparedOf(await here.read(), "app-4").database, "other");
    assert.deepEqual(await send(withVictim(order, { database: "postgres" })), { kind: "changed" });
    assert.deepEqual(await send(order), { kind: "sent" });
    await here.connection.query("drop database other", [], quiet);
  });

  test(`${major}: whose prepared transactions a role may not end is known beforehand, with the grant`, async () => {
    const rights = async (user: string) => preparedRights(await textConnection(postgres.url(user)), quiet);
    assert.deepEqual(await rights("stranger"), []);
    await prepare("app-8", 10);
    const [missing, ...more] = await rights("stranger");
    assert.deepEqual([missing?.grant, missing?.fatal, more], ['grant "owner" to "stranger";', false, []]);
    assert.deepEqual([await rights("member"), await rights("postgres")], [[], []]);
    assert.deepEqual(await send(orderOn(await here.read(), "app-8")), { kind: "sent" });
  });

  test(`${major}: a role that may not is denied and told what to grant; a member of the owner may`, async () => {
    await prepare("app-5", 6);
    const order = orderOn(await here.read(), "app-5");
    const denied = await send(order, "stranger");
    assert.equal(denied.kind, "denied");
    assert.match(
      "error" in denied ? denied.error : "",
      /permission denied.*; only its owner, a member of its owner or a superuser may: grant "owner" to "stranger";$/,
    );
    assert.equal(await isThere("app-5"), true);
    assert.deepEqual(await send(order, "member"), { kind: "sent" });
    await prepare("app-5", 6);
    assert.deepEqual(await send(orderOn(await here.read(), "app-5"), "owner"), { kind: "sent" });
  });

  test(`${major}: whatever its gid is called, it is that one and no statement of its own`, async () => {
    const gid = "a'; drop table account; -- \\' ü \"x\" E'";
    await prepare(gid, 7);
    assert.deepEqual(await send(orderOn(await here.read(), gid), "owner"), { kind: "sent" });
    assert.equal(await isThere(gid), false);
    assert.notEqual((await here.connection.query("select from account", [], quiet)).length, 0);
  });

  test(`${major}: without all that identifies it nothing is even opened`, async () => {
    await prepare("app-6", 8);
    const order = orderOn(await here.read(), "app-6");
    const { preparedAt: _, ...old } = preparedOf(await here.read(), "app-6");
    const holes: Order[] = [
      ...[{ transactionId: "" }, { preparedAt: null }, { user: "" }, { database: "" }].map((hole) =>
        withVictim(order, hole),
      ),
      { ...order, evidence: { ...order.evidence, victim: old } },
    ];
    const never = () => assert.fail("opened a connection");
    for (const hole of holes) assert.equal((await rollbackPrepared(never, hole, quiet)).kind, "failed");
    assert.deepEqual(await send(order), { kind: "sent" });
  });

  test(`${major}: a session that cannot be opened or is lost says whether anything was sent`, async () => {
    await prepare("app-7", 9);
    const order = orderOn(await here.read(), "app-7");
    const refused = (kind: LinkLost["kind"]) => () => Promise.reject(new LinkLost(kind, "no", { hint: "do this" }));
    assert.deepEqual(await rollbackPrepared(refused("denied"), order, quiet), {
      kind: "denied",
      error: "nothing was sent: no; do this",
    });
    assert.equal((await rollbackPrepared(refused("unreachable"), order, quiet)).kind, "failed");
    const lostAt = (tag: string) => async (database: string) => {
      const connection = await textConnection(postgres.url("postgres", database));
      const query: typeof connection.query = (sql, values, signal) =>
        sql.includes(tag) ? Promise.reject(new LinkLost("lost", "gone")) : connection.query(sql, values, signal);
      return { ...connection, query };
    };
    assert.equal((await rollbackPrepared(lostAt("prepared-guard"), order, quiet)).kind, "failed");
    assert.equal((await rollbackPrepared(lostAt("rollback prepared"), order, quiet)).kind, "uncertain");
    await assert.rejects(rollbackPrepared(openAs("postgres"), order, AbortSignal.abort(new Error("stop"))), /stop/);
    const ended = async (database: string) => {
      const connection = await textConnection(postgres.url("postgres", database));
      const query: typeof connection.query = async (sql, values, signal) => {
        if (sql.startsWith("rollback")) await here.connection.query("rollback prepared 'app-7'", [], quiet);
        return await connection.query(sql, values, signal);
      };
      return { ...connection, query };
    };
    assert.deepEqual(await rollbackPrepared(ended, order, quiet), { kind: "gone" });
    await eventually(async () => (await here.read()).prepared.length === 0);
  });
}
