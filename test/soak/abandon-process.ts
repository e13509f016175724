import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import type { Abandoning } from "./abandoned.ts";

// A child process that opens a transaction, says which one, and is then stopped or killed by its parent.

const { url, row, running } = JSON.parse(process.argv[2] ?? "") as Abandoning;
const own = new pg.Client({ connectionString: url, application_name: "shop" });
own.on("error", () => undefined);
await own.connect();
await own.query("begin");
await own.query("update public.login set seen = now() where id = $1", [row]);
const { rows } = await own.query(
  "select pid::text, xact_start::text as started from pg_stat_activity where pid = pg_backend_pid()",
);
// Once its client is gone the server notices only when it has something to say.
if (running) own.query("select pg_sleep(600)").catch(() => undefined);
process.send?.(rows[0]);
process.once("disconnect", () => process.exit(0));
await pause(600_000);
