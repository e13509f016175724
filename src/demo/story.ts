import { setTimeout as sleep } from "node:timers/promises";
import type { PlainClient } from "../engines/postgres/plain-client.ts";
import { type Act, readActs, readNotices, type Told, victimOf } from "./acts.ts";
import { type Audience, createAudience, mustRun } from "./audience.ts";
import { type DaemonProcess, wellEnded } from "./daemon-process.ts";
import { DemoFailed } from "./failure.ts";
import { logIn } from "./login-service.ts";
import type { Screen } from "./screen.ts";
import type { Stage } from "./stage.ts";
import { type Attempt, endLines, seconds } from "./view.ts";

export type Play = Readonly<{ stage: Stage; daemon: DaemonProcess; screen: Screen; signal: AbortSignal }>;

const breathMs = 600;
const readyMs = 20_000;
/** The rule says 8 s; the rest is for a slow machine. */
const releaseMs = 40_000;
const loginMs = 10_000;

/** The daemon is connected, and the one that acts. */
export async function untilReady(daemon: DaemonProcess, signal: AbortSignal): Promise<void> {
  const end = performance.now() + readyMs;
  for (;;) {
    mustRun(daemon);
    // Before it listens nobody answers, and before it is ready it refuses.
    const status = await daemon.status(signal).catch(() => null);
    if (status?.targets.every(({ connected, leader }) => connected && leader) === true) return;
    signal.throwIfAborted();
    if (performance.now() > end) throw new DemoFailed(`the daemon is not ready after ${readyMs / 1_000} s`);
    await sleep(50, undefined, { signal });
  }
}

/** The stuck login, from the crash to the release; throws DemoFailed when it does not go as promised. */
export async function play({ stage, daemon, screen, signal }: Play): Promise<void> {
  const { service, config } = stage;
  const reader = await service.reader("reporting");
  const report = await beginReport(reader);
  const [web1, web2, web3, support] = [
    await service.instance("web-1"),
    await service.instance("web-2"),
    await service.instance("web-3"),
    await service.instance("support"),
  ];
  const tries: Try[] = [];
  const attempts = () => tries.map((one) => one.attempt());
  const audience = createAudience({ stage, daemon, screen, attempts, signal });

  await web1.query("begin");
  await logIn(web1, "alice");
  screen.say("web-1 logs alice in, and crashes before its commit: the transaction stays open.", "red");
  const begun = performance.now();
  await logIn(web3, "bob");
  const bobMs = performance.now() - begun;
  screen.say(`web-3 logs bob in, at once (${Math.ceil(bobMs)} ms): only alice's row is locked.`, "green");
  await audience.watchFor(breathMs);
  screen.say("Then three people try to log in as alice, and wait:");
  for (const [client, application, who] of [
    [web2, "web-2", "alice, at her desk"],
    [web3, "web-3", "alice, on her phone"],
    [support, "support", "the help desk, as alice"],
  ] as const) {
    tries.push(tryLogin(client, application, who));
    await audience.watchFor(breathMs);
  }

  const outcomes = async () => (await readActs(config.stateDir)).flatMap(({ outcome }) => outcome ?? []);
  await audience.watchUntil("an outcome in the daemon's journal", async () => (await outcomes()).length > 0, releaseMs);
  const isOver = () => Promise.resolve(attempts().every(({ state }) => state !== "waiting"));
  await audience.watchUntil("the end of the three logins", isOver, loginMs);
  const told = () => readNotices(config.stateDir);
  await audience.watchUntil("a notice over the config's channel", async () => (await told()).length > 0, loginMs);
  screen.settle(endLines({ application: "web-1", pid: web1.pid }, await audience.view()));
  const acts = await readActs(config.stateDir);
  sayJournal(screen, acts, await told());
  await checkEnd({ acts, attempts: attempts(), web1, reader, report, audience, observer: service.observer });
}

type Try = Readonly<{ attempt(): Attempt }>;

function tryLogin(client: PlainClient, application: string, who: string): Try {
  const begun = performance.now();
  let result: Pick<Attempt, "state" | "ms"> | null = null;
  const end = (state: Attempt["state"]) => {
    result = { state, ms: performance.now() - begun };
  };
  void logIn(client, "alice").then(
    () => end("in"),
    () => end("failed"),
  );
  const waiting = () => ({ state: "waiting", ms: performance.now() - begun }) as const;
  return { attempt: () => ({ application, who, ...(result ?? waiting()) }) };
}

/** A report that has been reading for a while: idle in its transaction, longer than the rule allows a blocker. */
async function beginReport(reader: PlainClient): Promise<string> {
  await reader.query("begin isolation level repeatable read");
  await reader.query("select user_name, last_login from public.user_session");
  return await transactionOf(reader);
}

/** In one and the same transaction now() stands still. */
async function transactionOf(client: PlainClient): Promise<string> {
  const [row] = await client.query("select now() as began, pg_catalog.pg_backend_pid() as pid");
  return `pid ${row?.["pid"] ?? "?"} since ${row?.["began"] ?? "?"}`;
}

function sayJournal(screen: Screen, acts: readonly Act[], notices: readonly Told[]): void {
  screen.say("The daemon's journal:", "bold");
  for (const act of acts) {
    const { decision, outcome } = act;
    screen.say(`  intent   ${decision.action} ${victimOf(act).handle}: ${decision.reason.text}`);
    if (outcome !== null) {
      screen.say(`  outcome  ${outcome.kind}: ${outcome.text}`, outcome.kind === "released" ? "green" : "red");
    }
  }
  for (const { channel, text } of notices) screen.say(`  notice   ${channel}: ${text}`);
}

type End = Readonly<{
  acts: readonly Act[];
  attempts: readonly Attempt[];
  web1: PlainClient;
  reader: PlainClient;
  report: string;
  audience: Audience;
  observer: PlainClient;
}>;

/** What was promised, and is not taken for granted. */
async function checkEnd({ acts, attempts, web1, reader, report, audience, observer }: End): Promise<void> {
  const [act, ...others] = acts;
  const kind = act?.outcome?.kind ?? "none";
  if (kind !== "released") throw new DemoFailed(`the outcome: expected released, got ${kind}`);
  const other = others[0];
  if (other !== undefined) throw new DemoFailed(`the daemon acted on somebody else too: ${victimOf(other).handle}`);
  for (const { application, state, ms } of attempts) {
    if (state !== "in") throw new DemoFailed(`${application}: expected a login, got ${state} after ${seconds(ms)}`);
  }
  const isAlive = await web1.query("commit").then(
    () => true,
    () => false,
  );
  if (isAlive) throw new DemoFailed("web-1: expected its session to be ended, got an answer from it");
  const now = await transactionOf(reader).catch((error: unknown) => String(error));
  if (now !== report) throw new DemoFailed(`reporting, which blocked nobody: expected ${report}, got ${now}`);
  await reader.query("commit");
  const { scene } = await audience.view();
  if (scene.root !== null) throw new DemoFailed(`expected nobody to block, got ${scene.root.application}`);
  const [alice] = await observer.query("select logins from public.user_session where user_name = 'alice'");
  const wanted = String(attempts.length);
  if (alice?.["logins"] !== wanted) {
    throw new DemoFailed(`alice's row: expected ${wanted} logins and no trace of web-1's, got ${alice?.["logins"]}`);
  }
}

/** SIGTERM, and a good end. */
export async function stopDaemon(daemon: DaemonProcess): Promise<void> {
  mustRun(daemon);
  const how = await daemon.stop();
  if (how !== wellEnded) throw new DemoFailed(`the daemon, told to stop: expected ${wellEnded}, got ${how}`);
}
