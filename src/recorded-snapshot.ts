import { z } from "zod";
import { either, renderPath, renderValue } from "./config/mistake.ts";
import { modes } from "./config/schema.ts";
import type { Freedom } from "./core/history.ts";
import type { Judgement, Opinion, RecordedLook } from "./core/recorded-look.ts";
import type { Prepared, Relation, Session, Transaction } from "./core/session.ts";
import type { Hold, LockWait, Snapshot } from "./core/snapshot.ts";

// What is on disk may come from an older Lockwarden, a newer one, a text editor or an attachment: every field is looked at.
// Fields that this version does not know are passed over, so that a newer one may add some under the same number.

/** What this version writes, and the newest that it reads. */
const newestVersion = 1;

/** What stands there is no recorded snapshot or look. */
export class NotRecorded extends Error {
  override readonly name = "NotRecorded";
  /** Not even JSON: half a line, perhaps. */
  readonly isCut: boolean;
  constructor(message: string, isCut = false) {
    super(message);
    this.isCut = isCut;
  }
}

/** The last moment that a Date can hold, less ten years for what is reckoned from it. */
const latestMs = 8.6e15;

const text = z.string().nullable();
const ms = z.number().nullable();

const relation: z.ZodType<Relation> = z.object({
  database: z.string(),
  schema: z.string(),
  name: z.string(),
  ancestors: z.array(z.string()),
});

const transaction: z.ZodType<Transaction> = z.discriminatedUnion("kind", [
  z.object({ kind: z.enum(["none", "unknown"]) }),
  z.object({
    kind: z.literal("open"),
    startedAt: text,
    ageMs: ms,
    writeId: text,
    writeUnknown: z.literal(true).exactOptional(),
  }),
]);

const session: z.ZodType<Session> = z.object({
  kind: z.literal("session"),
  key: z.string(),
  identity: z.string(),
  pid: text,
  sessionId: z.string(),
  handle: z.string().exactOptional(),
  role: z.enum(["client", "internal", "replication", "unknown"]),
  backendType: text,
  group: text,
  own: z.boolean(),
  superuser: z.boolean().nullable(),
  maintenance: z.boolean().nullable(),
  user: text,
  database: text,
  application: text,
  client: text,
  query: text,
  quoting: z.enum(["backslash", "alternative"]).exactOptional(),
  waitEvent: text,
  state: z.enum(["active", "idle", "idle in transaction", "idle in transaction (aborted)", "other"]).nullable(),
  stateMs: ms,
  stateAt: text,
  queryMs: ms,
  queryAt: text,
  connectedMs: ms,
  xminAge: z.number().nullable(),
  transaction,
});

const prepared: z.ZodType<Prepared> = z.object({
  kind: z.literal("prepared"),
  key: z.string(),
  gid: z.string(),
  transactionId: z.string(),
  user: z.string(),
  database: z.string(),
  ageMs: ms,
  preparedAt: text.exactOptional(),
  superuser: z.boolean().nullable().exactOptional(),
  xminAge: z.number().nullable().exactOptional(),
});

const hold: z.ZodType<Hold> = z.object({
  holder: z.string(),
  lock: z.string(),
  locktype: z.string(),
  mode: z.string(),
  relation: relation.nullable(),
});

const wait: z.ZodType<LockWait> = z.object({
  waiter: z.string(),
  pid: text,
  lock: z.string(),
  locktype: z.string(),
  mode: z.string(),
  relation: relation.nullable(),
  candidates: z.array(relation),
  waitMs: ms,
  waitAt: text,
  blockers: z.array(z.object({ node: z.string(), soft: z.boolean() })),
  hiddenBlocker: z.boolean(),
});

const snapshot: z.ZodType<Snapshot> = z.object({
  version: z.literal(1),
  target: z.string(),
  engine: z.string(),
  serverVersion: z.string(),
  serverId: z.string(),
  at: z.string(),
  atMs: z.number().min(0).max(latestMs),
  wallMs: z.number().min(0).max(latestMs).exactOptional(),
  recovery: z.boolean(),
  sessions: z.array(session),
  prepared: z.array(prepared),
  holds: z.array(hold).nullable(),
  waits: z.array(wait).nullable(),
  contended: z.boolean(),
  gaps: z.array(z.string()),
});

const opinion: z.ZodType<Opinion> = z.object({
  kind: z.enum(["act", "wait", "spare"]),
  by: text,
  inMs: ms,
  rule: z.string(),
  action: z.string(),
  victim: z.string(),
  subject: z.string(),
  code: z.string(),
  text: z.string(),
  outcome: text,
});

