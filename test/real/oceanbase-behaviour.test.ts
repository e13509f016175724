import { test } from "node:test";
import { behaves } from "../behaviour/scenarios.ts";
import { realWorld } from "./oceanbase-world.ts";

// The scenarios of every engine, on a real server: LOCKWARDEN_TEST_OCEANBASE_ADMIN=oceanbase://USER@TENANT:PASSWORD@HOST:PORT/DATABASE,
// the administrator of a tenant in MySQL mode, who makes the users and the table of this run and drops them after it.

const admin = process.env["LOCKWARDEN_TEST_OCEANBASE_ADMIN"] ?? "";

if (admin === "")
  test("the scenarios of every engine on a real OceanBase server", {
    skip: "LOCKWARDEN_TEST_OCEANBASE_ADMIN is not set: oceanbase://USER@TENANT:PASSWORD@HOST:PORT/DATABASE",
  });
else behaves("OceanBase, a real server", await realWorld(admin));
