import type { Conditions } from "../config/schema.ts";
import { type Condition, never, plain, remaining, type Subject, truth } from "./condition.ts";
import { anyGlob } from "./glob.ts";
import type { Prepared, Session } from "./session.ts";
import { spokenDuration } from "./spoken-duration.ts";

/**
 * A prepared transaction in the form in which rules see a session: with an owner, a database and a transaction. All that
 * belongs to a client is unknown, so that no condition on it ever matches.
 */
export function standIn(prepared: Prepared): Session {
  const { key, gid, transactionId, preparedAt = null, user, database, ageMs, superuser = null } = prepared;
  return {
    kind: "session",
    key,
    identity: `${key} ${preparedAt ?? ""} ${gid}`,
    pid: null,
    sessionId: gid,
    role: "prepared",
    backendType: null,
    group: null,
    own: false,
    superuser,
    maintenance: null,
    user: user === "" ? null : user,
    database: database === "" ? null : database,
    application: null,
    client: null,
    query: null,
    waitEvent: null,
    state: null,
    stateMs: null,
    stateAt: null,
    queryMs: null,
    queryAt: null,
    connectedMs: null,
    xminAge: prepared.xminAge ?? null,
    transaction: { kind: "open", startedAt: preparedAt, ageMs, writeId: transactionId },
  };
}

/** Conditions on what a prepared transaction shows; no session meets them. */
export function preparedConditions({ prepared }: Conditions): Condition[] {
  if (prepared === undefined) return [];
  const conditions: Condition[] = [];
  const { gid, for: wantedMs } = prepared;
  if (gid !== undefined) {
    const test = anyGlob(gid);
    conditions.push(
      plain({
        name: "prepared.gid",
        wanted: gid.join(" or "),
        distance: ({ prepared: one }) => truth(one !== undefined && test(one.gid)),
        seen: ({ prepared: one }) => (one === undefined ? "is no prepared transaction" : `gid ${one.gid}`),
      }),
    );
  }
  if (wantedMs !== undefined) {
    conditions.push(
      plain({
        name: "prepared.for",
        wanted: `at least ${spokenDuration(wantedMs)}`,
        distance: ({ prepared: one }) => (one === undefined ? never : remaining(one.ageMs, wantedMs)),
        seen: preparedText,
      }),
    );
  }
  return conditions;
}

function preparedText({ prepared }: Subject): string {
  if (prepared === undefined) return "is no prepared transaction";
  return prepared.ageMs === null ? "prepared at an unknown time" : `prepared ${spokenDuration(prepared.ageMs)} ago`;
}
