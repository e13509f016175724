import { basename } from "node:path";
import { type DaemonProcess, stopWell, untilReady } from "./daemon-process.ts";
import { NoPostgres } from "./embedded-postgres.ts";
import { createScreen, type ScreenOutput } from "./screen.ts";
import { openStage, props } from "./stage.ts";
import { play } from "./story.ts";

export type DemoEnd =
  | Readonly<{ kind: "done" }>
  /** Somebody stopped it. */
  | Readonly<{ kind: "interrupted"; left: readonly string[] }>
  | Readonly<{ kind: "no-postgres"; text: string }>
  | Readonly<{ kind: "failed"; text: string; left: readonly string[] }>;

export type DemoOptions = Readonly<{
  /** The program whose `run` is the daemon. */
  program: string;
  output: ScreenOutput;
  signal: AbortSignal;
}>;

const mostSaid = 5;

/** The whole demo; whatever happens, server, daemon and folders are gone when it returns. */
export async function runDemo({ program, output, signal }: DemoOptions): Promise<DemoEnd> {
  const screen = createScreen(output);
  const opened = props();
  let daemon: DaemonProcess | null = null;
  try {
    screen.say("Lockwarden demo: a login gets stuck, and frees itself within seconds.", "bold");
    screen.say("Starting a PostgreSQL for it …", "dim");
    const stage = await openStage(program, opened, signal);
    const { server, config } = stage;
    screen.say(
      `PostgreSQL ${stage.service.version} listens on ${server.host}:${server.port}. The daemon gets this config:`,
    );
    for (const line of config.text.trimEnd().split("\n")) screen.say(`  ${line}`, "cyan");
    daemon = stage.startDaemon();
    await untilReady(daemon, signal);
    screen.say(`lockwarden run --config ${basename(config.file)} watches now (pid ${daemon.pid}).`);
    await play({ stage, daemon, screen, signal });
    await stopWell(daemon);
  } catch (error) {
    const said = daemon?.said().slice(-mostSaid) ?? [];
    const died = daemon?.ended() ?? null;
    const left = await opened.clear();
    // A Ctrl-C reaches server and daemon too, and what breaks then is no failure.
    if (signal.aborted) return { kind: "interrupted", left };
    if (error instanceof NoPostgres) return { kind: "no-postgres", text: error.message };
    const log = said.length === 0 ? "" : `\nThe daemon's last words:\n${said.map((line) => `  ${line}`).join("\n")}`;
    const message = error instanceof Error ? error.message : String(error);
    // What breaks when the daemon has died is only a consequence.
    const text = died === null ? message : `the daemon ended by itself (${died})`;
    return { kind: "failed", text: `${text}${log}`, left };
  }
  const left = await opened.clear();
  if (left.length > 0) return { kind: "failed", text: "not everything could be cleared away", left };
  return { kind: "done" };
}
