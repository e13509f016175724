import { openConnection } from "../../src/engines/oceanbase/open.ts";
import { patience, target } from "../support/targets.ts";

type Row = Readonly<Record<string, string | null>>;

/** Somebody's session, of another program than Lockwarden. */
export type Session = Readonly<{
  id: string;
  mode: "oracle" | "mysql";
  rows(sql: string): Promise<readonly Row[]>;
  isOpen(): boolean;
  end(): Promise<void>;
}>;

/** In the url's database, with a minute for each statement. */
export async function sessionAs(url: string): Promise<Session> {
  const database = new URL(url.replace(/^\w+:\/\/.*@/u, "http://")).pathname.slice(1);
  const patient = { ...target(url, { engine: "oceanbase", name: "real" }), statement_timeout: 60_000 };
  const opened = await openConnection(patient, { database: database === "" ? null : database }, patience());
  const rows = (sql: string) => opened.query(sql, patience());
  const { mode, sessionId } = opened.server;
  // Else all of this user's sessions would count as Lockwarden's own: this one says that it is another program's.
  await rows(
    mode === "oracle"
      ? "BEGIN DBMS_APPLICATION_INFO.SET_MODULE('app', NULL); END;"
      : "CALL DBMS_APPLICATION_INFO.SET_MODULE('app', '')",
  );
  return { id: sessionId, mode, rows, isOpen: () => opened.failure() === null, end: () => opened.close() };
}
