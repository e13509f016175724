import type { Product } from "../../src/engines/opengauss/product.ts";

/** A server of the newest release without a thread pool. */
export const product: Product = {
  name: "openGauss",
  version: "7.0.0-RC2",
  threadPool: false,
  terminateSession: true,
  cancelSession: true,
  lockTags: true,
  emptyIsNull: true,
  killSession: "pg_terminate_session",
};
