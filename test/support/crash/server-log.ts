import { momentOf } from "../../../src/engines/postgres/moment.ts";

/** What the server's own log says of signals; `log_line_prefix` is `%m [%p] %c `. */
export type ServerLog = Readonly<{
  add(text: string): void;
  /** The signalling statements that reached the server: whom they were about. */
  attempts(): readonly Attempt[];
  /** `%c` of the sessions that were terminated, or had a statement cancelled, by somebody's signal. */
  hits(action: "terminate" | "cancel"): readonly string[];
}>;

export type Attempt = Readonly<{ atMs: number; pid: string; identity: string; action: string }>;

type Entry = { at: string; sessionId: string; level: string; text: string };

const head = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC \[\d+\] ([0-9a-f]+\.[0-9a-f]+) (\w+): {2}(.*)$/;
const words = {
  terminate: "terminating connection due to administrator command",
  cancel: "canceling statement due to user request",
} as const;

export function serverLog(): ServerLog {
  let all = "";
  return {
    add: (text) => {
      all += text;
    },
    attempts: () => attemptsIn(entriesOf(all)),
    hits: (action) =>
      entriesOf(all)
        .filter(({ text }) => text.startsWith(words[action]))
        .map(({ sessionId }) => sessionId),
  };
}

function entriesOf(all: string): readonly Entry[] {
  const entries: Entry[] = [];
  for (const line of all.split("\n")) {
    const [, at, sessionId, level, text] = head.exec(line) ?? [];
    if (at !== undefined && sessionId !== undefined && level !== undefined)
      entries.push({ at, sessionId, level, text: text ?? "" });
    else {
      const last = entries.at(-1);
      if (last !== undefined) last.text += `\n${line}`;
    }
  }
  return entries;
}

/** A statement, and its parameters in the same session's next entry: `$1` the pid, `$2` the action, `$3` the identity. */
function attemptsIn(entries: readonly Entry[]): readonly Attempt[] {
  const attempts: Attempt[] = [];
  for (const [at, entry] of entries.entries()) {
    if (entry.level !== "LOG" || !/^execute .*\/\* lockwarden:act \*\//.test(entry.text)) continue;
    const detail = entries.slice(at + 1).find(({ sessionId }) => sessionId === entry.sessionId);
    const values = new Map(
      Array.from(detail?.text.matchAll(/\$(\d+) = '([^']*)'/g) ?? [], ([, number, value]) => [number, value]),
    );
    const [pid, action, identity] = ["1", "2", "3"].map((number) => values.get(number) ?? "?");
    attempts.push({
      atMs: Date.parse(`${entry.at.replace(" ", "T")}Z`),
      pid: pid ?? "?",
      identity: identity === undefined || identity === "?" ? "?" : momentOf(identity),
      action: action ?? "?",
    });
  }
  return attempts;
}
