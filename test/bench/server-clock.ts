import type pg from "pg";

/** Reads the server's clock, in ms since 1970, at a moment of performance.now(). */
export type ServerClock = (localMs: number) => number;

const asks = 25;

/** How far apart the two clocks are, by the answer that came back fastest: off by at most half of the time it took. */
export async function serverClock(client: pg.Client): Promise<ServerClock> {
  let best = { took: Number.POSITIVE_INFINITY, offset: 0 };
  for (let ask = 0; ask < asks; ask++) {
    const sent = performance.now();
    const { rows } = await client.query<{ at: string }>("select extract(epoch from clock_timestamp()) * 1000 as at");
    const took = performance.now() - sent;
    if (took < best.took) best = { took, offset: Number(rows[0]?.at) - (sent + took / 2) };
  }
  return (localMs) => localMs + best.offset;
}
