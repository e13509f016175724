import type { Product } from "./product.ts";

const columns = [
  "database",
  "relation",
  "page",
  "tuple",
  "bucket",
  "virtualxid",
  "transactionid",
  "classid",
  "objid",
  "objsubid",
];

/**
 * Names a lock, as SQL over `l`: the kind, then the server's own tag, which is all that it tells locks apart by; where it
 * shows none, all parts. No empty strings: in some databases they are NULL, and `||` differs there.
 */
export function lockText({ lockTags }: Pick<Product, "lockTags">): string {
  const parts = columns.map((column) => `coalesce(l.${column}::text, '-')`).join(" || '/' || ");
  return `l.locktype || ' ' || ${lockTags ? `coalesce(l.locktag, ${parts})` : parts}`;
}
