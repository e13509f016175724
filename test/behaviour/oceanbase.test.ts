import { oceanBaseWorld } from "./oceanbase-world.ts";
import { behaves } from "./scenarios.ts";

// The servers are there before the first test.
const mysqlMode = await oceanBaseWorld({ mode: "mysql" });
const oracleMode = await oceanBaseWorld({ mode: "oracle" });

behaves("OceanBase, MySQL mode (a double)", mysqlMode);
behaves("OceanBase, Oracle mode (a double)", oracleMode);
