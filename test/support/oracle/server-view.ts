import type { Snapshot } from "../../../src/core/snapshot.ts";
import type { Connection } from "../../../src/engines/postgres/connection.ts";
import type { Reader } from "../../../src/engines/postgres/snapshot.ts";
import { eventually } from "../servers.ts";
import { quiet } from "../text-connection.ts";

/** Whom pg_blocking_pids names for each process that waits; "0" is a prepared transaction. */
export type Said = ReadonlyMap<string, ReadonlySet<string>>;

export type View = Readonly<{ snapshot: Snapshot; said: Said }>;

const locksSql = `select md5(string_agg(l::text, ' ' order by l::text)) as digest from pg_lock_status() as l
  where l.pid is distinct from pg_backend_pid() and l.pid is distinct from $1::int4`;
const blockingSql = `select w.pid, array_to_string(pg_blocking_pids(w.pid), ',') as pids
  from (select distinct l.pid from pg_lock_status() as l where not l.granted order by 1) as w`;

/**
 * A full look, and what the server's own function says of that very state: the locks before and after both are the same,
 * and so is what the function says, as an order of a queue that has changed shows nowhere else.
 */
export async function viewOf(oracle: Connection, reader: Reader, readerPid: string): Promise<View> {
  const digest = async () => (await oracle.query(locksSql, [readerPid], quiet))[0]?.["digest"] ?? "";
  const ask = () => oracle.query(blockingSql, [], quiet);
  return eventually(async () => {
    const before = await digest();
    const said = await ask();
    const snapshot = await reader.read({ sessions: "transactions", locks: true }, quiet);
    const again = await ask();
    const after = await digest();
    if (before !== after || JSON.stringify(said) !== JSON.stringify(again)) return null;
    const named = said.map(
      ({ pid, pids }) => [pid ?? "", new Set((pids ?? "").split(",").filter((one) => one !== ""))] as const,
    );
    return { snapshot, said: new Map(named) };
  }, 60_000);
}
