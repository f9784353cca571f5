// A plugin for the tests beside it: an event's type says what to do.

import { config, details, log, projection, Retry } from "../index.js";

export default projection({
  name: "warehouse",
  version: "0.1.0",
  collections: [{ name: "items" }, { name: "sums" }],
  config: [{ name: "depot", default: "Leith" }],
  documents: (event) => (event.type === "changed" ? [["items", event.data.item]] : undefined),
  apply: {
    changed: ({ data }, state) =>
      state.update("items", data.item, ({ stock } = { stock: 0 }) => ({ stock: stock + data.by })),
    dropped: ({ data }, state) => state.remove("items", data.item),
    copied: ({ data }, state) => state.put("items", `${data.item}-copy`, state.get("items", data.item) ?? { stock: 0 }),
    summed({ data }, state) {
      let sum = 0;
      for (const [, { stock }] of state.scan("items", data.item)) sum += stock;
      state.put("sums", data.item, sum);
    },
    // What `get` returns is a copy: changing it changes nothing.
    aliased: ({ data }, state) => (state.get("items", data.item).stock = -1),
    refused() {
      const attributes = { depot: config.get("depot") };
      throw new Retry("stock.refused", "not now", { retryAfterMs: 5, attributes });
    },
    undeclared: (_, state) => state.put("elsewhere", "x", 1),
    logged(event) {
      log.warn("low", { item: event.data.item, depot: config.get("depot") });
      console.debug("and", details(event).traceparent);
    },
  },
});
