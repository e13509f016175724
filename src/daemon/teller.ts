import type { ChannelConfig } from "../config/schema.ts";
import type { Notice } from "../notify/channel.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { Log } from "./log-port.ts";
export type Teller = Readonly<{
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  configure(channels: readonly ChannelConfig[]): Promise<void>;
  close(): Promise<void>;
}>;
export type TellerContext = Readonly<{
  channels: readonly ChannelConfig[];
  stateDir: string;
  journal: JournalGate;
  log: Log;
  newId(): string;
  now(): Date;
}>;
export async function createTeller({ log }: TellerContext): Promise<Teller> {
  return {
    tell: (notice) => log.info({ phase: notice.phase }, `notice: ${notice.text}`),
    configure: async () => undefined,
    close: async () => undefined,
  };
}
