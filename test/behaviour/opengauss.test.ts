import { openGaussWorld } from "./opengauss-world.ts";
import { behaves } from "./scenarios.ts";

// The servers are there before the first test.
const off = await openGaussWorld({ threadPool: false });
const on = await openGaussWorld({ threadPool: true });

behaves("openGauss, thread pool off (a double)", off);
behaves("openGauss, thread pool on (a double)", on);
