import type { Missing } from "../engine.ts";
import type { Connection } from "./connection.ts";
import { quoteName } from "./grants.ts";

// Only those that are there now: who will ever prepare a transaction cannot be known beforehand.
const ownersSql = `select /* lockwarden:check */ distinct current_user as role, o.rolname as owner
    from pg_catalog.pg_prepared_xact() as p
    join pg_catalog.pg_roles as o on o.oid = p.ownerid
   where not pg_catalog.pg_has_role(o.oid, 'member')
   order by 2`;

const mostNamed = 20;

/** Owners of prepared transactions that this role may not roll back. No rule needs to: it is only to be known. */
export async function preparedRights(connection: Connection, signal: AbortSignal): Promise<readonly Missing[]> {
  const rows = await connection.query(ownersSql, [], signal);
  const owners = rows.flatMap((row) => row["owner"] ?? []).slice(0, mostNamed);
  if (owners.length === 0) return [];
  const role = quoteName(rows[0]?.["role"] ?? "");
  return [
    {
      missing:
        `prepared transactions of ${owners.join(", ")} cannot be rolled back by this role (a rule's step rollback-prepared); ` +
        "only their owner, its members and superusers may",
      grant: owners.map((owner) => `grant ${quoteName(owner)} to ${role};`).join(" "),
      fatal: false,
      needed: "advised",
    },
  ];
}
