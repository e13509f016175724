import type { Target } from "../../config/schema.ts";
import { type Link, LinkLost } from "../engine.ts";

export function connect(target: Target, _signal: AbortSignal): Promise<Link> {
  throw new LinkLost("refused", `cannot connect to ${target.name}`);
}
