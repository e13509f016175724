import { z } from "zod";
import {
  addresses,
  duration,
  globs,
  mailAddress,
  name,
  readAs,
  size,
  some,
  tables,
  text,
  textOf,
  timeZone,
  whole,
} from "./forms.ts";
import { probeMistake, regexMistake } from "./patterns.ts";
import {
  dayRangeForm,
  dayRangePattern,
  hourRangeForm,
  hourRangePattern,
  parseDayRange,
  parseHourRange,
} from "./windows.ts";

// The one source of the config: its types, its defaults, its JSON Schema and its reference page.
// What a key means beyond its form (unsafe rules, names that refer to nothing) is judged in rule-safety.ts.

export const modes = ["observe", "enforce"] as const;
export const states = ["active", "idle", "idle in transaction", "idle in transaction (aborted)"] as const;
export const lockModes = [
  "AccessShareLock",
  "RowShareLock",
  "RowExclusiveLock",
  "ShareUpdateExclusiveLock",
  "ShareLock",
  "ShareRowExclusiveLock",
  "ExclusiveLock",
  "AccessExclusiveLock",
] as const;
export const lockTypes = [
  "relation",
  "extend",
  "page",
  "tuple",
  "transactionid",
  "virtualxid",
  "spectoken",
  "object",
  "userlock",
  "advisory",
  "applytransaction",
] as const;

const holds = z.strictObject({
  tables: tables
    .optional()
    .describe("Any of these tables; `schema.table` or `database.schema.table`, `*` and `?` are wild."),
  modes: some(z.enum(lockModes)).optional().describe("Any of these lock modes."),
});

const blocks = z.strictObject({
  tables: tables
    .optional()
    .describe("Count waiters on these tables; a row-lock wait counts for its table, a partition for its parents."),
  waiters: whole(1, 100_000).default(1).describe("At least so many distinct sessions behind it, directly or not."),
  for: duration.optional().describe("For how long this same transaction has continuously blocked somebody."),
  locktypes: some(z.enum(lockTypes))
    .default(["relation", "tuple", "transactionid"])
    .describe("Kinds of lock that count. virtualxid and advisory waits count only when named here."),
  users: globs.optional().describe("Count only waiters of these users."),
  applications: globs.optional().describe("Count only waiters of these applications."),
});

const waits = z.strictObject({
  tables: tables.optional().describe("It waits for one of these tables."),
  modes: some(z.enum(lockModes)).optional().describe("It waits for one of these lock modes."),
  for: duration.optional().describe("It has waited for at least so long."),
  locktypes: some(z.enum(lockTypes))
    .default(["relation", "tuple", "transactionid"])
    .describe("Kinds of lock that count."),
});

const prepared = z.strictObject({
  gid: globs.optional().describe("Its gid, the name that PREPARE TRANSACTION gave it; `*` and `?` are wild."),
  for: duration.optional().describe("Prepared at least so long ago."),
});

const conditions = z.strictObject({
  state: some(z.enum(states)).optional().describe("The session's state."),
  idle_for: duration
    .optional()
    .describe("In an idle-in-transaction state for at least so long; with `state: idle`, in that one."),
  transaction_for: duration.optional().describe("Its transaction began at least so long ago."),
  query_for: duration
    .optional()
    .describe("Its statement has been running for at least so long; counts only while active."),
  connected_for: duration.optional().describe("Connected for at least so long."),
  users: globs.optional().describe("The role it logged in as; `*` and `?` are wild."),
  databases: globs.optional().describe("The database it is connected to."),
  applications: globs.optional().describe("Its application_name."),
  clients: addresses
    .optional()
    .describe("Its address: CIDR such as 10.0.0.0/8, one address, or `local` for a Unix socket."),
  backend_types: globs.optional().describe("The server's backend_type; only client backends are ever victims."),
  query: textOf("a regular expression in RE2 syntax", regexMistake)
    .meta({ title: "regular expression" })
    .optional()
    .describe(
      "Regular expression (RE2, linear time) found in the running statement; never decides for an idle session.",
    ),
  holds: holds.optional().describe("It holds such a lock."),
  blocks: blocks.optional().describe("It blocks others; the victim is the root of the chain."),
  waits: waits.optional().describe("It waits for a lock: a rule for waiters."),
  xmin_age: whole(1, 2_147_483_647)
    .optional()
    .describe("Its snapshot or its own transaction id holds back at least so many transactions."),
  has_written: z
    .boolean()
    .optional()
    .describe("Its transaction has been given an id because it wrote (true), or has not (false)."),
  prepared: prepared
    .optional()
    .describe(
      "A rule about prepared transactions, which have no session; beside it only `users` (the owner), `databases`, `holds`, `blocks` and `xmin_age`.",
    ),
});

