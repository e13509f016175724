import { openGaussWorld } from "./opengauss-world.ts";
import { behaves } from "./scenarios.ts";

behaves("openGauss, thread pool on (a double)", await openGaussWorld({ threadPool: true }));
