import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DemoConfig, writeConfig } from "./config-file.ts";
import { type DaemonProcess, startDaemonProcess } from "./daemon-process.ts";
import { type EmbeddedPostgres, startPostgres } from "./embedded-postgres.ts";
import { type LoginService, newPassword, openLoginService } from "./login-service.ts";

/** Everything that the demo opens. */
export type Stage = Readonly<{
  server: EmbeddedPostgres;
  service: LoginService;
  config: DemoConfig;
  startDaemon(): DaemonProcess;
}>;

export type Props = Readonly<{
  /** What is to be done in the end; the last one first. */
  later(what: string, undo: () => Promise<unknown>): void;
  /** Does it all, whatever fails on the way; what failed. A second call waits for the first. */
  clear(): Promise<readonly string[]>;
}>;

export function props(): Props {
  const undos: { what: string; undo: () => Promise<unknown> }[] = [];
  const run = async (): Promise<string[]> => {
    const failures: string[] = [];
    for (const { what, undo } of undos.splice(0).toReversed()) {
      await undo().catch((error: unknown) => failures.push(`${what}: ${String(error)}`));
    }
    return failures;
  };
  let clearing: Promise<string[]> | null = null;
  return {
    later: (what, undo) => void undos.push({ what, undo }),
    clear: () => {
      clearing ??= run();
      return clearing;
    },
  };
}

/** Server, database, config and the daemon's program, in a temporary folder; whatever is opened is noted in `later`. */
export async function openStage(program: string, { later }: Props, signal: AbortSignal): Promise<Stage> {
  // A password: on a machine with other users, a server that trusts everybody would be open to them.
  const server = await startPostgres({ password: newPassword() });
  later("the PostgreSQL server", server.stop);
  signal.throwIfAborted();
  const folder = await mkdtemp(join(tmpdir(), "lockwarden-demo-"));
  later(`the folder ${folder}`, () => rm(folder, { recursive: true, force: true }));
  const service = await openLoginService(server, (client) => later("a connection", client.end));
  signal.throwIfAborted();
  const config = await writeConfig(folder, server, service.lockwardenPassword);
  const startDaemon = (): DaemonProcess => {
    const daemon = startDaemonProcess({ program, configFile: config.file, stateDir: config.stateDir, folder });
    later("the daemon", daemon.stop);
    return daemon;
  };
  return { server, service, config, startDaemon };
}
