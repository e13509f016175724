import type { Socket } from "node:net";
import type { Connection, createConnection } from "mysql2";
import { LinkLost } from "../engine.ts";

/** What is used of mysql2. */
export type Driver = Readonly<{ createConnection: typeof createConnection }>;
export type DriverConnection = Connection;

/** The first that sets CLIENT_QUERY_ATTRIBUTES, the bit by which a tenant in Oracle mode knows a client that it serves. */
export const oldestDriver = "3.21.0";
export const oracleClientBit = 0x0800_0000;

/** Loaded when the first target of this engine is connected to, and by nobody else: it is an optional dependency. */
export async function loadDriver(
  load: () => Promise<Readonly<{ default: Driver }>> = () => import("mysql2"),
): Promise<Driver> {
  try {
    return (await load()).default;
  } catch (cause) {
    throw new LinkLost("refused", `the driver for OceanBase, mysql2, cannot be loaded: ${firstLine(cause)}`, {
      cause,
      hint: `install it beside Lockwarden: npm install mysql2@^${oldestDriver}`,
    });
  }
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0] ?? "";
}

/** Without a goodbye: the driver's own destroy only says that nothing more will be sent. */
export function hangUp(client: DriverConnection): void {
  client.destroy();
  (client as unknown as Readonly<{ stream: Socket }>).stream.destroy();
}
