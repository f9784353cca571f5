// Write Wasmill plugins in JavaScript. A module of a plugin exports what `defineProjection` returns:
//
//     export const { descriptor, projection } = defineProjection({
//       name: "orders",
//       version: "1.0.0",
//       subscribes: [{ streams: ["order-*"] }],
//       collections: [{ name: "counts" }],
//       apply(event, state) {
//         state.update("counts", event.type, (count = 0) => count + 1);
//       },
//     });
//
// It runs in QuickJS, compiled with the plugin. A projection is a function of its events: in a host its
// clock stands still, and the time to use is `event.timeUs`.

import configImports from "wasmill:plugin/config@0.1.0";
import eventDetails from "wasmill:plugin/event-details@0.1.0";
import logImports from "wasmill:plugin/log@0.1.0";
import state from "wasmill:plugin/state@0.1.0";

import { projectionOn } from "./projection.js";

export { Failure } from "./failure.js";

export const defineProjection = (plugin) => projectionOn({ state, eventDetails }, plugin);

/** The plugin's configuration, fixed for the life of a revision. */
export const config = {
  /** The value of `key`, or undefined. */
  get: (key) => configImports.get(key) ?? undefined,
  all: () => Object.fromEntries(configImports.getAll()),
};

const writer =
  (level) =>
  (message, fields = {}) =>
    logImports.write(level, String(message), Object.entries(fields).map(([name, value]) => [name, String(value)]));

/** The plugin's log: `log.info(message, { field: value })`. */
export const log = Object.fromEntries(
  ["trace", "debug", "info", "warn", "error"].map((level) => [level, writer(level)]),
);

// QuickJS has no console, and what people reach for first should not be an exception.
globalThis.console ??= Object.fromEntries(
  Object.entries({ trace: "trace", debug: "debug", log: "info", info: "info", warn: "warn", error: "error" }).map(
    ([name, level]) => [name, (...parts) => log[level](parts.join(" "))],
  ),
);
