import { unreachable } from "../../core/unreachable.ts";
import type { SessionKind } from "./address.ts";
import type { Connection } from "./connection.ts";

type Asked = Pick<Connection, "query">;

// What a session gets before it sets anything: its own value is `on` in every session of Lockwarden's.
const readOnlySql = `select /* lockwarden:session */ s.reset_val as read_only
    from pg_catalog.pg_settings as s where s.name = 'default_transaction_read_only'`;
const recoverySql = "select /* lockwarden:session */ pg_catalog.pg_is_in_recovery() as recovery";

/** Why this server is not of the kind that is wanted; null: it is. */
export async function unsuitable(
  connection: Asked,
  wanted: SessionKind,
  recovery: boolean,
  signal: AbortSignal,
): Promise<string | null> {
  switch (wanted) {
    case "any":
      return null;
    case "primary":
      return recovery ? "it is in recovery (a standby), and a primary is wanted" : null;
    case "standby":
    case "prefer-standby":
      return recovery ? null : "it is a primary, and a standby is wanted";
    case "read-write":
      if (recovery) return "it is in recovery (a standby), and a server that can be written to is wanted";
      return (await isReadOnly(connection, signal))
        ? "its sessions are read-only by default (default_transaction_read_only), and one that can be written to is wanted"
        : null;
    case "read-only":
      return recovery || (await isReadOnly(connection, signal))
        ? null
        : "its sessions can write, and a read-only server is wanted";
    default:
      return unreachable(wanted);
  }
}

/** Whoever names one of these means a standby's own sessions. */
export function asksForStandby(wanted: SessionKind): boolean {
  return wanted === "standby" || wanted === "prefer-standby" || wanted === "read-only";
}

/**
 * What became of a server while the session lasted; null: it is what it was. A primary stays one for as long as its sessions
 * live: it goes into recovery by a restart. A standby can be promoted under them, and a default can be changed.
 */
export async function changed(
  connection: Asked,
  { wanted, recovery }: Readonly<{ wanted: SessionKind; recovery: boolean }>,
  signal: AbortSignal,
): Promise<string | null> {
  if (recovery) {
    const [row] = await connection.query(recoverySql, [], signal);
    if (row?.["recovery"] !== "t") return "it was in recovery (a standby) and has been promoted";
  } else if (wanted === "read-write" || wanted === "read-only")
    return await unsuitable(connection, wanted, recovery, signal);
  return null;
}

async function isReadOnly(connection: Asked, signal: AbortSignal): Promise<boolean> {
  const [row] = await connection.query(readOnlySql, [], signal);
  return row?.["read_only"] === "on";
}
