import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../src/config/schema.ts";
import { type Link, LinkLost } from "../../src/engines/engine.ts";
import { recognised } from "../../src/engines/recognised.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { orderOn } from "../support/opengauss-look.ts";
import { client, eventually, server } from "../support/servers.ts";
import { switchboard } from "../support/switchboard.ts";
import { patience, target } from "../support/targets.ts";

// What changes under a daemon that goes on: its rights, the server's settings, the server itself.

const off = await openGauss();
const on = await openGauss({ threadPool: true });
const postgres = await server();
for (const double of [off, on]) {
  await double.createUser({ name: "lockwarden", monadmin: true, signalBackend: true, auth: "sha256" });
  await double.createUser({ name: "app" });
}
const board = await switchboard(off.port);
const url = `postgres://lockwarden:lockwarden%40Gauss1@127.0.0.1:${board.port}/postgres`;

const connect = (to = url, more: Partial<Target> = {}): Promise<Link> => {
  const asked = target(to, more);
  return recognised(asked).connect(asked, patience());
};
const look = (link: Link) => link.read({ sessions: "all", locks: true }, patience());
const holder = async (to: string, application: string) => {
  const one = await client(to, { application_name: application });
  await one.query("begin; create temp table held (i int)");
  return one;
};
const seen = async (link: Link, application: string) => {
  const snapshot = await look(link);
  const found = snapshot.sessions.find((one) => one.application === application);
  return orderOn(snapshot, found ?? assert.fail(`no session of ${application}`));
};

const lost = (link: Link) =>
  eventually(() =>
    look(link).then(
      () => false,
      (error: unknown) => error instanceof LinkLost,
    ),
  );

for (const double of [off, on]) {
  const mode = double.threadPool ? "thread pool on" : "thread pool off";

  test(`${mode}: a role that loses MONADMIN while the link is open sends nothing any more, and says why`, async () => {
    const victim = await holder(double.url("app"), "victim");
    const link = await connect(double.url("lockwarden"));
    const order = await seen(link, "victim");
    const admin = await client(double.url());
    const before = double.signalled.length;
    await admin.query("alter user lockwarden nomonadmin");
    const denied = await link.act(order, patience());
    assert.ok(denied.kind === "denied" && denied.unsent === true, JSON.stringify(denied));
    assert.match(denied.error, /^1 session has locks and cannot be seen/);
    assert.equal(double.signalled.length, before);
    const blind = await look(link);
    assert.equal(
      blind.sessions.some(({ application }) => application === "victim"),
      false,
    );
    await admin.query("alter user lockwarden monadmin");
    assert.deepEqual(await link.act(order, patience()), { kind: "sent" });
    await Promise.all([link.close(), admin.end(), victim.end().catch(() => undefined)]);
  });

  test(`${mode}: a role that loses the right to signal is denied, in the server's words`, async () => {
    const victim = await holder(double.url("app"), "another victim");
    const link = await connect(double.url("lockwarden"));
    const admin = await client(double.backend.url());
    const order = await seen(link, "another victim");
    await admin.query("revoke gs_role_signal_backend from lockwarden");
    const denied = await link.act(order, patience());
    assert.equal(denied.kind, "denied");
    assert.match("error" in denied ? denied.error : "", /gs_role_signal_backend/);
    await admin.query("grant gs_role_signal_backend to lockwarden");
    assert.deepEqual(await link.act(order, patience()), { kind: "sent" });
    await Promise.all([link.close(), admin.end(), victim.end().catch(() => undefined)]);
  });

  test(`${mode}: another daemon of the same role is never signalled, not even by hand`, async () => {
    const [first, twin] = [await connect(double.url("lockwarden")), await connect(double.url("lockwarden"))];
    // Those of a link that has just been closed may be listed a moment longer.
    const { snapshot, own } = await eventually(async () => {
      const seenNow = await look(first);
      const ours = seenNow.sessions.filter((one) => one.own);
      return ours.length === 4 && { snapshot: seenNow, own: ours };
    });
    const before = double.signalled.length;
    for (const session of own) {
      const order = orderOn(snapshot, session, { sinceState: false, notMaintenance: false, sessionOnly: true });
      assert.equal((await first.act(order, patience())).kind, "failed");
      const forged = { ...order.evidence, victim: { ...session, own: false } };
      assert.deepEqual(await first.act({ ...order, evidence: forged }, patience()), { kind: "changed" });
    }
    assert.equal(double.signalled.length, before);
    await Promise.all([first.close(), twin.close()]);
  });
}

test("a server that comes back with the thread pool on is asked anew, and nothing judged before is sent to it", async () => {
  board.lead(off.port);
  const idler = await client(on.url("app"), { application_name: "idler" });
  const victim = await holder(off.url("app"), "victim");
  const link = await connect();
  const order = await seen(link, "victim");
  board.lead(on.port);
  await lost(link);
  const again = await connect();
  assert.deepEqual(await again.act(order, patience()), { kind: "changed" });
  const { sessions } = await look(again);
  // Only a pool has sessions that are on no thread.
  assert.equal(sessions.find(({ application }) => application === "idler")?.pid, null);
  assert.equal((await victim.query("select 1 as one")).rows[0]?.one, 1);
  await Promise.all([again.close(), link.close(), victim.end(), idler.end()]);
});

test("an address that leads to another product by now: it is recognised anew, or refused where the config names one", async () => {
  const admin = await client(postgres.url());
  await admin.query("create role lockwarden login superuser");
  board.lead(off.port);
  const link = await connect();
  const victim = await holder(off.url("app"), "victim");
  const order = await seen(link, "victim");
  board.lead(postgres.port);
  await lost(link);
  const plain = await connect();
  assert.equal(plain.facts.engine, undefined);
  assert.deepEqual(await plain.act(order, patience()), { kind: "changed" });
  await assert.rejects(connect(url, { engine: "opengauss" }), {
    name: "LinkLost",
    kind: "refused",
    message: /the target says engine: opengauss, and the server is PostgreSQL/,
  });
  await assert.rejects(connect(url, { kill_with: "kill-session" }), { name: "LinkLost", kind: "refused" });
  await Promise.all([plain.close(), link.close(), victim.end(), admin.end()]);
});
