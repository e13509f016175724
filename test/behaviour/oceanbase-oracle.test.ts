import { oceanBaseWorld } from "./oceanbase-world.ts";
import { behaves } from "./scenarios.ts";

behaves("OceanBase, Oracle mode (a double)", await oceanBaseWorld({ mode: "oracle" }));
