import { configSchema, type Target } from "../../src/config/schema.ts";

/** A target with the config's own defaults. */
export function target(url: string, more: Partial<Target> = {}): Target {
  const defaults = configSchema.shape.targets.element.parse({ name: "app" });
  return { ...defaults, url, ...more };
}

/** For calls that no test aborts. */
export function patience(): AbortSignal {
  return AbortSignal.timeout(60_000);
}
