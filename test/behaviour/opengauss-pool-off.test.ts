import { openGaussWorld } from "./opengauss-world.ts";
import { behaves } from "./scenarios.ts";

behaves("openGauss, thread pool off (a double)", await openGaussWorld({ threadPool: false }));