const step = z.union(
  [
    z.enum(["notify", "cancel", "terminate", "rollback-prepared"]),
    z.strictObject({ wait: duration.describe("Wait before the next step.") }),
  ],
  { error: "notify, cancel, terminate, rollback-prepared or {wait: DURATION}" },
);

const probe = z.strictObject({
  sql: textOf(
    "one statement that begins with select, with, lock, insert, update, delete, merge, table or values",
    probeMistake,
  )
    .meta({ title: "statement" })
    .describe(
      "One statement; give tables their schema. It runs with the rights of Lockwarden's role, and so does what it sets off (triggers, functions of views and policies); it is always rolled back.",
    ),
  database: text.optional().describe("Where it runs; left out: in the database of the target's url."),
  timeout: duration
    .prefault("500ms")
    .describe(
      "Its lock_timeout: who waits for one lock that long is stuck. At most half of the target's statement_timeout counts.",
    ),
});

const activeWindow = z.strictObject({
  days: some(readAs(dayRangeForm, dayRangePattern, parseDayRange).meta({ title: "day or range of days" }))
    .optional()
    .describe("Such as mon-fri, sat or fri-mon; left out: every day. A night belongs to the day on which it begins."),
  hours: some(readAs(hourRangeForm, hourRangePattern, parseHourRange).meta({ title: "hours" }))
    .optional()
    .describe("Such as 08:00-18:00, or 22:00-06:00 over midnight; left out: the whole day. The end is not in it."),
  timezone: timeZone.describe("Whose clocks count, such as Europe/Berlin or UTC."),
});

const ruleLimits = z.strictObject({
  per_tick: whole(1, 1_000).optional().describe("Most sessions that this rule signals in one look."),
  per_minute: whole(1, 10_000).optional().describe("Most sessions that this rule signals in any 60 s."),
});

export const ruleSchema = z.strictObject({
  name: name.describe("Names the rule in logs, journal and notices; unique."),
  targets: some(name).optional().describe("Only on these targets; left out: on all."),
  mode: z.enum(modes).optional().describe("observe: this rule only tells, whatever the mode above says."),
  match: conditions.describe("All of these; a list means any of it; an unknown value never matches."),
  except: conditions.optional().describe("Any of these spares; an unknown value spares too."),
  steps: z.array(step).min(1, { error: "at least one step" }).describe("The ladder, from gentle to firm."),
  notify: some(name).optional().describe("Channels that are told; left out: all of them."),
  active: some(activeWindow)
    .optional()
    .describe("Only while the clocks show a time in one of these windows; outside them the rule finds nobody."),
  victims: z.enum(["all", "oldest"]).default("all").describe("oldest: only the one whose transaction began first."),
  probe: probe
    .optional()
    .describe(
      "Asked before each act and after it: got through, nobody is touched; stuck, the act goes on; failed for any other reason, nobody is touched and people are told. Not run in observe.",
    ),
  cooldown: duration.prefault("30s").describe("After an act, successors on the same lock are left alone for so long."),
  limits: ruleLimits.optional().describe("Of this rule alone, on each target, within the limits of all rules."),
});

