import type { Target } from "../config/schema.ts";
import type { Engine } from "./engine.ts";
import { postgres } from "./postgres/index.ts";

/** The engine that speaks to this target. */
export function engineFor(_target: Target): Engine<Target> {
  return postgres;
}
