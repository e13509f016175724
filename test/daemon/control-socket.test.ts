import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { request } from "../../src/control-socket.ts";
import { ownStateDir, type StateDir } from "../../src/state-dir.ts";
import { eventually } from "../support/eventually.ts";
import { tempFolder } from "../support/temp-folder.ts";

const patient = { timeoutMs: 30_000 };

async function stateIn(t: TestContext): Promise<StateDir> {
  const state = await ownStateDir(await tempFolder(t));
  assert.equal(state.kind, "owned");
  t.after(() => state.close());
  return state;
}

/** What comes back for raw bytes, until the server closes. */
async function raw(dir: string, bytes: string): Promise<string> {
  const socket = connect(join(dir, "control.sock"));
  let said = "";
  socket.on("data", (part) => (said += String(part))).on("error", () => undefined);
  await once(socket, "connect");
  socket.write(bytes);
  await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return said;
}

test("a question is answered, whatever characters it holds", async (t) => {
  const state = await stateIn(t);
  state.serve(async (message) => ({ echo: message }));
  const message = { text: "line\nend \u2028 ž \ud83d", big: "x".repeat(50_000) };
  assert.deepEqual(await request(state.path, message, patient), { kind: "answer", answer: { echo: message } });
});

test("an answer of nothing is null, and an answer of megabytes comes whole", async (t) => {
  const state = await stateIn(t);
  state.serve(async (message) => (message === "big" ? "y".repeat(3_000_000) : undefined));
  assert.deepEqual(await request(state.path, "nothing", patient), { kind: "answer", answer: null });
  assert.deepEqual(await request(state.path, "big", patient), { kind: "answer", answer: "y".repeat(3_000_000) });
});

test("nobody answers where nobody is", async (t) => {
  const dir = await tempFolder(t);
  assert.deepEqual(await request(dir, {}, patient), { kind: "nobody" });
  assert.deepEqual(await request(join(dir, "none"), {}, patient), { kind: "nobody" });
});

test("what a handler throws reaches the client as an error, and the server lives on", async (t) => {
  const state = await stateIn(t);
  state.serve(() => Promise.reject(new Error("no such session: 4711")));
  await assert.rejects(request(state.path, {}, patient), /did not do as asked: no such session: 4711/);
  state.serve(async () => "fine");
  assert.deepEqual(await request(state.path, {}, patient), { kind: "answer", answer: "fine" });
});

test("before it serves, an owner refuses with a reason", async (t) => {
  const state = await stateIn(t);
  await assert.rejects(request(state.path, {}, patient), /it takes no requests now/);
});

test("what is no JSON is refused, what is too long is cut off, what says nothing does no harm", async (t) => {
  const state = await stateIn(t);
  state.serve(async () => "fine");
  assert.match(await raw(state.path, "{nonsense\n"), /"ok":false/);
  assert.equal(await raw(state.path, `"${"x".repeat(70_000)}"\n`), "");
  connect(join(state.path, "control.sock"))
    .on("error", () => undefined)
    .destroy();
  assert.deepEqual(await request(state.path, {}, patient), { kind: "answer", answer: "fine" });
});

test("a client that has waited long enough leaves, and the handler hears of it", async (t) => {
  const state = await stateIn(t);
  let reason = "";
  state.serve(
    (_message, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          reason = String(signal.reason);
          resolve(null);
        });
      }),
  );
  await assert.rejects(request(state.path, {}, { timeoutMs: 1_000 }), /no answer within 1000 ms/);
  await eventually("the handler heard of it", () => reason.includes("the client has gone"));
  const stopping = AbortSignal.abort(new Error("interrupted"));
  await assert.rejects(request(state.path, {}, { ...patient, signal: stopping }), /^Error: interrupted$/);
});

test("a stop aborts what is under way and still delivers its answer", async (t) => {
  const state = await stateIn(t);
  let started = false;
  state.serve(
    (_message, signal) =>
      new Promise((resolve) => {
        started = true;
        signal.addEventListener("abort", () => resolve(String(signal.reason)));
      }),
  );
  const answer = request(state.path, {}, patient);
  await eventually("the handler runs", () => started);
  await state.close();
  assert.deepEqual(await answer, { kind: "answer", answer: "Error: lockwarden is stopping" });
});

test("more clients than it takes are turned away, the others are served", async (t) => {
  const state = await stateIn(t);
  const release: (() => void)[] = [];
  state.serve(() => new Promise((resolve) => release.push(() => resolve("done"))));
  const asked = Array.from({ length: 40 }, () =>
    request(state.path, {}, patient).then(
      () => "done",
      () => "turned away",
    ),
  );
  await eventually("32 run", () => release.length === 32);
  for (const go of release) go();
  const said = await Promise.all(asked);
  assert.equal(said.filter((word) => word === "done").length, 32);
});

test("who may not ask is told whom to be", async (t) => {
  if (process.getuid?.() === 0) {
    t.skip("root may ask everybody");
    return;
  }
  const state = await stateIn(t);
  await chmod(join(state.path, "control.sock"), 0);
  await assert.rejects(request(state.path, {}, patient), /EACCES.*run this as the owner of/);
});
