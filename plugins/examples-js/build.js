// Compiles each plugin of src/ into dist/.

import { execFileSync } from "node:child_process";

const sdk = new URL("../../guest-sdk/js/build.js", import.meta.url).pathname;

for (const name of ["user-statistics", "welcome", "user-v1-to-v3", "order-fulfillment"]) {
  execFileSync(process.execPath, [sdk, `src/${name}.js`, `dist/${name}.wasm`], { stdio: "inherit" });
}
