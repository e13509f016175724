import type { Product } from "./product.ts";

const columns = ["database", "relation", "page", "tuple", "bucket", "virtualxid", "transactionid", "classid", "objid"];

/**
 * Names a lock, as SQL over `l`: the kind, then all parts; the server's own tag too, where it has one, as some kinds
 * (partitions) show less in the columns. No empty strings: in some databases they are NULL, and `||` differs there.
 */
export function lockText({ lockTags }: Pick<Product, "lockTags">): string {
  const parts = [...columns, "objsubid", ...(lockTags ? ["locktag"] : [])].map(
    (column) => `coalesce(l.${column}::text, '-')`,
  );
  return `l.locktype || ' ' || ${parts.join(" || '/' || ")}`;
}
