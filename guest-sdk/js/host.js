// The host that runs the plugin, and the batch that it runs: what a plugin reaches beside its arguments.

/** The interfaces that the plugin's world imports, by their names in camel case. */
let imports;

/** The events of the present batch. */
let batch = [];

/** Names the host, once in a component and before each call in tests. */
export const runIn = (host) => (imports = host);

/** What the world of the plugin imports. */
export const imported = () => imports;

/** Runs a call whose batch is the one event that has woken it, if one did. */
export function within(event, call) {
  batch = event === undefined ? [] : [event];
  return call();
}

/** Parses a batch. It is left to stay after the call, since nothing can ask for it then. */
export const open = (events) => (batch = JSON.parse(events));

/** What is rarely read of an event, as an object of strings; several tags are joined by commas. Asks the host. */
export function details(event) {
  const found = {};
  for (const [name, value] of imports.eventDetails.attributesOf(batch.indexOf(event))) {
    found[name] = name in found ? `${found[name]},${value}` : value;
  }
  return found;
}

/** The plugin's configuration, fixed for the life of a revision. */
export const config = {
  /** The value of `key`, or undefined. */
  get: (key) => imports.config.get(key) ?? undefined,
  all: () => Object.fromEntries(imports.config.getAll()),
};

/** Real time and random numbers. Handlers and sagas only: everything else is a function of its events. */
export const env = {
  nowUs: () => Number(imports.env.nowUs()),
  random: (length) => imports.env.random(length),
};

const writer =
  (level) =>
  (message, fields = {}) =>
    imports.log.write(level, String(message), Object.entries(fields).map(([name, value]) => [name, String(value)]));

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
