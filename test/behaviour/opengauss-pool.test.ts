import { openGaussWorld } from "./opengauss-world.ts";
import { behaves } from "./scenarios.ts";

// The server is there before the first test.
const on = await openGaussWorld({ threadPool: true });

behaves("openGauss, thread pool on (a double)", on);
