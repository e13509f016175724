import { openGauss } from "../support/opengauss/double.ts";
import { gaussPeople } from "./gauss-people.ts";
import { behaves } from "./scenarios.ts";

for (const threadPool of [false, true]) {
  const double = await openGauss({ threadPool });
  behaves(`openGauss, thread pool ${threadPool ? "on" : "off"} (double)`, await gaussPeople(double));
}
