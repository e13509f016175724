import type { Log } from "../../src/daemon/log-port.ts";

const nothing = (): undefined => undefined;

/** For whoever wants a log, where what it says is not what the test is about. */
export const muteLog: Log = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  child: () => muteLog,
  flush: () => Promise.resolve(),
};
