import type { CommandSpec } from "./command.ts";
export const demo: CommandSpec = { name: "demo", summary: "x", run: () => Promise.resolve(0) };
