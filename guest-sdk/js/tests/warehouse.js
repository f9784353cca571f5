// A plugin for the tests beside it: an event's type says what to do.

import { config, defineProjection, Failure, log } from "../index.js";

export const { descriptor, projection } = defineProjection({
  name: "warehouse",
  version: "0.1.0",
  collections: [{ name: "items" }, { name: "sums" }],
  documents(event, expect) {
    if (event.type === "changed") expect("items", event.data.item);
  },
  apply(event, state) {
    switch (event.type) {
      case "changed":
        return state.update("items", event.data.item, ({ stock } = { stock: 0 }) => ({ stock: stock + event.data.by }));
      case "dropped":
        return state.remove("items", event.data.item);
      case "copied":
        return state.put("items", `${event.data.item}-copy`, state.get("items", event.data.item) ?? { stock: 0 });
      case "summed": {
        let sum = 0;
        for (const [, { stock }] of state.scan("items", event.data.item)) sum += stock;
        return state.put("sums", event.data.item, sum);
      }
      case "aliased":
        // What `get` returns is a copy: changing it changes nothing.
        state.get("items", event.data.item).stock = -1;
        return;
      case "refused":
        throw new Failure("retry", "stock.refused", "not now", { retryAfterMs: 5, attributes: { depot: config.get("depot") } });
      case "undeclared":
        return state.put("elsewhere", "x", 1);
      case "logged":
        log.warn("low", { item: event.data.item, depot: config.get("depot") });
        console.debug("and", event.details().traceparent);
        return;
    }
  },
});
