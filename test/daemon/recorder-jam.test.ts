import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { configSchema } from "../../src/config/schema.ts";
import type { Log } from "../../src/daemon/log-port.ts";
import { createRecorder } from "../../src/daemon/recorder.ts";
import { recordedLooks } from "../../src/recorded-looks.ts";
import { recordingFiles } from "../../src/replay-files.ts";
import { judge } from "../support/judge.ts";
import { snapshot } from "../support/snapshot.ts";
import { target } from "../support/targets.ts";

test("a jam keeps nobody waiting while it is recorded: its decisions are put into words beside the loop, and not all of them", async () => {
  const rules = [{ name: "waiters", match: { waits: { for: "1s" } }, steps: ["cancel"] }];
  const look = snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "1m" }).build();
  const { decisions, circumstances } = judge({ rules }).look(look);
  const [one] = decisions;
  assert.ok(one !== undefined);
  let worded = 0;
  const counting = Object.defineProperty({ ...one }, "reason", {
    get: () => {
      worded++;
      return one.reason;
    },
  });
  const stateDir = await mkdtemp(join(tmpdir(), "lockwarden-test-"));
  const { recordings, query_text } = configSchema.parse({ targets: [{ name: "app" }], rules });
  const targets = [target("postgres://lockwarden@db/app")];
  const said: string[] = [];
  const say = (_: object, text: string) => void said.push(text);
  const log: Log = { debug: say, info: say, warn: say, error: say, child: () => log, flush: () => Promise.resolve() };
  const recorder = createRecorder({
    stateDir,
    config: () => ({ recordings, query_text, targets }),
    log,
    run: "r",
    now: () => new Date(),
  });
  const judgements = Array.from({ length: 5_000 }, () => ({ decision: counting, outcome: null }));
  recorder.look({ snapshot: look, circumstances, judgements, freedom: new Map() }, 1);
  assert.equal(worded, 0);
  await recorder.close();
  const { files } = await recordingFiles([join(stateDir, "recordings")]);
  const lines = [];
  for (const file of files) for await (const line of recordedLooks(file)) lines.push(line);
  await rm(stateDir, { recursive: true });
  const [line] = lines;
  assert.deepEqual(said, []);
  assert.ok(line?.kind === "look");
  assert.equal(line.look.judgement?.opinions.length, 1_000);
  assert.ok(worded <= 2_000); // its code and its text
});

test("a host's clock put forward by a month removes no recordings", async () => {
  const look = snapshot().session(1, { idle: "1m" }).session(2).waits(2, { on: 1, for: "1m" }).build();
  const rules = [{ name: "waiters", match: { waits: { for: "1s" } }, steps: ["cancel"] }];
  const { decisions, circumstances } = judge({ rules }).look(look);
  const stateDir = await mkdtemp(join(tmpdir(), "lockwarden-test-"));
  const { recordings, query_text } = configSchema.parse({ targets: [{ name: "app" }], rules });
  const say = () => undefined;
  const log: Log = { debug: say, info: say, warn: say, error: say, child: () => log, flush: () => Promise.resolve() };
  let nowMs = Date.UTC(2026, 0, 1);
  const targets = [target("postgres://lockwarden@db/app")];
  const config = () => ({ recordings, query_text, targets });
  const recorder = createRecorder({ stateDir, config, log, run: "r", now: () => new Date(nowMs) });
  const files = async () => (await recordingFiles([join(stateDir, "recordings")])).files.length;
  const judgements = decisions.map((decision) => ({ decision, outcome: null }));
  recorder.look({ snapshot: look, circumstances, judgements, freedom: new Map() }, 1);
  nowMs += 30 * 86_400_000;
  recorder.look({ snapshot: look, circumstances, judgements, freedom: new Map() }, 1);
  await recorder.close();
  assert.equal(await files(), 2);
  await rm(stateDir, { recursive: true });
});
