import type { Server, Views } from "./connection.ts";

// The statements of both modes. Their differences are in this table alone; each names its columns, as versions add some.
// ID2 of GV$OB_LOCKS, which is said to be the holder's session, is never read: it may be 4294967295, 0, or out of date.
// The INNODB_… views of MySQL mode are dummies of one made-up row, and never read either.

type Mode = "oracle" | "mysql";

type Dialect = Readonly<{
  schema: string;
  user: string;
  /** The server's clock: a moment with its offset, or seconds since 1970, as the session's time zone may be any. */
  now: string;
  /** The age in microseconds of a moment, by the server's clock. */
  age(column: string): string;
  atMost(count: number): string;
}>;

const dialects: Readonly<Record<Mode, Dialect>> = {
  oracle: {
    schema: "SYS",
    user: '"USER"',
    now: "TO_CHAR(SYSTIMESTAMP, 'YYYY-MM-DD HH24:MI:SS.FF6 TZH:TZM')",
    // Moments with time zones on both sides: a difference of dates would be wrong by the distance of the zones.
    age: (column) => {
      const part = (name: string) => `EXTRACT(${name} FROM (SYSTIMESTAMP - ${column}))`;
      return `(((${part("DAY")} * 24 + ${part("HOUR")}) * 60 + ${part("MINUTE")}) * 60 + ${part("SECOND")}) * 1000000`;
    },
    atMost: (count) => `FETCH FIRST ${count} ROWS ONLY`,
  },
  mysql: {
    schema: "oceanbase",
    user: "`USER`",
    now: "UNIX_TIMESTAMP(NOW(6))",
    age: (column) => `TIMESTAMPDIFF(MICROSECOND, ${column}, NOW(6))`,
    atMost: (count) => `LIMIT ${count}`,
  },
};

/** More than these are not read in one look. */
export const mostSessions = 20_000;
export const mostLocks = 20_000;

/** Stands where one server is all there is, so that identities are made of the same parts everywhere. */
const oneServer = "'-' AS SVR_IP, '-' AS SVR_PORT";

/** `transactions`: whoever has a transaction or runs something. A list: these session ids only. Our own always comes with them. */
export type Which = "all" | "transactions" | readonly string[];

export function sessionsSql({ mode, views }: Pick<Server, "mode" | "views">, which: Which, own: string): string {
  const { schema, user, now, atMost } = dialects[mode];
  const wanted =
    which === "all"
      ? ""
      : which === "transactions"
        ? ` WHERE TRANS_ID <> 0 OR COMMAND <> 'Sleep' OR ID = ${own}`
        : ` WHERE ID IN (${[...new Set([...which, own])].join(", ")})`;
  return `SELECT /* lockwarden:sessions */ ${now} AS SERVER_NOW, ${views.addresses ? "SVR_IP, SVR_PORT" : oneServer}, ID, ${user}, HOST, DB, TENANT, COMMAND, TIME, STATE, INFO, USER_CLIENT_IP, TRANS_ID, TRACE_ID, TRANS_STATE, MODULE FROM ${schema}.GV$OB_PROCESSLIST${wanted} ${atMost(mostSessions + 1)}`;
}

/** Who had which transaction before the locks were read. */
export function pairsSql(mode: Mode): string {
  const { schema, atMost } = dialects[mode];
  return `SELECT /* lockwarden:pairs */ ID, TRANS_ID FROM ${schema}.GV$OB_PROCESSLIST WHERE TRANS_ID <> 0 ${atMost(mostSessions + 1)}`;
}

/** Without ID3 the waits for rows say something else in ID1, so only those for transactions are read. */
const waits = (views: Views) => (views.lockId3 ? "BLOCK = 1" : "BLOCK = 1 AND TYPE = 'TX'");

/** Whoever waits; and with `held` the tables that are held: of rows there may be millions. */
export function locksSql(mode: Mode, views: Views, held: boolean): string {
  const { schema, atMost } = dialects[mode];
  const where = held ? `(${waits(views)}) OR (BLOCK = 0 AND TYPE = 'TM')` : waits(views);
  const id3 = views.lockId3 ? "ID3, " : "";
  return `SELECT /* lockwarden:locks */ TRANS_ID, SESSION_ID, TYPE, ID1, ${id3}LMODE, REQUEST, CTIME, BLOCK FROM ${schema}.GV$OB_LOCKS WHERE ${where} ${atMost(mostLocks + 1)}`;
}

export function waitersSql(mode: Mode, views: Views): string {
  return `SELECT /* lockwarden:waiters */ COUNT(*) AS WAITERS FROM ${dialects[mode].schema}.GV$OB_LOCKS WHERE ${waits(views)}`;
}

/** What one transaction still holds, in one row or none: each has one lock of this type while it lasts. */
export function heldSql(mode: Mode, transactionId: string): string {
  return `SELECT /* lockwarden:held */ COUNT(*) AS HELD FROM ${dialects[mode].schema}.GV$OB_LOCKS WHERE BLOCK = 0 AND TYPE = 'TX' AND TRANS_ID = ${transactionId}`;
}

/** One row for each transaction; in the fall-back one for each of its participants, and none before it has written. */
export function agesSql(mode: Mode, from: "schedulers" | "participants"): string {
  const { schema, age } = dialects[mode];
  return from === "schedulers"
    ? `SELECT /* lockwarden:ages */ TX_ID, ${age("ACTIVE_TIME")} AS AGE_US FROM ${schema}.GV$OB_TRANSACTION_SCHEDULERS`
    : `SELECT /* lockwarden:ages */ TX_ID, ${age("CTX_CREATE_TIME")} AS AGE_US FROM ${schema}.GV$OB_TRANSACTION_PARTICIPANTS`;
}

export function locationsSql(mode: Mode, by: "TABLET_ID" | "TABLE_ID", ids: readonly string[]): string {
  return `SELECT /* lockwarden:locations */ DISTINCT DATABASE_NAME, TABLE_NAME, TABLE_ID, TABLE_TYPE, DATA_TABLE_ID, TABLET_ID FROM ${dialects[mode].schema}.DBA_OB_TABLE_LOCATIONS WHERE ${by} IN (${ids.join(", ")})`;
}

/** The same of tables and their partitions, whose indexes it does not tell apart. */
export function objectsSql(mode: Mode, by: "TABLET_ID" | "TABLE_ID", ids: readonly string[]): string {
  const column = by === "TABLET_ID" ? "DATA_OBJECT_ID" : "OBJECT_ID";
  return `SELECT /* lockwarden:objects */ OWNER AS DATABASE_NAME, OBJECT_NAME AS TABLE_NAME, OBJECT_ID AS TABLE_ID, NULL AS DATA_TABLE_ID, DATA_OBJECT_ID AS TABLET_ID FROM ${dialects[mode].schema}.DBA_OBJECTS WHERE OBJECT_TYPE LIKE 'TABLE%' AND ${column} IN (${ids.join(", ")})`;
}

/** The signal. The id has been checked: it stands in the statement as it is. */
export function signalSql(mode: Mode, action: "cancel" | "terminate", id: string): string {
  if (action === "cancel") return `KILL QUERY ${id}`;
  return mode === "oracle" ? `ALTER SYSTEM KILL SESSION '${id}'` : `KILL ${id}`;
}
