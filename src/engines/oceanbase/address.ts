import { readTenantUrl, type TenantPlace, type TenantUrl } from "../../config/oceanbase-url.ts";

/** One server of a url, and the login there. */
export type Address = TenantPlace & Omit<TenantUrl, "places">;

/** Every server that a url names, in the order in which they are tried. */
export function parseAddresses(url: string): readonly Address[] {
  const read = readTenantUrl(url);
  if (read.kind === "bad") throw new Error(`url: ${read.mistakes.join("; ")}`);
  const { places, ...login } = read.url;
  return places.map((place) => ({ ...place, ...login }));
}

/** For messages: where it leads, never a secret. */
export function describeAddress(address: Address): string {
  return `${describePlace(address)}, user ${address.user}`;
}

export function describePlace({ host, port }: TenantPlace): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The parts of NAME@TENANT#CLUSTER; what the login does not say is null. */
export function loginParts(user: string): Readonly<{ name: string; tenant: string | null; cluster: string | null }> {
  const at = user.indexOf("@");
  if (at < 0) return { name: user, tenant: null, cluster: null };
  const [tenant = "", cluster] = user.slice(at + 1).split("#", 2);
  return { name: user.slice(0, at), tenant: tenant === "" ? null : tenant, cluster: cluster ?? null };
}
