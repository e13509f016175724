import assert from "node:assert/strict";
import { after } from "node:test";
import type { Snapshot } from "../../../src/core/snapshot.ts";
import { waitStartSince } from "../../../src/engines/postgres/lock-rows.ts";
import type { ReaderOptions } from "../../../src/engines/postgres/snapshot.ts";
import { readerOn, textConnection } from "../text-connection.ts";
import { compare } from "./compare.ts";
import { viewOf } from "./server-view.ts";

/** Full looks whose every edge is the server's: hard ones all of them, soft ones but for those that others lead to. */
export async function agreeing(
  urlOf: (database: string) => string,
  more: Partial<ReaderOptions> = {},
): Promise<() => Promise<Snapshot>> {
  const [connection, oracle] = [await textConnection(urlOf("postgres")), await textConnection(urlOf("postgres"))];
  const reader = readerOn(connection, urlOf, more);
  after(async () => {
    for (const one of [connection, oracle]) await one.close();
  });
  return async () => {
    const view = await viewOf(oracle, reader, connection.pid);
    const ordered = connection.versionNumber >= waitStartSince;
    const { mistakes, differences } = compare(view, { ordered, left: [], settledAt: [], rearranged: false });
    assert.deepEqual(mistakes, []);
    const strange = differences.filter(({ reason }) => reason !== "covered" && reason !== "unordered");
    assert.deepEqual(strange, []);
    return view.snapshot;
  };
}
