import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { momentOf } from "../../src/engines/postgres/moment.ts";
import { eventually } from "../support/eventually.ts";

/**
 * `unwanted`: silent, and nobody waits for its row. `silent`: others want to log in. `frozen`: the client's process is
 * stopped. `killed`: it was killed while its statement runs on.
 */
export const kinds = ["silent", "frozen", "killed", "unwanted"] as const;
export type Kind = (typeof kinds)[number];

/** A transaction that nobody will ever end. */
export type Abandoned = Readonly<{ kind: Kind; pid: string; started: string }>;
export type Abandoning = Readonly<{ url: string; row: number; running: boolean }>;

export type Abandoner = Readonly<{
  /** One more, of each kind in turn. */
  abandon(): Promise<void>;
  all(): readonly Abandoned[];
  /** Those whose transaction is still open. */
  left(): Promise<readonly Abandoned[]>;
  /** Resolves when none is left; fails after `withinMs`. */
  freed(withinMs: number): Promise<void>;
  end(): void;
}>;

const script = fileURLToPath(new URL("./abandon-process.js", import.meta.url));

/** `witness` must show moments in UTC, as ISO; people log in by the first `logins` rows. */
export function abandoner(url: string, witness: pg.Client, logins: number): Abandoner {
  const all: Abandoned[] = [];
  const children: ChildProcess[] = [];
  const abandon = async () => {
    const kind = kinds[all.length % kinds.length] ?? "silent";
    // Each has its own row, as long as there are rows: else the next one would wait for the one before.
    const wanted = 1 + (all.length % logins);
    const row = kind === "unwanted" ? logins + 1 + all.length : wanted;
    const child = fork(script, [JSON.stringify({ url, row, running: kind === "killed" } satisfies Abandoning)]);
    children.push(child);
    const [said] = (await once(child, "message")) as [{ pid: string; started: string }];
    if (kind === "frozen") child.kill("SIGSTOP");
    if (kind === "killed") {
      await eventually("its statement runs", async () => {
        const sql = "select from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
        return (await witness.query(sql, [said.pid])).rowCount === 1;
      });
      child.kill("SIGKILL");
    }
    all.push({ kind, pid: said.pid, started: momentOf(said.started) });
  };
  const left = async () => {
    const sql = "select pid::text, xact_start::text as started from pg_stat_activity where xact_start is not null";
    const { rows } = await witness.query<{ pid: string; started: string }>(sql);
    const open = new Set(rows.map(({ pid, started }) => `${pid} ${momentOf(started)}`));
    return all.filter(({ pid, started }) => open.has(`${pid} ${started}`));
  };
  return {
    abandon,
    left,
    all: () => all,
    freed: async (withinMs) => {
      const none = async () => (await left()).length === 0;
      await eventually("every abandoned transaction is freed", none, withinMs);
    },
    end: () => {
      for (const child of children) child.kill("SIGKILL");
    },
  };
}
