import { z } from "zod";
import type { Action, OutcomeKind, Probed, SpareBy } from "../core/decision.ts";
import type { Session } from "../core/session.ts";
import { durationPattern, parseDuration } from "./duration.ts";
import { configSchema, lockModes, lockTypes, modes, states } from "./schema.ts";

// The one source of the form of rule tests: what is in the file, its defaults, its JSON Schema.

// As records, so that the compiler misses a word that is not listed.
const actions: Record<Action, true> = { notify: true, cancel: true, terminate: true, "rollback-prepared": true };
const roles: Record<Exclude<Session["role"], "prepared">, true> = {
  client: true,
  internal: true,
  replication: true,
  unknown: true,
};
const outcomes: Record<OutcomeKind, true> = {
  released: true,
  gone: true,
  changed: true,
  survived: true,
  denied: true,
  failed: true,
  unknown: true,
};
const spares: Record<SpareBy, true> = {
  except: true,
  protect: true,
  limit: true,
  breaker: true,
  observe: true,
  paused: true,
  follower: true,
  "not-root": true,
  cooldown: true,
  unknown: true,
  idle: true,
  "no-transaction": true,
  "other-rule": true,
  done: true,
  victims: true,
  journal: true,
  probe: true,
  inactive: true,
  verifying: true,
  unable: true,
};
const answers: Record<Probed["kind"], true> = { works: true, stuck: true, failed: true };

function oneOf<Word extends string>(words: Record<Word, true>) {
  return z.enum(Object.keys(words) as [Word, ...Word[]]);
}

const ageForm = "a duration such as 30s, or 0s";
const age = z
  .string({ error: ageForm })
  .regex(durationPattern, { error: ageForm, abort: true })
  .transform((written, context) => {
    const ms = /[1-9]/.test(written) ? parseDuration(written) : 0;
    if (ms !== null) return ms;
    context.issues.push({ code: "custom", input: written, message: "a duration of at most ten years" });
    return z.NEVER;
  })
  .meta({ title: "duration" });

const text = z.string({ error: "a text" });
const filled = text.min(1, { error: "a text that is not empty" });

const pidForm = "a pid: a whole number from 1";
const pid = z
  .union([z.int().min(1, { error: pidForm }), z.string().regex(/^[1-9]\d{0,18}$/, { error: pidForm })], {
    error: pidForm,
  })
  .transform(String)
  .meta({ title: "pid" });

const blockerForm = "a pid, or the gid of a prepared transaction";
const blocker = z
  .union([z.int().min(1, { error: blockerForm }), z.string().min(1, { error: blockerForm })], { error: blockerForm })
  .transform(String)
  .meta({ title: "pid or gid" });

const tableForm = "schema.table";
const table = z
  .string({ error: tableForm })
  .regex(/^[^.\s]+\.[^\s]+$/, { error: tableForm })
  .meta({ title: "schema.table" });

function some<T extends z.ZodType>(item: T) {
  return z.union([item.transform((one) => [one]), z.array(item).min(1, { error: "a list with at least one entry" })]);
}

const parents = some(table).optional().describe("The tables that it is a partition of.");

const hold = z.strictObject({
  table: table.describe("What it holds a lock on."),
  mode: z.enum(lockModes).optional().describe("Left out: RowExclusiveLock, as after an update."),
  locktype: z.enum(lockTypes).optional().describe("Left out: relation."),
  partition_of: parents,
});

const wait = z.strictObject({
  on: some(blocker).describe("Who is in its way: pids, or gids of prepared transactions."),
  table: some(table).optional().describe("The contended table; several: the server does not say which of them it is."),
  partition_of: parents,
  locktype: z
    .enum(lockTypes)
    .optional()
    .describe("Left out: relation when a mode is given, else transactionid: a row."),
  mode: z.enum(lockModes).optional().describe("Left out: the usual one of the locktype."),
  for: age
    .nullable()
    .optional()
    .describe("Left out: as long as its statement runs. null: the server does not say (before 14)."),
  lock: filled.optional().describe("Tells two locks of a kind apart, where table and blocker do not."),
});

const shown = (description: string) => text.nullable().optional().describe(`${description} null: it is hidden.`);
const lasting = (description: string) => age.nullable().optional().describe(description);
const holds = z.array(hold).optional().describe("Table locks that it holds.");

