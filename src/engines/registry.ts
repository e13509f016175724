import type { Target } from "../config/schema.ts";
import type { Engine } from "./engine.ts";
import { recognised } from "./recognised.ts";

/** Its driver is loaded when the first such target is connected to. */
const oceanbase: Engine<Target> = {
  name: "oceanbase",
  connect: async (target, signal) => (await import("./oceanbase/index.ts")).connect(target, signal),
  grants: (role) => `-- ${role}`,
};

const engines: Readonly<Record<NonNullable<Target["engine"]>, Engine<Target>>> = {
  postgres,
  opengauss: postgres,
  gaussdb: postgres,
  oceanbase,
};

export const engineNames: readonly string[] = Object.keys(engines);

/** As it is called in the config; null: there is none of that name. */
export function engineNamed(name: string): Engine<Target> | null {
  return Object.entries(engines).find(([one]) => one === name)?.[1] ?? null;
}

/** The engine that speaks to this target: `oceanbase` has a protocol of its own, the others recognise each other by what the server says. */
export function engineFor(target: Pick<Target, "engine" | "url">): Engine<Target> {
  return target.engine === "oceanbase" ? oceanbase : recognised(target);
}
