import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../../src/engines/oceanbase/index.ts";
import { eventually } from "../support/eventually.ts";
import { patience, target } from "../support/targets.ts";
import {
  blockersAt,
  isProved,
  lookAtIdleHolder,
  lookAtWaits,
  onAnotherTransaction,
  orderAt,
  orderOnBlocker,
  sessionAt,
  waitAt,
} from "./look.ts";
import { type Session, sessionAs } from "./oceanbase-session.ts";

// On a real server, by address: LOCKWARDEN_TEST_OCEANBASE=oceanbase://USER@TENANT:PASSWORD@HOST:PORT/DATABASE. The user has what
// `lockwarden grants` prints, and may create, use and drop tables in that database (Oracle mode: in its own schema, without a
// database in the url). What these tests end are sessions that they opened themselves.

const url = process.env["LOCKWARDEN_TEST_OCEANBASE"] ?? "";
const skip =
  url === "" ? "LOCKWARDEN_TEST_OCEANBASE is not set: oceanbase://USER@TENANT:PASSWORD@HOST:PORT/DATABASE" : false;
const table = `lockwarden_real_${process.pid}`;
const place = target(url, { engine: "oceanbase", name: "real" });
const closing: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const close of closing.toReversed()) await close().catch(() => undefined);
});

type Person = Session & Readonly<{ run(sql: string): Promise<unknown> }>;

async function person(): Promise<Person> {
  const session = await sessionAs(url);
  closing.push(() => session.end());
  return { ...session, run: (sql) => session.rows(sql) };
}

async function begin(one: Person, sql: string): Promise<void> {
  await one.run("SET autocommit = 0");
  await one.run(sql);
}

if (skip !== false) test("a real OceanBase server", { skip }, () => undefined);
else {
  const link = await connect(place, patience());
  closing.push(() => link.close());
  const setup = await person();
  await setup.run(`CREATE TABLE ${table} (id INT PRIMARY KEY, n INT)`);
  closing.push(() => setup.run(`DROP TABLE ${table}`));
  await setup.run(`INSERT INTO ${table} VALUES (1, 0)`);
  await setup.run(`INSERT INTO ${table} VALUES (2, 0)`);
  const [holder, waiter, innocent] = [await person(), await person(), await person()];

  test("it is recognised, may see and act, and has the lock by which one daemon acts", async () => {
    assert.match(link.facts.version, /^\d+\.\d+\.\d+/u);
    assert.equal(link.capabilities.acts, true);
    assert.equal(link.capabilities.transactionAge, true);
    const missing = await link.check(patience());
    assert.deepEqual(
      missing.filter(({ fatal }) => fatal),
      [],
    );
    // The server frees the lock of a session that is gone about ten seconds later: that of the run before this one.
    await eventually("the lock among daemons is ours", async () => (await link.lease(patience())) === "held");
    const survey = await link.survey([{ pattern: `*.${table}`, databases: null }], patience());
    assert.equal(survey.ownRole, link.facts.role);
    assert.ok(survey.tables.some(({ found }) => found.length > 0));
  });

  test("a stuck row is seen, ended on the server, and proved free, and nobody else is hit", async () => {
    await begin(holder, `UPDATE ${table} SET n = 1 WHERE id = 1`);
    await begin(innocent, `UPDATE ${table} SET n = 1 WHERE id = 2`);
    const freed = waiter.run(`UPDATE ${table} SET n = 2 WHERE id = 1`);
    const snapshot = await lookAtWaits(link, waiter.id);

    const victim = sessionAt(snapshot, holder.id);
    assert.equal(victim.state, "idle in transaction");
    assert.equal(victim.role, "client");
    assert.equal(victim.own, false);
    assert.notEqual(victim.identity, "");
    assert.ok(victim.transaction.kind === "open" && victim.transaction.ageMs !== null);
    const wait = waitAt(snapshot, waiter.id);
    assert.deepEqual(blockersAt(snapshot, waiter.id, false), [holder.id]);
    assert.equal(wait.hiddenBlocker, false);
    assert.equal(wait.relation?.name.toLowerCase(), table);

    const order = orderOnBlocker(snapshot, holder.id, waiter.id);
    const spared = await link.act(onAnotherTransaction(order, "1"), patience());
    assert.equal(spared.kind, "changed");
    assert.ok(holder.isOpen());

    const sent = await link.act(order, patience());
    assert.equal(sent.kind, "sent");
    await freed;
    await isProved(link, order);
    await eventually("the holder's connection is closed", () =>
      holder.run("SELECT 1 FROM DUAL").then(
        () => false,
        () => true,
      ),
    );
    await innocent.run("COMMIT");
    assert.equal((await link.act(order, patience())).kind, "gone");
  });

  test("a statement that waits is cancelled, and its session stays", async () => {
    await begin(innocent, `UPDATE ${table} SET n = 3 WHERE id = 2`);
    const cancelled = assert.rejects(waiter.run(`UPDATE ${table} SET n = 4 WHERE id = 2`), /interrupted/iu);
    const snapshot = await lookAtWaits(link, waiter.id);
    const order = orderAt(snapshot, waiter.id, "cancel");
    assert.equal((await link.act(order, patience())).kind, "sent");
    // The server tells a statement that waits for a lock only when it tries again: up to ten seconds later.
    await cancelled;
    await waiter.run("ROLLBACK");
    await innocent.run("ROLLBACK");
  });

  test("an idle holder is sent no cancel, which would free nothing", async () => {
    await begin(innocent, `UPDATE ${table} SET n = 5 WHERE id = 2`);
    const order = orderAt(await lookAtIdleHolder(link, innocent.id), innocent.id, "cancel");
    assert.notEqual((await link.act(order, patience())).kind, "sent");
    await innocent.run("ROLLBACK");
  });
}
