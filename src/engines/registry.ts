import type { Target } from "../config/schema.ts";
import { protocolOf } from "../config/target-url.ts";
import type { Engine } from "./engine.ts";
import { grants } from "./oceanbase/grants.ts";
import { recognised } from "./recognised.ts";

/** Its driver is loaded when the first such target is connected to. */
const oceanbase: Engine<Target> = {
  name: "oceanbase",
  connect: async (target, signal) => (await import("./oceanbase/index.ts")).connect(target, signal),
  grants,
};

type EngineName = NonNullable<Target["engine"]>;

const engines: Readonly<Record<EngineName, Engine<Target>>> = {
  postgres: recognised({ engine: "postgres" }),
  opengauss: recognised({ engine: "opengauss" }),
  gaussdb: recognised({ engine: "gaussdb" }),
  oceanbase,
};

export const engineNames: readonly string[] = Object.keys(engines);

/** As it is called in the config; null: there is none of that name. */
export function engineNamed(name: string): Engine<Target> | null {
  return Object.entries(engines).find(([one]) => one === name)?.[1] ?? null;
}

/** The engine that speaks to this target: `oceanbase` has a protocol of its own, the others recognise each other by what the server says. */
export function engineFor(target: Pick<Target, "engine" | "url">): Engine<Target> {
  return protocolOf(target) === "oceanbase" ? oceanbase : recognised(target);
}
