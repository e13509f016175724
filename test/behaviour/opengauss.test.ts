import { openGaussWorld } from "./opengauss-world.ts";
import { behaves } from "./scenarios.ts";

// The server is there before the first test.
const off = await openGaussWorld({ threadPool: false });

behaves("openGauss, thread pool off (a double)", off);