const target = z.strictObject({
  name: name.describe("Names the target in logs, journal and notices; unique."),
  engine: z
    .enum(["postgres", "opengauss", "gaussdb", "oceanbase"])
    .optional()
    .describe("How to speak to it. Left out: by the url's scheme and by what the server says that it is."),
  url: text
    .optional()
    .describe(
      "postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full; several hosts: HOST1:PORT,HOST2:PORT; a Unix socket: postgres://USER@/DATABASE?host=/run/postgresql. OceanBase: oceanbase://USER@TENANT#CLUSTER@HOST:PORT.",
    ),
  url_file: text.optional().describe("A file that holds the url."),
  password: text.optional().describe("Prefer password_file, or ~/.pgpass."),
  password_file: text.optional().describe("A file that holds the password; read at every connect."),
  mode: z.enum(modes).optional().describe("observe: only tell on this target, whatever the mode above says."),
  poll: text.default("5s").describe("When to look: a duration, or a cron expression of five or six fields."),
  timezone: timeZone.optional().describe("Time zone of a cron `poll`, such as Europe/Berlin; left out: the host's."),
  statement_timeout: duration.prefault("5s").describe("Longest time for one of Lockwarden's own statements."),
  lock_timeout: duration.prefault("1s").describe("Longest time one of Lockwarden's own statements waits for a lock."),
  connect_timeout: duration
    .prefault("10s")
    .describe("Longest time to connect; of several hosts each has its share of it."),
  away_for: duration
    .prefault("30s")
    .describe("People are told when it could not be looked at for so long, and again when it is back."),
  leader_database: text
    .default("postgres")
    .describe("Where the advisory lock is taken that lets one daemon of several act; the same for all of them."),
  kill_with: z
    .enum(["guarded", "kill-session"])
    .optional()
    .describe(
      "opengauss and gaussdb only. How a session is ended: guarded (default) checks and signals in one statement; kill-session reads the session again and then sends ALTER SYSTEM KILL SESSION, which leaves a short gap that the journal names.",
    ),
});

const email = z.strictObject({
  name: name.describe("What rules call it; unique."),
  type: z.literal("email").describe("Mail over SMTP."),
  smtp: text.optional().describe("smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT (TLS from the start)."),
  smtp_file: text.optional().describe("A file that holds the smtp URL."),
  user: text.optional().describe("Account for SMTP authentication."),
  password: text.optional().describe("Prefer password_file."),
  password_file: text.optional().describe("A file that holds the password; read at every delivery."),
  starttls: z
    .enum(["required", "opportunistic", "never"])
    .default("required")
    .describe("With smtp://: whether an unencrypted session is acceptable."),
  ca_file: text.optional().describe("Certificate authorities to trust instead of the system's."),
  from: mailAddress.describe("Sender."),
  to: some(mailAddress).describe("Recipients."),
});
const log = z.strictObject({
  name: name.describe("What rules call it; unique."),
  type: z.literal("log").describe("The daemon's own log."),
});
const channel = z.discriminatedUnion("type", [email, log]);

const protect = z.strictObject({
  superusers: z
    .boolean()
    .default(true)
    .describe("Superusers and cloud administrators (rdsadmin, azuresu, cloudsqladmin, …)."),
  maintenance: z
    .boolean()
    .default(true)
    .describe("Whatever shows in a pg_stat_progress_* view: VACUUM, CREATE INDEX, COPY, …"),
  backups: z
    .boolean()
    .default(true)
    .describe(
      "Applications pg_dump*, pg_restore*, pg_basebackup*, pgBackRest*, barman*, wal-g*, gs_dump*, gs_restore*, gs_basebackup*, gs_probackup*.",
    ),
  users: globs.optional().describe("These users too."),
  databases: globs.optional().describe("These databases too."),
  applications: globs.optional().describe("These applications too."),
  clients: addresses.optional().describe("These addresses (CIDR) too."),
});

