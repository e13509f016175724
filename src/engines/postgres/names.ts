import { LinkLost } from "../engine.ts";
import type { Connection } from "./connection.ts";

export type Role = Readonly<{ name: string; superuser: boolean }>;
export type Database = Readonly<{ name: string; template: boolean; connectable: boolean }>;

/** What object ids mean; null: unknown. A name that cannot be read is a gap, never an error: a tick goes on without. */
export type Catalog<T> = Readonly<{
  /** Reads them again where one of these ids is unknown, or where they are older than `freshForMs` and `refresh` says so. */
  prepare(oids: Iterable<string>, refresh: boolean, signal: AbortSignal): Promise<string | null>;
  get(oid: string | null): T | null;
}>;

const freshForMs = 10_000;

/** Roles with a cloud provider's administrative rights, which pg_roles does not call superusers. */
export const cloudAdmins = new Set([
  "rdsadmin",
  "rds_superuser",
  "azuresu",
  "azure_superuser",
  "azure_pg_admin",
  "cloudsqladmin",
  "cloudsqlsuperuser",
  "alloydbadmin",
  "alloydbsuperuser",
]);

const rolesSql = `/* lockwarden:roles */
select oid, rolname as name, rolsuper as superuser from pg_catalog.pg_roles`;

/** Roles; with somebody's lock on pg_authid they cannot be read, and are unknown. */
export function roleCatalog(connection: Connection, now: () => number = () => performance.now()): Catalog<Role> {
  return catalog("roles", now, async (signal) => {
    const rows = await connection.query(rolesSql, [], signal);
    return rows.map(({ oid, name, superuser }) => [
      oid ?? "",
      { name: name ?? "", superuser: superuser === "t" || cloudAdmins.has(name ?? "") },
    ]);
  });
}

const databasesSql = `/* lockwarden:databases */
select oid, datname as name, datistemplate as template, datallowconn as connectable from pg_catalog.pg_database`;

export function databaseCatalog(
  connection: Connection,
  now: () => number = () => performance.now(),
): Catalog<Database> {
  return catalog("databases", now, async (signal) => {
    const rows = await connection.query(databasesSql, [], signal);
    return rows.map(({ oid, name, template, connectable }) => [
      oid ?? "",
      { name: name ?? "", template: template === "t", connectable: connectable === "t" },
    ]);
  });
}

/** `load` reads all, or at least those that are `wanted`: what was known and what is asked for. */
export function catalog<T>(
  what: string,
  now: () => number,
  load: (signal: AbortSignal, wanted: readonly string[]) => Promise<(readonly [string, T])[]>,
): Catalog<T> {
  let known: ReadonlyMap<string, T> = new Map();
  // Not by the clock of the last success alone: each try may wait as long as lock_timeout.
  let triedAt = Number.NEGATIVE_INFINITY;
  let problem: string | null = null;
  let asked: ReadonlySet<string> = new Set();
  return {
    get: (oid) => (oid === null ? null : (known.get(oid) ?? null)),
    prepare: async (oids, refresh, signal) => {
      const unknown = [...oids].filter((oid) => !known.has(oid));
      const old = now() - triedAt >= freshForMs;
      if (!old && unknown.every((oid) => asked.has(oid))) return unknown.length > 0 ? problem : null;
      if (!refresh && unknown.length === 0) return null;
      // A try that failed is not repeated before its time, whoever else turns up.
      if (!old && problem !== null) return problem;
      triedAt = now();
      asked = new Set(unknown);
      try {
        known = new Map(await load(signal, [...known.keys(), ...unknown]));
        problem = null;
      } catch (error) {
        if (error instanceof LinkLost || signal.aborted) throw error;
        // What was known of roles may be wrong by now; who cannot be named is protected.
        known = new Map();
        problem = `the names of ${what} cannot be read (${reasonOf(error)}), so they are unknown for ${freshForMs / 1_000} s`;
      }
      return problem;
    },
  };
}

/** The server's own words, with the detail that newer versions moved out of the message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const detail = "detail" in error && typeof error.detail === "string" ? error.detail : "";
  return detail === "" ? error.message : `${error.message}: ${detail}`;
}
