import { createServer, type Socket } from "node:net";
import { after } from "node:test";
import type { Target } from "../../src/config/schema.ts";
import { type OceanBaseDouble, type OceanBaseOptions, startOceanBase } from "./oceanbase/oceanbase.ts";
import { startServer } from "./servers.ts";
import { target } from "./targets.ts";

/** A target of this engine with the config's own defaults. */
export function tenantTarget(url: string, more: Partial<Target> = {}): Target {
  return target(url, { engine: "oceanbase", ...more });
}

/** A port on loopback where these bytes are the answer to whoever connects, and to whatever is said. */
export async function answering(hello: Buffer, answer: (said: Buffer) => Buffer | null = () => null): Promise<number> {
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (said) => {
      const bytes = answer(said);
      if (bytes !== null) socket.write(bytes);
    });
    socket.write(hello);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  const address = listener.address();
  if (address === null || typeof address === "string") throw new Error("it listens on no port");
  return address.port;
}

/** A port on loopback where nobody listens: it was free a moment ago, and is not given out again soon. */
export async function closedPort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 1;
}

/** Doubles over one PostgreSQL for the tests of one file; they are stopped before it, after the tests. */
export async function tenants<const T extends readonly OceanBaseOptions[]>(
  wanted: T,
): Promise<{ [At in keyof T]: OceanBaseDouble }> {
  const postgres = await startServer({ settings: { max_connections: "200" } });
  const started: OceanBaseDouble[] = [];
  after(async () => {
    await Promise.all(started.map((double) => double.stop()));
    await postgres.stop();
  });
  for (const options of wanted) started.push(await startOceanBase({ ...options, postgres }));
  return started as { [At in keyof T]: OceanBaseDouble };
}
