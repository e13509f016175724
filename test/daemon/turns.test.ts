import assert from "node:assert/strict";
import { test } from "node:test";
import type { Order } from "../../src/core/decision.ts";
import type { Interlude } from "../../src/daemon/askers.ts";
import { inTurns } from "../../src/daemon/turns.ts";
import { LinkLost } from "../../src/engines/engine.ts";

const order = {} as Order;
const never = new AbortController().signal;

/** A loop that gives a turn when it is told to, over whatever connection it has by then. */
function loop() {
  const stop = new AbortController();
  const asked: string[] = [];
  const linkOf = (name: string) =>
    ({
      act: () => {
        asked.push(`act ${name}`);
        return Promise.resolve({ kind: "sent" });
      },
      read: () => {
        asked.push(`read ${name}`);
        return Promise.resolve({});
      },
      prove: () => Promise.reject(new LinkLost("lost", `${name} is lost`)),
    }) as unknown as Interlude["link"];
  let link = linkOf("first");
  const waiting: (() => Promise<void>)[] = [];
  const between = <T>(ask: (interlude: Interlude) => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const settings = { target: { name: "app" } };
      const turn = () => ask({ settings, link, signal: stop.signal } as unknown as Interlude).then(resolve, reject);
      waiting.push(turn);
    });
  return {
    asked,
    between,
    stop: () => stop.abort(new Error("lockwarden stops")),
    reconnect: () => {
      link = linkOf("second");
    },
    give: async () => {
      for (const turn of waiting.splice(0)) await turn();
    },
  };
}

async function opened() {
  const here = loop();
  const turns = inTurns(here, never);
  await here.give();
  return { ...here, ...(await turns) };
}

test("every call takes a turn of its own, and none is made before it", async () => {
  const { link, asked, give } = await opened();
  const acted = link.act(order, never);
  assert.deepEqual(asked, []);
  await give();
  assert.deepEqual(await acted, { kind: "sent" });
  const seen = link.read({ sessions: "all", locks: true }, never);
  await give();
  await seen;
  assert.deepEqual(asked, ["act first", "read first"]);
});

test("over another connection nothing is sent, looked at or proved", async () => {
  const { link, asked, give, reconnect } = await opened();
  reconnect();
  const acted = link.act(order, never);
  await give();
  assert.deepEqual(await acted, {
    kind: "failed",
    error: "the connection to app was lost in between; nothing was sent",
  });
  const seen = assert.rejects(link.read({ sessions: "all", locks: true }, never), LinkLost);
  const proved = assert.rejects(
    link.prove({} as never, never),
    (error) => error instanceof LinkLost && error.message === "the connection to app was lost in between",
  );
  await give();
  await seen;
  await proved;
  assert.deepEqual(asked, []);
});

test("a turn that comes after somebody gave up sends nothing", async () => {
  for (const who of ["the daemon stops", "the asker stops"]) {
    const { link, asked, give, stop } = await opened();
    const asker = new AbortController();
    const acted = link.act(order, asker.signal);
    if (who === "the daemon stops") stop();
    else asker.abort(new Error("lockwarden stops"));
    assert.deepEqual(await acted, { kind: "failed", error: "lockwarden stops; nothing was sent" });
    await give();
    assert.deepEqual(asked, []);
  }
});
