import type { ChannelConfig } from "../config/schema.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Channel, Notice } from "../notify/channel.ts";
import { type Dispatcher, dispatcher } from "../notify/dispatch.ts";
import { email } from "../notify/email.ts";
import { logChannel } from "../notify/log-channel.ts";
import { openSpool, type Spool } from "../notify/spool.ts";
import type { JournalGate } from "./journal-gate.ts";
import type { Log } from "./log-port.ts";

/** Tells people, over the channels of the config in force. */
export type Teller = Readonly<{
  /** Never waits. Without names: over every channel. It is in the log in any case. */
  tell(notice: Notice, channels: readonly string[] | undefined): void;
  /** Goes on with these channels; what is not yet delivered goes over to those that are still there. */
  configure(channels: readonly ChannelConfig[]): Promise<void>;
  /** Notices that are not yet delivered. */
  waiting(): number;
  /** Delivers for so long; what is left stays in the spool. */
  close(graceMs: number): Promise<void>;
}>;

export type TellerContext = Readonly<{
  channels: readonly ChannelConfig[];
  stateDir: string;
  journal: JournalGate;
  log: Log;
  newId(): string;
}>;

/** For what an old set of channels is just delivering. */
const handOverMs = 250;

export async function createTeller({ channels, stateDir, journal, log, newId }: TellerContext): Promise<Teller> {
  // Without a spool notices are still sent: only a restart loses what could not be delivered.
  const spool: Spool | null = await openSpool(stateDir).catch((error: unknown) => {
    log.error({}, `notices are not kept across a restart: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  });
  const begin = (configs: readonly ChannelConfig[]): Dispatcher =>
    dispatcher(
      configs.map((config) => channelOf(config, log)),
      { log, journal: { append: journal.write }, newId, ...(spool === null ? {} : { spool }) },
    );
  let configured = channels;
  let current = begin(channels);
  /** Told while the old channels hand over to the new ones. */
  let held: Readonly<{ notice: Notice; names: readonly string[] | undefined }>[] | null = null;
  const send = (notice: Notice, wanted: readonly string[] | undefined): void => {
    const all = configured.map(({ name }) => name);
    const known = (wanted ?? all).filter((name) => all.includes(name));
    // Of an act that began under an older config: somebody is told, even if its own channels are gone.
    const names = known.length > 0 || wanted?.length === 0 ? known : all;
    const logged = configured.some(({ name, type }) => type === "log" && names.includes(name));
    const about = notice.target === null ? {} : { target: notice.target };
    if (!logged) log.info({ ...about, notice: notice.id, phase: notice.phase }, notice.text);
    void current.tell(notice, names);
  };
  return {
    tell: (notice, names) => {
      if (held === null) send(notice, names);
      else held.push({ notice, names });
    },
    configure: async (next) => {
      if (JSON.stringify(next) === JSON.stringify(configured)) return;
      held = [];
      try {
        await current.close(handOverMs);
      } finally {
        const waiting = held;
        held = null;
        configured = next;
        current = begin(next);
        for (const { notice, names } of waiting) send(notice, names);
      }
    },
    waiting: () => current.waiting(),
    close: (graceMs) => current.close(graceMs),
  };
}

export function channelOf(config: ChannelConfig, log: Log): Channel {
  switch (config.type) {
    case "email":
      return email(config);
    case "log":
      return logChannel(config.name, log);
    default:
      return unreachable(config);
  }
}
