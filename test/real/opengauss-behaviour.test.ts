import { test } from "node:test";
import { behaves } from "../behaviour/scenarios.ts";
import { realWorld } from "./opengauss-world.ts";

// The scenarios of every engine, on a real server: LOCKWARDEN_TEST_OPENGAUSS_ADMIN=postgres://USER:PASSWORD@HOST:PORT/DATABASE,
// a system administrator, who makes the users and the table of this run and drops them after it.

const admin = process.env["LOCKWARDEN_TEST_OPENGAUSS_ADMIN"] ?? "";

if (admin === "")
  test("the scenarios of every engine on a real openGauss server", {
    skip: "LOCKWARDEN_TEST_OPENGAUSS_ADMIN is not set: postgres://USER:PASSWORD@HOST:PORT/DATABASE",
  });
else behaves("openGauss, a real server", await realWorld(admin));
