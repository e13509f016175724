import type { Locks } from "./locks.ts";
import type { Session, World } from "./world.ts";

export type Value = string | number | bigint | null;
/** By the column's name; one that is left out is NULL. */
export type Row = Readonly<Record<string, Value>>;
/** A view's columns, with PostgreSQL's types, and its rows. */
export type View = Readonly<{ columns: readonly (readonly [name: string, type: string])[]; rows: readonly Row[] }>;
export type Scope = Readonly<{ session: Session; world: World; locks: Locks }>;

/** Columns as `NAME:type`; text where no type is named. */
export function named(list: string): [string, string][] {
  return list.split(/\s+/).map((part) => {
    const [name = "", type = "text"] = part.split(":");
    return [name, type];
  });
}

/** Whoever is of the tenant is seen here, whoever asks: only the list of sessions hides people. */
export function ofTenant({ session, world }: Scope): Session[] {
  return [...world.sessions.values()].filter(({ tenant }) => session.tenant === "sys" || tenant === session.tenant);
}

export const transactionId = ({ transaction }: Session): bigint => transaction?.id ?? 0n;

/** Milliseconds since 1970 as a timestamp of UTC. */
export function stamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace("T", " ").replace("Z", "");
}

/** The one server of the double. */
export const server = { SVR_IP: "127.0.0.1", SVR_PORT: 2882 } as const;
