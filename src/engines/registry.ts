import type { Target } from "../config/schema.ts";
import type { Engine } from "./engine.ts";
import { recognised } from "./recognised.ts";

/** Its driver is loaded when the first such target is connected to. */
const oceanbase: Engine<Target> = {
  name: "oceanbase",
  connect: async (target, signal) => (await import("./oceanbase/index.ts")).connect(target, signal),
  grants: (role) => `-- ${role}`,
};

/** The engine that speaks to this target: `oceanbase` has a protocol of its own, the others recognise each other by what the server says. */
export function engineFor(target: Pick<Target, "engine" | "url">): Engine<Target> {
  return target.engine === "oceanbase" ? oceanbase : recognised(target);
}
