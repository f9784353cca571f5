// Compiles clock.js and QuickJS into dist/clock.wasm, by the compiler that plugins/flights-js has installed.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";

const here = (path) => new URL(path, import.meta.url).pathname;
const { componentize } = await import(
  createRequire(here("../../plugins/flights-js/package.json")).resolve("componentize-qjs")
);

const { component } = await componentize({
  witPath: here("../../wit"),
  world: "projection-plugin",
  jsPath: here("clock.js"),
  jsSource: await readFile(here("clock.js"), "utf8"),
  moduleRoot: here("."),
  sync: true,
});
await mkdir(here("dist"), { recursive: true });
await writeFile(here("dist/clock.wasm"), component);
