import type { PlainClient } from "../engines/postgres/plain-client.ts";
import { type Act, readActs, readNotices, type Told, victimOf } from "./acts.ts";
import { type Audience, createAudience } from "./audience.ts";
import { type Cast, openCast, type Try, transactionOf, tryLogin } from "./cast.ts";
import type { DaemonProcess } from "./daemon-process.ts";
import { DemoFailed } from "./failure.ts";
import { logIn } from "./login-service.ts";
import type { Scene } from "./scene.ts";
import type { Screen } from "./screen.ts";
import type { Stage } from "./stage.ts";
import { type Attempt, endLines, seconds } from "./view.ts";

export type Play = Readonly<{ stage: Stage; daemon: DaemonProcess; screen: Screen; signal: AbortSignal }>;

/** Between two things that happen, so that they can be followed. */
const breathMs = 600;
/** The rule says 8 s; the rest is for a slow machine. */
const releaseMs = 40_000;
const afterwardsMs = 10_000;

/** The stuck login, from the crash to the release; throws DemoFailed when it does not go as promised. */
export async function play({ stage, daemon, screen, signal }: Play): Promise<void> {
  const { service, config } = stage;
  const tries: Try[] = [];
  const attempts = () => tries.map((attempt) => attempt());
  const audience = createAudience({ stage, daemon, screen, attempts, signal });
  const cast = await openCast(service);
  screen.say("reporting reads the table, leaves its transaction open too, and blocks nobody.");
  await crash(cast, screen);
  await audience.watchFor(breathMs);

  screen.say("Then three people try to log in as alice, and wait:");
  for (const [client, application, who] of [
    [cast.web2, "web-2", "alice, at her desk"],
    [cast.web3, "web-3", "alice, on her phone"],
    [cast.support, "support", "the help desk, as alice"],
  ] as const) {
    tries.push(tryLogin(client, application, who));
    await audience.watchFor(breathMs);
  }
  await watchRelease(audience, attempts, config.stateDir);

  const seen = await audience.view();
  const acts = await readActs(config.stateDir);
  checkActs(acts, cast.web1.pid);
  checkLogins(seen.attempts);
  await checkServer(cast, seen.scene);
  await checkRow(service.observer, tries.length);
  screen.settle(endLines({ application: "web-1", pid: cast.web1.pid }, seen));
  sayJournal(screen, acts, await readNotices(config.stateDir));
}

async function crash({ web1, web3 }: Cast, screen: Screen): Promise<void> {
  await web1.query("begin");
  await logIn(web1, "alice");
  screen.say("web-1 logs alice in, and crashes before its commit: alice's row stays locked.", "red");
  const begun = performance.now();
  await logIn(web3, "bob");
  screen.say(`web-3 logs bob in, at once (${Math.ceil(performance.now() - begun)} ms): his row is free.`, "green");
}

async function watchRelease(audience: Audience, attempts: () => readonly Attempt[], stateDir: string): Promise<void> {
  const judged = async () => (await readActs(stateDir)).some(({ outcome }) => outcome !== null);
  await audience.watchUntil("an outcome in the daemon's journal", judged, releaseMs);
  const over = () => Promise.resolve(attempts().every(({ state }) => state !== "waiting"));
  await audience.watchUntil("the end of the three logins", over, afterwardsMs);
  const told = async () => (await readNotices(stateDir)).length > 0;
  await audience.watchUntil("a notice over the config's channel", told, afterwardsMs);
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

// What follows is promised, and not taken for granted.

function checkActs(acts: readonly Act[], pid: string): void {
  for (const act of acts) {
    const victim = victimOf(act);
    if (victim.pid !== pid)
      throw new DemoFailed(`the daemon acted on ${victim.handle}: expected only web-1, pid ${pid}`);
  }
  const kinds = acts.map(({ outcome }) => outcome?.kind ?? "none").join(", ");
  if (kinds !== "released") throw new DemoFailed(`the outcome: expected released, got ${kinds}`);
}

function checkLogins(attempts: readonly Attempt[]): void {
  for (const { application, state, ms } of attempts) {
    if (state !== "in") throw new DemoFailed(`${application}: expected a login, got ${state} after ${seconds(ms)}`);
  }
}

async function checkServer({ web1, reporting, report }: Cast, { root }: Scene): Promise<void> {
  const answers = await web1.query("commit").then(
    () => true,
    () => false,
  );
  if (answers) throw new DemoFailed("web-1: expected its session to be ended, got an answer from it");
  const now = await transactionOf(reporting).catch((error: unknown) => String(error));
  if (now !== report) throw new DemoFailed(`reporting, which blocked nobody: expected ${report}, got ${now}`);
  await reporting.query("commit");
  if (root !== null) throw new DemoFailed(`expected nobody to block, got ${root.application}`);
}

async function checkRow(observer: PlainClient, wanted: number): Promise<void> {
  const [alice] = await observer.query("select logins from public.user_session where user_name = 'alice'");
  const logins = Number(alice?.["logins"]);
  if (logins !== wanted) {
    throw new DemoFailed(`alice's row: expected ${wanted} logins and no trace of web-1's, got ${logins}`);
  }
}
