#!/usr/bin/env node
// Compiles a plugin and QuickJS into a component: node build.js src/plugin.js plugin.wasm
//
// The compiler is the one that the project in the current folder has installed. What the module imports has to lie
// in that folder or beside this file.

import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const COMMON = ["log", "config", "event-details"];
const STATE = [...COMMON, "state", "state-json"];
const IMPORTS = {
  projection: STATE,
  handler: [...STATE, "env", "outbox-json"],
  upcaster: COMMON,
  saga: [...COMMON, "env", "outbox", "saga-data", "http"],
};
/** A saga has no batches: there is one form of it. */
const form = (kind) => (kind === "saga" ? "" : "-json");

const camel = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());

/** The module that the component runs: it joins the plugin to the imports of its world. */
function entry(kind, plugin) {
  const imports = IMPORTS[kind].map((name) => `import ${camel(name)} from "wasmill:plugin/${name}@0.1.0";`);
  return `${imports.join("\n")}
import plugin from ${JSON.stringify(plugin)};
export const { descriptor, ${camel(kind + form(kind))} } = plugin.on({ ${IMPORTS[kind].map(camel).join(", ")} });`;
}

const [source, output] = process.argv.slice(2);
if (output === undefined) {
  console.error("usage: node build.js SOURCE OUTPUT");
  process.exit(2);
}
const project = process.cwd();
const sdk = dirname(fileURLToPath(import.meta.url));

// Running it here first tells its kind, and what is wrong with it in the words of Node.
const { default: plugin } = await import(pathToFileURL(resolve(source)));
const kind = plugin?.descriptor?.kind;
if (!(kind in IMPORTS)) {
  console.error(`${source}: its default export is not what projection, handler, upcaster or saga returned`);
  process.exit(1);
}

const { componentize } = await import(createRequire(join(project, "package.json")).resolve("componentize-qjs"));
const wit = [join(project, "wit"), join(sdk, "../../wit")].find(existsSync);
const { component } = await componentize({
  witPath: wit,
  world: `${kind}-plugin${form(kind)}`,
  // Only the place from which the entry's import is looked up.
  jsPath: fileURLToPath(import.meta.url),
  jsSource: entry(kind, `./${relative(sdk, resolve(source)).split(sep).join("/")}`),
  moduleRoot: shared(project, sdk),
  // The contract has no async functions, and hosts need not know those of the component model.
  sync: true,
});
await mkdir(dirname(resolve(output)), { recursive: true });
await writeFile(output, component);

/** The deepest folder that holds both. */
function shared(one, other) {
  let folder = one;
  while (relative(folder, other).startsWith("..")) folder = dirname(folder);
  return folder;
}
