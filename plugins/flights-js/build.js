// Compiles src/flights.js and QuickJS into dist/flights-js.wasm.

import { mkdir, readFile, writeFile } from "node:fs/promises";

import { componentize } from "componentize-qjs";

const here = (path) => new URL(path, import.meta.url).pathname;

const { component } = await componentize({
  witPath: here("../../wit"),
  world: "projection-plugin",
  jsPath: here("src/flights.js"),
  jsSource: await readFile(here("src/flights.js"), "utf8"),
  // Both the plugin and the SDK that it imports lie below.
  moduleRoot: here("../.."),
  // The contract has no async functions, and hosts need not know those of the component model.
  sync: true,
});
await mkdir(here("dist"), { recursive: true });
await writeFile(here("dist/flights-js.wasm"), component);
