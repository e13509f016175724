import { LinkLost } from "../engine.ts";
import type { Connection } from "./connection.ts";
import { type Catalog, type Database, reasonOf } from "./names.ts";
import { type Named, type ReadRelations, readRelations } from "./relations.ts";

/** Opens a short connection to another database of the same server. */
export type OpenOther = (database: string, signal: AbortSignal) => Promise<Connection>;

export type RelationId = Readonly<{ databaseId: string; relationId: string }>;

/** Names of tables, of every database. */
export type RelationNames = Readonly<{
  /** Reads what is not known of these, the first ones first; says in words what could not be read. */
  prepare(wanted: readonly RelationId[], signal: AbortSignal): Promise<readonly string[]>;
  get(id: RelationId): Named | null;
}>;

export type RelationSource = Readonly<{
  connection: Connection;
  /** Name of the connection's own database. */
  database: string;
  databases: Catalog<Database>;
  openOther: OpenOther;
  /** How names are asked for, where that differs. */
  readRelations?: ReadRelations;
  now?: () => number;
}>;

/** A renamed table shows its old name so long. */
const freshForMs = 60_000;
/** What could not be resolved (not there yet, or a database that refuses us) is asked for again then. */
const retryAfterMs = 30_000;
const mostNames = 50_000;
/** Short connections of one look; what is left over has no name until the next look. */
const mostDatabases = 4;
/** A shared catalog belongs to no database. */
const shared = "0";

/** Caches of names; open connections to other databases are closed before anything else happens. */
export function relationNames(source: RelationSource): RelationNames {
  const now = source.now ?? (() => performance.now());
  const cache = new Map<string, Readonly<{ named: Named | null; until: number }>>();
  const closed = new Map<string, Readonly<{ until: number; why: string }>>();
  const isHome = (id: string) => id === shared || source.databases.get(id)?.name === source.database;

  const keep = (databaseId: string, resolved: ReadonlyMap<string, Named | null>) => {
    if (cache.size + resolved.size > mostNames) cache.clear();
    for (const [oid, named] of resolved)
      cache.set(`${databaseId}/${oid}`, { named, until: now() + (named === null ? retryAfterMs : freshForMs) });
  };
  const resolve = async (databaseId: string, oids: readonly string[], signal: AbortSignal): Promise<string | null> => {
    try {
      keep(
        databaseId,
        await (isHome(databaseId) ? readHome(source, oids, signal) : readOther(source, databaseId, oids, signal)),
      );
      closed.delete(databaseId);
      return null;
    } catch (error) {
      if (signal.aborted || (isHome(databaseId) && error instanceof LinkLost)) throw error;
      const name = source.databases.get(databaseId)?.name ?? `with the id ${databaseId}`;
      const why = `tables of database ${name} have no names: ${reasonOf(error)}`;
      closed.set(databaseId, { until: now() + retryAfterMs, why });
      return why;
    }
  };

  return {
    get: ({ databaseId, relationId }) => {
      const entry = cache.get(`${databaseId}/${relationId}`);
      return entry !== undefined && entry.until > now() ? entry.named : null;
    },
    prepare: async (wanted, signal) => {
      const gaps: string[] = [];
      let connections = 0;
      for (const [databaseId, oids] of missing(wanted, cache, now())) {
        const refused = closed.get(databaseId);
        if (refused !== undefined && refused.until > now()) {
          gaps.push(refused.why);
          continue;
        }
        if (!isHome(databaseId) && ++connections > mostDatabases) {
          gaps.push(`tables of more than ${mostDatabases} other databases wait for their names until the next look`);
          break;
        }
        const gap = await resolve(databaseId, oids, signal);
        if (gap !== null) gaps.push(gap);
      }
      return gaps;
    },
  };
}

function missing(
  wanted: readonly RelationId[],
  cache: ReadonlyMap<string, Readonly<{ until: number }>>,
  at: number,
): ReadonlyMap<string, readonly string[]> {
  const byDatabase = new Map<string, Set<string>>();
  for (const { databaseId, relationId } of wanted) {
    if ((cache.get(`${databaseId}/${relationId}`)?.until ?? 0) > at) continue;
    const oids = byDatabase.get(databaseId) ?? new Set();
    byDatabase.set(databaseId, oids.add(relationId));
  }
  return new Map([...byDatabase].map(([databaseId, oids]) => [databaseId, [...oids]]));
}

function readNames({ readRelations: own = readRelations }: RelationSource): ReadRelations {
  return own;
}

function readHome(source: RelationSource, oids: readonly string[], signal: AbortSignal) {
  return readNames(source)(source.connection, source.database, oids, signal);
}

async function readOther(source: RelationSource, databaseId: string, oids: readonly string[], signal: AbortSignal) {
  const database = source.databases.get(databaseId);
  if (database === null) throw new Error("the server lists no such database");
  // An open connection would keep others from copying or dropping it; and who forbids connections means us too.
  if (database.template) throw new Error("it is a template, to which Lockwarden never connects");
  if (!database.connectable) throw new Error("it does not allow connections");
  const connection = await source.openOther(database.name, signal);
  try {
    return await readNames(source)(connection, database.name, oids, signal);
  } finally {
    await connection.close();
  }
}
