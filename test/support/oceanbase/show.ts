import { privilegesOf } from "./accounts.ts";
import { refused } from "./errors.ts";
import type { Cell } from "./packets.ts";
import { isWord, type Token } from "./tokens.ts";
import { may, type Session, type World } from "./world.ts";

/** Names and cells; what stands in a column of `numbers` is one. */
export type Table = Readonly<{
  names: readonly string[];
  numbers: readonly string[];
  rows: readonly (readonly Cell[])[];
}>;

/** The sessions that this one is shown. Without the privilege the others are missing, and nothing says so. */
export function listed(session: Session, world: World): Session[] {
  const all = [...world.sessions.values()];
  if (session.tenant === "sys") return all;
  const own = all.filter(({ tenant }) => tenant === session.tenant);
  return may(session, world, "showProcess") ? own : own.filter(({ user }) => user === session.user);
}

/** SHOW PROCESSLIST, VARIABLES and GRANTS. */
export function show(tokens: readonly Token[], session: Session, world: World): Table {
  const upper = (table: Table): Table =>
    session.mode === "mysql" ? table : { ...table, names: table.names.map(up), numbers: table.numbers.map(up) };
  const isFull = isWord(tokens[1], "FULL");
  if (isWord(tokens[isFull ? 2 : 1], "PROCESSLIST")) {
    return isByProxy(session, world) && !isFull
      ? proxyProcesslist(session, world)
      : upper(processlist(session, world, isFull));
  }
  const scoped = isWord(tokens[1], "SESSION") || isWord(tokens[1], "GLOBAL") ? 2 : 1;
  if (isWord(tokens[scoped], "VARIABLES"))
    return upper(variables(tokens.slice(scoped + 1), isWord(tokens[1], "GLOBAL") ? null : session, world));
  if (isWord(tokens[1], "GRANTS")) return grants(session, world);
  throw refused(session.mode, { kind: "syntax", near: tokens[1]?.value ?? "" });
}

const up = (name: string) => name.toUpperCase();

/** OBProxy before global client session ids answers SHOW PROCESSLIST and KILL itself. */
export function isByProxy({ proxyId }: Session, { proxy }: World): boolean {
  return proxyId !== null && proxy === "v1";
}

function processlist(session: Session, world: World, isFull: boolean): Table {
  const tenant = isFull ? ["Tenant"] : [];
  const place = isFull ? ["Ip", "Port"] : [];
  const proxy = isFull && session.tenant === "sys" ? ["Proxy_sessid"] : [];
  const rows = listed(session, world).map((one) => {
    const seconds = String(Math.floor((performance.now() - one.since) / 1000));
    const head = [
      String(one.id),
      one.user,
      ...(isFull ? [one.tenant] : []),
      one.host,
      one.database ?? "NULL",
      one.command,
    ];
    const tail = isFull ? ["127.0.0.1", String(world.port())] : [];
    const last = proxy.length > 0 ? [one.proxyId === null ? null : proxySessionId(one.proxyId)] : [];
    return [...head, seconds, one.state, one.info, ...tail, ...last];
  });
  return {
    names: ["Id", "User", ...tenant, "Host", "db", "Command", "Time", "State", "Info", ...place, ...proxy],
    numbers: ["Id", "Time", "Port", "Proxy_sessid"],
    rows,
  };
}

/** Only what goes through this proxy, by numbers that no server knows. */
function proxyProcesslist(session: Session, world: World): Table {
  const rows = [...world.sessions.values()]
    .filter(({ proxyId, tenant }) => proxyId !== null && tenant === session.tenant)
    .map((one) => {
      const seconds = String(Math.floor((performance.now() - one.since) / 1000));
      return [String(one.proxyId), one.user, one.host, one.database, one.command, seconds, one.state, one.info];
    });
  return { names: ["Id", "User", "Host", "db", "Command", "Time", "State", "Info"], numbers: ["Id", "Time"], rows };
}

/** LIKE 'name' or WHERE … 'name': those whose names are among the strings. `session`: null: the tenant's own values. */
function variables(rest: readonly Token[], session: Session | null, world: World): Table {
  const all = new Map([...world.variables, ...(session?.variables ?? [])]);
  const wanted = rest.filter(({ kind }) => kind === "string").map(({ value }) => pattern(value));
  const rows = [...all].filter(([name]) => wanted.length === 0 || wanted.some((one) => one.test(name)));
  return { names: ["Variable_name", "Value"], numbers: [], rows };
}

function pattern(like: string): RegExp {
  const quoted = like.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${quoted.replaceAll("%", ".*").replaceAll("_", ".")}$`, "i");
}

function grants(session: Session, world: World): Table {
  const account = world.accounts.find(session.tenant, session.user);
  const isAll = account?.administrator === true && session.mode === "mysql";
  const held = account === undefined ? [] : privilegesOf(account, session.mode);
  const list = isAll ? "ALL PRIVILEGES" : held.join(", ");
  const to = session.mode === "oracle" ? session.user : `'${session.user}'`;
  const views = account?.views === "all" ? ["*"] : [...(account?.views ?? [])];
  const schema = session.mode === "oracle" ? "SYS" : "oceanbase";
  return {
    names: [session.mode === "oracle" ? `GRANTS FOR ${session.user}@%` : `Grants for ${session.user}@%`],
    numbers: [],
    rows: [
      [
        `GRANT ${list === "" ? "USAGE" : list} ${session.mode === "oracle" ? "" : "ON *.* "}TO ${to}${isAll ? " WITH GRANT OPTION" : ""}`,
      ],
      ...views.map((view) => [`GRANT SELECT ON ${schema}.${view.toUpperCase()} TO ${to}`]),
    ],
  };
}

/** PROXY_SESSID is a third number, of 64 bits, that no KILL takes. */
export function proxySessionId(proxyId: number): string {
  return String(7_230_691_598_940_700_000n + BigInt(proxyId));
}
