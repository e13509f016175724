import { randomUUID } from "node:crypto";
import type { Journal } from "../journal.ts";
import { errorText } from "../owned-file.ts";
import type { Channel, Notice } from "./channel.ts";
import { type ChannelQueue, channelQueue, type End, type Retry, type Waiting } from "./channel-queue.ts";
import type { Log } from "./log-channel.ts";
import type { Spool } from "./spool.ts";

export type Dispatcher = Readonly<{
  /** Resolves, never rejects, when a crash would not lose the notice any more; nobody has to wait for it. */
  tell(notice: Notice, channelNames: readonly string[]): Promise<void>;
  /** Notices that are not yet delivered. */
  waiting(): number;
  /** Delivers what can be delivered at once within the grace; the rest stays in the spool. */
  close(graceMs?: number): Promise<void>;
}>;

export type DispatchOptions = Readonly<{
  log: Log;
  /** Left out: deliveries are not recorded. */
  journal?: Pick<Journal, "append">;
  /** Left out: a restart loses what is not yet delivered. */
  spool?: Spool;
  retry?: Partial<Retry>;
  now?: () => number;
  /** Ms by a clock that nobody sets. */
  elapsed?: () => number;
  newId?: () => string;
}>;

export const usualRetry: Retry = {
  firstMs: 1_000,
  longestMs: 300_000,
  giveUpAfterMs: 24 * 3_600_000,
  attemptMs: 60_000,
  mostWaiting: 1_000,
};

/** Takes notices at once and delivers them in the background, each channel at its own pace. */
export function dispatcher(channels: readonly Channel[], options: DispatchOptions): Dispatcher {
  const { log, spool, now = Date.now, elapsed = () => performance.now() } = options;
  const record = recorder(options);
  const complain = tellOnce(log);
  const settings = { retry: { ...usualRetry, ...options.retry }, log, elapsed };
  const queues = new Map<string, ChannelQueue>();
  // The spool is written in the order of telling, after what an earlier run left there was read.
  let spooling: Promise<unknown> = Promise.resolve();
  let closing: Promise<void> | null = null;

  for (const channel of channels) {
    const ended = (one: Waiting, end: End) => record(one, channel.name, end);
    queues.set(channel.name, channelQueue(channel, { ...settings, ended }));
  }
  if (spool !== undefined) spooling = recover(spool, queues, { log, record, elapsed });

  async function accept(notice: Notice, channelName: string): Promise<void> {
    const queue = queues.get(channelName);
    if (queue === undefined) {
      log.error(
        { channel: channelName, notice: notice.id },
        `no channel is called ${channelName}: a notice is not sent`,
      );
      return;
    }
    const one: Waiting = { notice, sinceMs: elapsed(), key: null, attempts: 0 };
    one.key = (await spool?.put({ channel: channelName, sinceMs: now(), notice }).catch(complain)) ?? null;
    queue.add(one);
  }

  async function finish(graceMs: number): Promise<void> {
    await spooling;
    const grace = new AbortController();
    const timer = setTimeout(() => grace.abort(), graceMs);
    await Promise.all([...queues.values()].map((queue) => queue.close(grace.signal)));
    clearTimeout(timer);
    const left = undelivered(queues);
    const lost = left.filter((one) => one.key === null).length;
    if (left.length > lost)
      log.warn({}, `${left.length - lost} notices are not yet delivered; the next start sends them`);
    if (lost > 0) log.error({}, `${lost} notices are lost: neither delivered nor kept in a spool`);
  }

  return {
    tell(notice, channelNames) {
      if (closing !== null) {
        log.error({ notice: notice.id }, "a notice came after the end and is not sent");
        return Promise.resolve();
      }
      const told = spooling.then(async () => {
        for (const channelName of channelNames) await accept(notice, channelName);
      });
      spooling = told;
      return told;
    },
    waiting: () => undelivered(queues).length,
    close(graceMs = 5_000) {
      closing ??= finish(graceMs);
      return closing;
    },
  };
}

type Recorder = (one: Waiting, channelName: string, end: End) => Promise<void>;

/** What is over is journalled first and then leaves the spool: a crash in between tells twice rather than never. */
function recorder({ journal, spool, log, now = Date.now, newId = randomUUID }: DispatchOptions): Recorder {
  const complain = tellOnce(log);
  return async (one, channelName, { delivered, error }) => {
    const { id, target, text } = one.notice;
    const at = new Date(now()).toISOString();
    const told = { notice: id, channel: channelName, delivered, error, text };
    await journal?.append({ v: 1, id: newId(), at, target, event: "notice", ...told }).catch(complain);
    if (one.key !== null) await spool?.remove(one.key).catch(complain);
  };
}

/** Sends what an earlier run could not. Never rejects: an unreadable spool must not stop new notices. */
async function recover(
  spool: Spool,
  queues: ReadonlyMap<string, ChannelQueue>,
  { log, record, elapsed }: Readonly<{ log: Log; record: Recorder; elapsed(): number }>,
): Promise<void> {
  try {
    const { entries, junk } = await spool.read();
    if (junk.length > 0) log.warn({ junk }, `the spool holds ${junk.length} files that are no notices; ${junk[0]}`);
    for (const { key, spooled } of entries) {
      const { channel, notice } = spooled;
      const one: Waiting = { notice, sinceMs: elapsed(), key, attempts: 0 };
      const queue = queues.get(channel);
      if (queue !== undefined) queue.add(one);
      else {
        log.error({ channel, notice: notice.id }, `no channel is called ${channel} any more: a kept notice is dropped`);
        await record(one, channel, { delivered: false, error: "the channel is gone from the config" });
      }
    }
  } catch (error) {
    log.error({}, `cannot read the spool, its notices wait for the next start: ${errorText(error)}`);
  }
}

/** Logs an error when it differs from the last one. */
function tellOnce(log: Log): (error: unknown) => undefined {
  let last = "";
  return (error) => {
    const text = errorText(error);
    if (text !== last) log.error({}, text);
    last = text;
    return undefined;
  };
}

function undelivered(queues: ReadonlyMap<string, ChannelQueue>): readonly Waiting[] {
  return [...queues.values()].flatMap((queue) => queue.waiting());
}
