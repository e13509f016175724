import type pg from "pg";
import { abandon, type LoginService, logIn, pidOf } from "./login-service.ts";
import { eventually } from "./servers.ts";

/** Somebody abandoned a row, long enough ago for `stuckRule`, and somebody else waits for it. */
export type StuckLogin = Readonly<{
  pid: string;
  /** Its session is still there, with its transaction open. */
  lives(): Promise<boolean>;
  /** The one who waited got through. */
  login: Promise<unknown>;
  /** The victim ends its transaction itself. */
  release(): Promise<void>;
}>;

/** Matches a stuck login at the first look at it. */
export const stuckRule = `rules:
  - name: stuck-login
    match: {state: idle in transaction, idle_for: 200ms, blocks: {tables: [public.user_session]}}
    steps: [terminate]`;

export async function stuckLogin(service: LoginService, id: number, user?: string): Promise<StuckLogin> {
  const crashed = await service.person("web-1", user);
  const pid = await pidOf(crashed);
  await abandon(crashed, id);
  const waiter = await service.person("web-2");
  const waiterPid = await pidOf(waiter);
  const login = logIn(waiter, id);
  // A daemon that runs already may free it before anybody has seen it wait.
  let over = false;
  const end = () => {
    over = true;
  };
  login.then(end, end);
  await shows(service.admin, "wait_event_type = 'Lock'", waiterPid, () => over);
  await shows(service.admin, "state_change < clock_timestamp() - interval '200 ms'", pid, () => over);
  return {
    pid: String(pid),
    login,
    lives: async () => {
      const sql = "select 1 from pg_stat_activity where pid = $1 and state = 'idle in transaction'";
      return (await service.admin.query(sql, [pid])).rowCount === 1;
    },
    release: async () => {
      await crashed.query("rollback");
      await login;
    },
  };
}

async function shows(admin: pg.Client, condition: string, pid: number, over: () => boolean): Promise<void> {
  await eventually(async () => {
    if (over()) return true;
    const { rowCount } = await admin.query(`select 1 from pg_stat_activity where pid = $1 and ${condition}`, [pid]);
    return rowCount === 1;
  });
}
