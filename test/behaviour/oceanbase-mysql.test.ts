import { oceanBaseWorld } from "./oceanbase-world.ts";
import { behaves } from "./scenarios.ts";

behaves("OceanBase, MySQL mode (a double)", await oceanBaseWorld({ mode: "mysql" }));
