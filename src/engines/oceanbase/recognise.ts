import { LinkLost } from "../engine.ts";
import { loginParts } from "./address.ts";
import type { Row, Server } from "./connection.ts";
import { isMissing, reasonOf } from "./errors.ts";
import type { LoggedIn } from "./login.ts";
import { viewName, views } from "./views.ts";
import type { Wire } from "./wire.ts";

/** What a session needs to know before it is used. */
export type Recognised = Readonly<{
  server: Server;
  /** As the server lists it: in capitals in Oracle mode. */
  user: string;
  /** Cluster and tenant; changes when a tenant of the same name is another one, or another copy of it. */
  serverId: string;
  /** A standby tenant, whose data comes from a primary elsewhere. */
  standby: boolean;
  /** Why the list of sessions cannot be read; null: it can. */
  noProcesses: string | null;
}>;

type Query = (sql: string) => Promise<readonly Row[]>;
type Asked = Readonly<{ wire: Wire; login: LoggedIn; user: string }>;

const modeSql = "SHOW VARIABLES LIKE 'ob_compatibility_mode'";
const versionSql = "SHOW VARIABLES LIKE 'version_comment'";
const ownIdSql = {
  oracle: "SELECT /* lockwarden:session */ SYS_CONTEXT('USERENV','SID') AS ID FROM DUAL",
  mysql: "SELECT /* lockwarden:session */ CONNECTION_ID() AS ID FROM DUAL",
} as const;

/** Who answers; refuses whom Lockwarden cannot work with. */
export async function recognise({ wire, login, user }: Asked, signal: AbortSignal): Promise<Recognised> {
  const query: Query = (sql) => wire.query(sql, signal);
  const comment = (await query(versionSql))[0]?.["VALUE"] ?? "";
  const mode = modeOf((await query(modeSql))[0]?.["VALUE"] ?? null, comment);
  const sessionId = ownId((await query(ownIdSql[mode]))[0]?.["ID"] ?? null);
  const own = await ownRow(query, mode, sessionId);
  const named = loginParts(user);
  const tenant = own.row?.["TENANT"] ?? named.tenant;
  const proxyId = own.row?.["PROXY_SESSID"] ?? null;
  // A server greets with the id of the session; a proxy with one of its own, which newer servers then take over.
  const otherId = login.greetedId !== sessionId;
  const throughProxy = otherId || (proxyId !== null && proxyId !== "0");
  const copy = await copyOf(query, mode, tenant);
  return {
    server: {
      mode,
      version: versionOf(comment),
      tenant,
      sessionId,
      throughProxy,
      proxySessionIds: otherId,
      views: await viewsOf(query, mode),
    },
    user: own.row?.["USER"] ?? (mode === "oracle" ? named.name.toUpperCase() : named.name),
    serverId: ["oceanbase", named.cluster ?? "-", tenant ?? "-", copy.id ?? "-", copy.role ?? "-"].join("/"),
    standby: copy.role !== null && copy.role.toUpperCase() === "STANDBY",
    noProcesses: own.refused,
  };
}

/** MySQL and MariaDB have no such variable, and views whose names are the same but say something else. */
export function modeOf(value: string | null, comment: string): Server["mode"] {
  if (value !== null && /^(?:oracle|1)$/iu.test(value)) return "oracle";
  if (value !== null && /^(?:mysql|0)$/iu.test(value)) return "mysql";
  const got = comment === "" ? "one that says nothing of itself" : JSON.stringify(comment.slice(0, 80));
  throw new LinkLost("refused", `expected an OceanBase server, which has ob_compatibility_mode, got ${got}`, {
    hint: /OceanBase/iu.test(comment)
      ? "this one of the family has other variables and views than OceanBase 4, and is not supported"
      : "name an OceanBase server or its proxy in the url: MySQL and MariaDB themselves are not supported",
  });
}

/** OceanBase 4.2.1.11 (r…) (Built …), OceanBase_CE 4.x …, OceanBase 4.3.5.3 SeekDB (…). */
export function versionOf(comment: string): string {
  const version = /\d+\.\d+\.\d+(?:\.\d+)?/u.exec(comment)?.[0] ?? "unknown";
  // It has one tenant, one server, and fewer views.
  return /seekdb/iu.test(comment) ? `${version} seekdb` : version;
}

/** Whoever does not know his own session cannot keep from ending it. */
export function ownId(value: string | null): string {
  if (value !== null && /^[1-9]\d{0,9}$/u.test(value) && Number(value) <= 0xffff_ffff) return value;
  throw new LinkLost("refused", `expected the server to say the id of this session, got ${JSON.stringify(value)}`, {
    hint: "without it Lockwarden's own sessions could not be told from others",
  });
}

async function ownRow(
  query: Query,
  mode: Server["mode"],
  id: string,
): Promise<Readonly<{ row: Row | null; refused: string | null }>> {
  const user = mode === "oracle" ? '"USER"' : "`USER`";
  const from = viewName(mode, views.processes);
  try {
    const rows = await query(
      `SELECT /* lockwarden:session */ TENANT, ${user}, PROXY_SESSID FROM ${from} WHERE ID = ${id}`,
    );
    return { row: rows[0] ?? null, refused: null };
  } catch (error) {
    if (!isMissing(error)) throw error;
    return { row: null, refused: reasonOf(error) };
  }
}

/** Where it is told to this user (4.1 and later): the tenant's id, and whether it is a primary. */
async function copyOf(
  query: Query,
  mode: Server["mode"],
  tenant: string | null,
): Promise<Readonly<{ id: string | null; role: string | null }>> {
  const rows = await unlessMissing(
    query(
      `SELECT /* lockwarden:session */ TENANT_ID, TENANT_NAME, TENANT_ROLE FROM ${viewName(mode, "DBA_OB_TENANTS")}`,
    ),
  );
  const own = rows?.find((row) => row["TENANT_NAME"] === tenant);
  return { id: own?.["TENANT_ID"] ?? null, role: own?.["TENANT_ROLE"] ?? null };
}

async function viewsOf(query: Query, mode: Server["mode"]): Promise<Server["views"]> {
  const has = async (view: string, column = "*"): Promise<boolean> =>
    (await unlessMissing(
      query(`SELECT /* lockwarden:session */ ${column} FROM ${viewName(mode, view)} WHERE 1 = 0`),
    )) !== null;
  const locks = await has(views.locks);
  const locations = await has(views.locations);
  return {
    schedulers: await has(views.schedulers),
    locks,
    lockId3: locks && (await has(views.locks, "ID3")),
    participants: await has(views.participants),
    locations,
    objects: !locations && (await has(views.objects)),
    addresses: await has(views.processes, "SVR_IP, SVR_PORT"),
  };
}

/** null: the server does not have it, or does not show it to us. */
export async function unlessMissing(answer: Promise<readonly Row[]>): Promise<readonly Row[] | null> {
  return await answer.catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw error;
  });
}