const breaker = z.strictObject({
  acts: whole(1, 10_000).default(30).describe("Signals to so many sessions open it."),
  within: duration.prefault("10m").describe("In how long."),
  open_for: duration.prefault("30m").describe("It stays open for so long, and as long as one act more were too many."),
});

const limits = z.strictObject({
  per_tick: whole(1, 1_000).default(5).describe("Most sessions signalled in one look, oldest transaction first."),
  per_minute: whole(1, 10_000).default(10).describe("Most sessions signalled in any 60 s."),
  repeat: z
    .strictObject({
      times: whole(1, 1_000).default(3).describe("How often."),
      within: duration.prefault("10m").describe("In how long."),
    })
    .prefault({})
    .describe(
      "The same user, application and client is signalled at most `times` times `within` this; past it Lockwarden only tells.",
    ),
  breaker: z
    .union([z.literal(false), breaker], { error: "a map, or false" })
    .prefault({})
    .describe(
      "While it is open nobody is touched on this target; people are told when it opens and closes. false: none.",
    ),
});

const recordings = z.strictObject({
  size: size
    .prefault("64MB")
    .describe("Most that all recordings take on disk, packed; each target has an equal share. The oldest go first."),
  keep: duration.prefault("7d").describe("Nothing older is kept."),
});

export const configSchema = z.strictObject({
  mode: z.enum(modes).default("observe").describe("observe: decide, record, tell, never act. enforce: act."),
  targets: z.array(target).min(1, { error: "at least one target" }).describe("The database servers to watch."),
  rules: z.array(ruleSchema).min(1, { error: "at least one rule" }).describe("Whom to free others from, and how."),
  channels: z.array(channel).default([]).describe("Who is told, and how. Everything is in the log anyway."),
  protect: protect
    .prefault({})
    .describe("Who is never a victim. Lists add to the defaults; only a named switch lifts one."),
  limits: limits.prefault({}).describe("Per target. Past them Lockwarden only tells."),
  verify_for: duration
    .prefault("10s")
    .describe("How long to wait for the proof that a lock is free before the outcome is `survived`."),
  query_text: z
    .enum(["masked", "plain", "none"])
    .default("masked")
    .describe("Literals in query text that is logged, journalled or sent: masked, shown, or no text at all."),
  recordings: z
    .union([z.literal(false), recordings], { error: "a map, or false" })
    .prefault({})
    .describe(
      "The flight recorder: every look at which somebody waits is kept in `state_dir/recordings`, for `replay`. false: none.",
    ),
  state_dir: text.optional().describe("Where the journal lives. Default: $STATE_DIRECTORY, else /var/lib/lockwarden."),
});

/** Named in the documentation, refused by name until they do something. */
export const notYet: Readonly<Record<string, readonly string[]>> = {
  "": ["http", "digest"],
};
export const notYetValues: Readonly<Record<string, readonly string[]>> = {
  "channels.*.type": ["webhook", "slack", "teams", "pagerduty", "alertmanager", "exec"],
};

export type WrittenConfig = z.output<typeof configSchema>;
type WrittenTarget = WrittenConfig["targets"][number];
type WrittenEmail = Extract<WrittenConfig["channels"][number], { type: "email" }>;

// As loaded: url_file and smtp_file have been read, other files are absolute paths.
export type Target = Omit<WrittenTarget, "url" | "url_file"> & { url: string };
export type EmailConfig = Omit<WrittenEmail, "smtp" | "smtp_file"> & { smtp: string };
export type ChannelConfig = EmailConfig | Extract<WrittenConfig["channels"][number], { type: "log" }>;
export type Config = Omit<WrittenConfig, "targets" | "channels"> & { targets: Target[]; channels: ChannelConfig[] };
export type Rule = WrittenConfig["rules"][number];
export type Conditions = Rule["match"];
export type Step = Rule["steps"][number];
export type Limits = WrittenConfig["limits"];
export type Mode = WrittenConfig["mode"];
