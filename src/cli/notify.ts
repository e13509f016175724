import { randomUUID } from "node:crypto";
import { unreachable } from "../core/unreachable.ts";
import { createLog } from "../daemon/log.ts";
import { quietJson, quietText } from "../daemon/log-line.ts";
import { standardOutput } from "../daemon/standard-output.ts";
import { channelOf } from "../daemon/teller.ts";
import type { Delivery } from "../notify/channel.ts";
import { sampleNotice } from "../notify/sample.ts";
import { errorText } from "../owned-file.ts";
import type { CommandSpec } from "./command.ts";
import { usableConfig } from "./config.ts";
import { type ExitCode, exitCodes } from "./output.ts";

/** As long as the daemon gives one delivery. */
const deliveryMs = 60_000;

export const notify: CommandSpec = {
  name: "notify",
  summary: "notify test CHANNEL: sends a sample notice through one channel, and says what came back",
  arguments: [
    { name: "<what>", describe: "test" },
    { name: "<channel>", describe: "the name of a channel of the config" },
  ],
  config: true,
  json: true,
  async run({ config: file, json, arguments: [what, name] }, output): Promise<ExitCode> {
    if (what !== "test") {
      output.err(`lockwarden notify: expected test, got ${JSON.stringify(what)}: lockwarden notify test CHANNEL`);
      return exitCodes.usage;
    }
    const loaded = usableConfig(file, output);
    if (loaded === null) return exitCodes.usage;
    const { channels } = loaded.config;
    const config = channels.find((one) => one.name === name);
    if (config === undefined) {
      const names = channels.map((one) => one.name);
      const known = names.length === 0 ? `a channel, but ${file} has none` : `one of ${names.join(", ")}`;
      output.err(quietText(`lockwarden notify: expected ${known}, got ${JSON.stringify(name)}`));
      return exitCodes.usage;
    }
    const log = createLog({ level: "info", pretty: true, destination: standardOutput(2) });
    const channel = channelOf(config, log);
    const delivery = await channel
      .deliver(sampleNotice(randomUUID(), new Date()), AbortSignal.timeout(deliveryMs))
      .catch((error: unknown): Delivery => ({ kind: "retry", afterMs: null, error: errorText(error) }));
    await channel.close();
    await log.flush();
    const to = config.type === "email" ? ` to ${config.to.join(", ")}` : "";
    if (json) output.out(quietJson(JSON.stringify({ channel: config.name, type: config.type, ...delivery })));
    else output.out(quietText(`${config.name}: ${deliveryText(delivery, `${config.type}${to}`)}`));
    return delivery.kind === "delivered" ? exitCodes.done : exitCodes.failed;
  },
};

function deliveryText(delivery: Delivery, way: string): string {
  switch (delivery.kind) {
    case "delivered": {
      const warning = delivery.warning === undefined ? "" : `; ${delivery.warning}`;
      return `delivered by ${way}${warning}`;
    }
    case "retry":
      return `not delivered by ${way}, and the daemon would try again: ${delivery.error}`;
    case "dropped":
      return `refused for good by ${way}, and the daemon would give this notice up: ${delivery.error}`;
    default:
      return unreachable(delivery);
  }
}
