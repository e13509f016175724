import { createHash } from "node:crypto";
import { withoutPassword } from "./postgres-url.ts";
import type { Config } from "./schema.ts";

/** Names the effective config: the same whatever the order of keys, the comments and the secrets. */
export function configDigest(config: Config): string {
  const targets = config.targets.map((target) => {
    return { ...target, password: undefined, url: withoutPassword(target.url) };
  });
  const channels = config.channels.map((channel) => {
    if (channel.type === "log") return channel;
    return { ...channel, password: undefined, smtp: withoutPassword(channel.smtp) };
  });
  const text = JSON.stringify(inKeyOrder({ ...config, targets, channels }));
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

function inKeyOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inKeyOrder);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(
    entries.toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([key, inner]) => [key, inKeyOrder(inner)]),
  );
}
