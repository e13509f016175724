import { after } from "node:test";
import { startPostgres } from "../../src/demo/embedded-postgres.ts";
import { startOceanBase } from "../support/oceanbase/oceanbase.ts";
import { behaves } from "./scenarios.ts";
import { tenantPeople } from "./tenant-people.ts";

const postgres = await startPostgres({ settings: { max_connections: "200" } });
const doubles = [
  await startOceanBase({ postgres, mode: "oracle", version: "4.2.5.3" }),
  await startOceanBase({ postgres, mode: "mysql", version: "4.3.5.3" }),
];
after(async () => {
  for (const double of doubles) await double.stop();
  await postgres.stop();
});
for (const double of doubles)
  behaves(`OceanBase, ${double.mode === "oracle" ? "Oracle" : "MySQL"} mode (double)`, await tenantPeople(double));
