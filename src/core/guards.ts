import type { Config } from "../config/schema.ts";
import type { Patterns } from "./condition.ts";
import type { Reason, SpareBy } from "./decision.ts";
import { anyGlob } from "./glob.ts";
import type { Session, Text } from "./session.ts";

/** Why a session is never a victim; null when nothing protects it. */
export type Protection = (session: Session) => Readonly<{ by: SpareBy; reason: Reason }> | null;

/** Applications that are on the list until `protect.backups: false`. */
export const backupApplications = [
  "pg_dump*",
  "pg_restore*",
  "pg_basebackup*",
  "pgBackRest*",
  "pgbackrest*",
  "barman*",
  "wal-g*",
  "gs_dump*",
  "gs_restore*",
  "gs_basebackup*",
  "gs_probackup*",
] as const;

type Shield = (session: Session) => Reason | "unknown" | null;

/** No setting lifts these. */
const always: readonly Shield[] = [
  (session) => (session.own ? reason("own", "is one of Lockwarden's own sessions") : null),
  (session) =>
    session.role === "client"
      ? null
      : reason("not-client", `is no client backend but ${session.backendType ?? "of unknown type"}`),
  // A cancel here makes COMMIT return success without the standby having it.
  (session) =>
    session.waitEvent?.endsWith("SyncRep") === true
      ? reason("sync-rep", "waits for a standby to confirm its commit")
      : null,
];

/** Whom nothing lifts, not even somebody who asks by hand. */
export const alwaysProtected: Protection = protectionBy(always.map((shield) => ["always", shield]));

/** Of a prepared transaction only its owner and its database are known; the rest belonged to a client. */
const ofPrepared: ReadonlySet<string> = new Set(["superuser", "user", "database"]);

export function compileProtection(protect: Config["protect"], patterns: Patterns): Protection {
  const shields: [string, Shield][] = always.map((shield) => ["always", shield]);
  if (protect.superusers) {
    shields.push(["superuser", fact((session) => session.superuser, "superuser", "belongs to a superuser")]);
  }
  if (protect.maintenance) {
    // A calm look does not read it; nothing is decided on one.
    const seen = (session: Session) => session.maintenance ?? false;
    shields.push(["maintenance", fact(seen, "maintenance", "runs maintenance that reports its progress")]);
  }
  const applications = [...(protect.backups ? backupApplications : []), ...(protect.applications ?? [])];
  const lists: [
    string,
    readonly string[] | undefined,
    (session: Session) => Text,
    (list: readonly string[]) => (text: string) => boolean,
  ][] = [
    ["application", applications, (session) => session.application, anyGlob],
    ["user", protect.users, (session) => session.user, anyGlob],
    ["database", protect.databases, (session) => session.database, anyGlob],
    ["client", protect.clients, (session) => session.client, patterns.cidr],
  ];
  for (const [name, list, read, compile] of lists) {
    if (list === undefined || list.length === 0) continue;
    shields.push([name, listed(name, read, compile(list))]);
  }
  return protectionBy(shields);
}

function protectionBy(shields: readonly (readonly [string, Shield])[]): Protection {
  return (session) => {
    for (const [name, shield] of shields) {
      if (session.role === "prepared" && !ofPrepared.has(name)) continue;
      const found = shield(session);
      if (found === null) continue;
      if (found !== "unknown") return { by: "protect", reason: found };
      return { by: "unknown", reason: reason("unknown", `its ${name} is unknown, and might be protected`) };
    }
    return null;
  };
}

function fact(read: (session: Session) => boolean | null, code: string, text: string): Shield {
  return (session) => {
    const value = read(session);
    if (value === null) return "unknown";
    return value ? reason(code, text) : null;
  };
}

function listed(name: string, read: (session: Session) => Text, test: (text: string) => boolean): Shield {
  return (session) => {
    const text = read(session);
    if (text === null) return "unknown";
    return test(text) ? reason(name, `its ${name} ${text} is protected`) : null;
  };
}

function reason(code: string, text: string): Reason {
  return { code, text, facts: {} };
}