const freedom = z
  .array(z.tuple([z.string(), ms, z.boolean()]))
  .transform(
    (entries): ReadonlyMap<string, Freedom> =>
      new Map(entries.map(([key, sinceMs, waited]) => [key, { sinceMs, waited }])),
  );

const judgement: z.ZodType<Judgement> = z.object({
  run: z.string(),
  connection: z.number(),
  config: z.string(),
  mode: z.enum(modes),
  paused: z.boolean(),
  leader: z.boolean(),
  journalled: z.boolean(),
  opinions: z.array(opinion),
  missed: z.number(),
  freedom: freedom.nullable(),
});

const recordedLook: z.ZodType<RecordedLook> = z.object({ snapshot, judgement });

/** A snapshot recorded by `lockwarden snapshot`, or the one in a line of the flight recorder. `where` is for messages. */
export function readSnapshot(json: string, where: string): Snapshot {
  return readLook(json, where).snapshot;
}

/** A line of the flight recorder, or a snapshot alone. Throws NotRecorded, with the place and what is wrong there. */
export function readLook(json: string, where: string): RecordedLook {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    const lines = json.trim().split("\n").length;
    const got = lines === 1 ? "something else, or only a part of one" : `${lines} lines: take one of them`;
    throw new NotRecorded(`${where}: expected one recorded snapshot as JSON, got ${got}`, lines === 1);
  }
  const line = isRecord(value) && "snapshot" in value ? value : null;
  const inner = line === null ? value : line["snapshot"];
  if (!isRecord(inner) || !("version" in inner)) {
    throw new NotRecorded(`${where}: expected a snapshot with a version, as lockwarden snapshot prints it, got none`);
  }
  for (const version of [line?.["version"], inner["version"]]) {
    if (typeof version === "number" && version > newestVersion) {
      const got = `version ${version}, which a newer Lockwarden recorded; read it with that one`;
      throw new NotRecorded(`${where}: expected a snapshot of version ${newestVersion} or older, got ${got}`);
    }
  }
  return line === null
    ? { snapshot: parsed(snapshot, inner, where), judgement: null }
    : parsed(recordedLook, line, where);
}

/** A look as one line of JSON, without its end; in pieces, as a crowd's snapshot has megabytes and others want to run too. */
export function* lookPieces({ snapshot: seen, judgement: judged }: RecordedLook): Generator<string> {
  if (judged !== null) {
    const { freedom: remembered, ...rest } = judged;
    const entries = remembered === null ? null : Array.from(remembered, ([key, one]) => [key, one.sinceMs, one.waited]);
    yield `{"version":${newestVersion},"judgement":${JSON.stringify({ ...rest, freedom: entries })},"snapshot":`;
  }
  const { sessions, holds, waits, ...rest } = seen;
  yield JSON.stringify(rest).slice(0, -1);
  for (const [key, list] of Object.entries({ sessions, holds, waits })) yield* listPieces(key, list);
  yield judged === null ? "}" : "}}";
}

const pieceLength = 500;

function* listPieces(key: string, list: readonly unknown[] | null): Generator<string> {
  yield `,"${key}":${list === null ? "null" : "["}`;
  for (let at = 0; at < (list?.length ?? 0); at += pieceLength) {
    yield `${at === 0 ? "" : ","}${JSON.stringify(list?.slice(at, at + pieceLength)).slice(1, -1)}`;
  }
  if (list !== null) yield "]";
}

function parsed<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value, { error: formOf });
  if (result.success) return result.data;
  const [first] = result.error.issues;
  const path = (first?.path ?? []).map((segment) => (typeof segment === "symbol" ? "?" : segment));
  const got = path.reduce<unknown>(
    (at, key) => (isRecord(at) || Array.isArray(at) ? Reflect.get(at, key) : null),
    value,
  );
  const more = result.error.issues.length - 1;
  const others = more === 0 ? "" : `, and ${more} more mistakes`;
  throw new NotRecorded(
    `${where} ${renderPath(path)}: expected ${first?.message ?? "another value"}, got ${renderValue(got, path, undefined)}${others}`,
  );
}

const kinds: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "a map",
};

function formOf(issue: z.core.$ZodRawIssue): string {
  if (issue.code === "invalid_type") return kinds[issue.expected] ?? issue.expected;
  return issue.code === "invalid_value" ? either(issue.values.map(String)) : "another value";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