const session = z.strictObject({
  pid: pid.describe("Who; the same pid in a later look is the same session, and what is not said again goes on."),
  state: z
    .enum(states)
    .nullable()
    .optional()
    .describe("Left out: idle in transaction with idle_for, else active, else as before."),
  idle_for: lasting("For how long it has been idle, at this look."),
  transaction_for: lasting(
    "Age of its transaction. Left out: as old as its state; another age than expected is a new one.",
  ),
  query_for: lasting("For how long its statement has been running."),
  connected_for: lasting("Left out: an hour."),
  user: shown("Left out: app."),
  database: shown("Left out: app."),
  application: shown("Left out: app."),
  client: shown("An address, or local. Left out: 10.0.0.1."),
  query: shown("Another text in a later look is another statement."),
  wait_event: shown("Such as IPC:SyncRep."),
  backend_type: shown("Left out: client backend."),
  has_written: z
    .boolean()
    .optional()
    .describe("Left out: true when somebody waits for its rows, or it holds such a lock."),
  xmin_age: z.int().min(0).max(2_147_483_647).nullable().optional().describe("Transactions that it holds back."),
  superuser: z.boolean().nullable().optional().describe("Left out: false. null: cannot be told."),
  maintenance: z.boolean().nullable().optional().describe("Shows in a pg_stat_progress_* view. Left out: false."),
  role: oneOf(roles).optional().describe("Left out: client."),
  leader: pid.optional().describe("It is a parallel worker of this session."),
  own: z.boolean().optional().describe("One of Lockwarden's own."),
  hidden: z.boolean().optional().describe("The role may not see its state, transaction and statement."),
  holds,
  waits: wait.nullable().optional().describe("The lock that it waits for. null: it does not wait any more."),
});

const prepared = z.strictObject({
  gid: filled.describe("Names the prepared transaction."),
  for: lasting("Prepared so long ago, at this look."),
  user: filled.optional().describe("Its owner. Left out: app."),
  database: filled.optional().describe("Left out: app."),
  superuser: z.boolean().nullable().optional().describe("Of its owner. Left out: false. null: cannot be told."),
  xmin_age: z.int().min(0).max(2_147_483_647).nullable().optional().describe("Transactions that it holds back."),
  holds,
});

const expectation = z.strictObject({
  act: oneOf(actions).optional().describe("This is done now."),
  wait: oneOf(actions).optional().describe("This will be done if nothing changes."),
  spare: oneOf(spares).optional().describe("Nothing is done, because of this."),
  pid: some(pid).optional().describe("To this session; several: to each of them."),
  gid: some(filled).optional().describe("To this prepared transaction; several: to each of them."),
  rule: filled.optional().describe("By this rule. Left out: by whichever."),
  in: age.optional().describe("With wait: in exactly so long."),
  action: oneOf(actions).optional().describe("With spare: what would be done otherwise."),
  reason: filled.optional().describe("A text that the reason contains."),
  outcome: oneOf(outcomes)
    .optional()
    .describe(
      "With act: what the server makes of it. Left out: released, and the victim is gone in the looks that follow.",
    ),
});

const probes = z
  .record(filled, oneOf(answers))
  .optional()
  .meta({ title: "map of rules to `works`, `stuck` or `failed`" });

const look = z.strictObject({
  at: age.describe("When, from the start of the test; never before the look above."),
  sessions: z.array(session).default([]).describe("Who is new, or other than before; ages of the rest go on."),
  prepared: z.array(prepared).default([]).describe("Prepared transactions, likewise."),
  probes: probes.describe("What the probes of these rules say from this look on."),
  gone: some(blocker).default([]).describe("Who left since the look above: pids, gids."),
  expect: z
    .array(expectation)
    .optional()
    .describe("All decisions of this look, in any order; []: nobody is touched, watched or spared. Left out: any."),
});

const { rules, protect, limits } = configSchema.shape;

const ruleTest = z.strictObject({
  name: filled.describe("A sentence that says what is so."),
  start: z
    .string({ error: momentForm() })
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/, {
      error: momentForm(),
      abort: true,
    })
    .refine((written) => !Number.isNaN(Date.parse(written)), { error: momentForm() })
    .transform((written) => Date.parse(written))
    .prefault("2026-01-05T12:00:00Z")
    .describe("The moment of `at: 0s`, for rules with active windows."),
  mode: z.enum(modes).default("enforce").describe("Whatever the config says; a rule's own observe still holds."),
  target: filled.optional().describe("As which target of the config. Left out: the first."),
  rules: rules.optional().describe("These, instead of the file's."),
  protect: protect.unwrap().optional().describe("This, instead of the file's."),
  limits: limits.unwrap().optional().describe("These, instead of the file's."),
  probes: probes.describe("What the probes of these rules say, before an act. Left out: stuck, so that it is done."),
  looks: z
    .array(look)
    .min(1, { error: "at least one look" })
    .describe("What Lockwarden sees, one moment after the other."),
});

function momentForm(): string {
  return "a moment such as 2026-03-29T01:30:00Z";
}

export const ruleTestSchema = z.strictObject({
  config: filled.optional().describe("The config whose rules are tested; a path from this file's folder."),
  rules: rules.optional().describe("Rules, instead of a config."),
  protect: protect.unwrap().optional().describe("With rules: who is protected, as in a config."),
  limits: limits.unwrap().optional().describe("With rules: as in a config."),
  tests: z.array(ruleTest).min(1, { error: "at least one test" }).describe("Each begins anew."),
});

export type WrittenRuleTests = z.output<typeof ruleTestSchema>;
export type WrittenTest = WrittenRuleTests["tests"][number];
export type WrittenLook = WrittenTest["looks"][number];
export type WrittenExpectation = NonNullable<WrittenLook["expect"]>[number];
