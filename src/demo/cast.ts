import type { PlainClient } from "../engines/postgres/plain-client.ts";
import { type LoginService, logIn } from "./login-service.ts";
import type { Attempt } from "./view.ts";

/** Who plays: instances of the login service, and a report that is in nobody's way. */
export type Cast = Readonly<{
  web1: PlainClient;
  web2: PlainClient;
  web3: PlainClient;
  support: PlainClient;
  reporting: PlainClient;
  /** The report's transaction, to be recognised by. */
  report: string;
}>;

export async function openCast({ instance, reader }: LoginService): Promise<Cast> {
  const reporting = await reader("reporting");
  // Idle in its transaction for longer than the rule allows a blocker.
  await reporting.query("begin isolation level repeatable read");
  await reporting.query("select user_name, last_login from public.user_session");
  const report = await transactionOf(reporting);
  return {
    reporting,
    report,
    web1: await instance("web-1"),
    web2: await instance("web-2"),
    web3: await instance("web-3"),
    support: await instance("support"),
  };
}

/** In one and the same transaction now() stands still. */
export async function transactionOf(client: PlainClient): Promise<string> {
  const [row] = await client.query("select now() as began, pg_catalog.pg_backend_pid() as pid");
  return `pid ${row?.["pid"] ?? "?"} since ${row?.["began"] ?? "?"}`;
}

/** An attempt that goes on by itself; asked for as it stands. */
export type Try = () => Attempt;

export function tryLogin(client: PlainClient, application: string, who: string): Try {
  const begun = performance.now();
  let result: Pick<Attempt, "state" | "ms"> | null = null;
  const end = (state: Attempt["state"]) => {
    result = { state, ms: performance.now() - begun };
  };
  void logIn(client, "alice").then(
    () => end("in"),
    () => end("failed"),
  );
  const waiting = () => ({ state: "waiting", ms: performance.now() - begun }) as const;
  return () => ({ application, who, ...(result ?? waiting()) });
}
