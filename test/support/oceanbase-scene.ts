import assert from "node:assert/strict";
import { after } from "node:test";
import type mysql from "mysql2/promise";
import { configSchema, type Target } from "../../src/config/schema.ts";
import type { Evidence, Guard, Order, Proof, Sent, Signal } from "../../src/core/decision.ts";
import type { Session } from "../../src/core/session.ts";
import type { Snapshot } from "../../src/core/snapshot.ts";
import type { Link } from "../../src/engines/engine.ts";
import { connect } from "../../src/engines/oceanbase/index.ts";
import { eventually } from "./eventually.ts";
import { brief, judge } from "./judge.ts";
import type { OceanBaseDouble } from "./oceanbase/oceanbase.ts";
import { quiet } from "./text-connection.ts";

export type Somebody = Readonly<{
  id: string;
  connection: mysql.Connection;
  run(sql: string): Promise<void>;
  /** Starts it and does not wait; how it ends says `ended`. */
  start(sql: string): Promise<"done" | "failed">;
  /** Has lost its connection, or has not. */
  isAlive(): Promise<boolean>;
  leave(): void;
}>;

export type ObScene = Readonly<{
  double: OceanBaseDouble;
  link: Link;
  /** As rules name the table that everybody fights for. */
  table: string;
  somebody(user?: string): Promise<Somebody>;
  /** A holder of row `row`, idle in its transaction, and one who waits for it. */
  stuck(
    row: number,
    user?: string,
  ): Promise<Readonly<{ holder: Somebody; waiter: Somebody; freed: Promise<"done" | "failed"> }>>;
  read(sessions?: "all" | "transactions"): Promise<Snapshot>;
  /** The first look with locks in which this one waits. */
  readWaiting(who: Somebody): Promise<Snapshot>;
  /** The statements since the last time this was asked that end or interrupt somebody. */
  kills(): readonly string[];
  act(order: Order): Promise<Sent>;
  prove(order: Order): Promise<Proof>;
}>;

export function targetOf(url: string): Target {
  const rule = { name: "tell", match: { idle_for: "1s" }, steps: ["notify"] };
  const [target] = configSchema.parse({ targets: [{ name: "app", engine: "oceanbase", url }], rules: [rule] }).targets;
  assert.ok(target?.url !== undefined);
  return { ...target, url: target.url };
}

/** Rows 1 to 20 of a table of the user `app`, and Lockwarden's link to it. */
export async function obScene(double: OceanBaseDouble, by?: string, through?: "proxy"): Promise<ObScene> {
  await double.createUser({ name: "app", password: "secret" });
  const link = await connect(targetOf(double.url(by, undefined, through)), quiet);
  const people: Somebody[] = [];
  const leave = async () => {
    for (const one of people) one.leave();
    await link.close();
  };
  after(leave);
  const somebody = async (user = "app") => {
    const one = await person(double, user);
    people.push(one);
    return one;
  };
  const owner = await somebody();
  await owner.run("CREATE TABLE IF NOT EXISTS user_session (id INT PRIMARY KEY, n INT)");
  for (let row = 1; row <= 20; row++)
    await owner.run(`INSERT INTO user_session VALUES (${row}, 0)`).catch(() => undefined);
  const read: ObScene["read"] = (sessions = "transactions") => link.read({ sessions, locks: true }, quiet);
  const update = (row: number) => `UPDATE ${schemaOf(double)}user_session SET n = n + 1 WHERE id = ${row}`;
  let seen = 0;
  const scene: ObScene = {
    double,
    link,
    table: double.mode === "oracle" ? "APP.USER_SESSION" : "app.user_session",
    somebody,
    stuck: async (row, user) => {
      const holder = await somebody(user);
      const waiter = await somebody();
      await holder.run("BEGIN");
      await holder.run(update(row));
      await waiter.run("BEGIN");
      const freed = waiter.start(update(row));
      await scene.readWaiting(waiter);
      return { holder, waiter, freed };
    },
    read,
    readWaiting: (who) =>
      eventually(`${who.id} waits`, async () => {
        const snapshot = await read();
        return snapshot.waits?.some(({ waiter }) => waiter === who.id) === true ? snapshot : null;
      }),
    kills: () => {
      const since = double.statements.slice(seen).map(({ sql }) => sql);
      seen = double.statements.length;
      return since.filter((sql) => /\bKILL\b/i.test(sql));
    },
    act: (order) => link.act(order, quiet),
    prove: ({ evidence }) => link.prove(evidence, quiet),
  };
  return scene;
}

/** In Oracle mode a user's own schema comes first, whoever asks; others name it. */
function schemaOf({ mode }: OceanBaseDouble): string {
  return mode === "oracle" ? "APP." : "app.";
}

async function person(double: OceanBaseDouble, user: string): Promise<Somebody> {
  const connection = await double.person(user);
  const ask = async (sql: string) => void (await connection.query(sql));
  return {
    id: String(await double.idOf(connection)),
    connection,
    run: ask,
    start: (sql) =>
      ask(sql).then(
        () => "done" as const,
        () => "failed" as const,
      ),
    isAlive: () =>
      connection.ping().then(
        () => true,
        () => false,
      ),
    leave: () => connection.destroy(),
  };
}

export function sessionIn(snapshot: Snapshot, { id }: Pick<Somebody, "id">): Session {
  const session = snapshot.sessions.find(({ pid }) => pid === id);
  assert.ok(session !== undefined, `session ${id} is in the snapshot`);
  return session;
}

/** Whom a rule that only tells would tell of, in this one look. */
export function toldOf(snapshot: Snapshot, match: object): readonly string[] {
  const rule = { name: "told", match, steps: ["notify"] };
  return judge({ rules: [rule] })
    .look(snapshot)
    .decisions.map(brief);
}

/** What the rule decides: the order that the executor hands on. Ages may come in whole seconds, so it looks until one is there. */
export function orderFor(scene: ObScene, match: object, action: Signal = "terminate"): Promise<Order> {
  const rule = { name: "stuck", match, steps: [action] };
  const judging = judge({ rules: [rule] });
  return eventually(`a rule acts on ${JSON.stringify(match)}`, async () => {
    const { decisions } = judging.look(await scene.read("all"));
    const decision = decisions.find(({ kind }) => kind === "act");
    return decision?.kind === "act" ? { action, evidence: decision.evidence, guard: decision.guard } : null;
  });
}

/** An order on this session, guarded by nothing but its transaction and state unless more is said. */
export function plainOrder(
  snapshot: Snapshot,
  who: Pick<Somebody, "id">,
  more: Partial<Guard> = {},
  action: Signal = "terminate",
): Order {
  const victim = sessionIn(snapshot, who);
  const waits = (snapshot.waits ?? []).filter(({ blockers }) => blockers.some(({ node }) => node === victim.key));
  const waiters = waits.flatMap(({ waiter }) => snapshot.sessions.filter(({ key }) => key === waiter));
  const evidence: Evidence = { at: snapshot.at, serverId: snapshot.serverId, victim, holds: [], waits, waiters };
  const guard = { sinceState: false, sinceQuery: false, blocks: null, waits: null, notMaintenance: true, ...more };
  return { action, evidence, guard };
}

/** The same order, with the session changed as if it had been judged like that. */
export function judgedAs(order: Order, more: Partial<Session>): Order {
  const { victim } = order.evidence;
  assert.ok(victim.kind === "session");
  return { ...order, evidence: { ...order.evidence, victim: { ...victim, ...more } } };
}
