import { Event } from "./event.js";
import { toRecord } from "./failure.js";
import { State } from "./state.js";

/**
 * The exports of a projection plugin on `host`, which has the interfaces that the contract imports.
 *
 * `apply(event, state)` folds one event; those that it does not know it should leave alone.
 * `documents(event, expect)` may call `expect(collection, key)` for what `apply` will read, so that the
 * documents of a whole batch are fetched together. All else is the descriptor: see
 * wit/descriptor.schema.json.
 */
export function projectionOn(host, { apply, documents, ...descriptor }) {
  const json = JSON.stringify({ ...descriptor, kind: "projection" });
  return {
    descriptor: { describe: () => json },
    projection: { apply: (records) => fold(host, records, apply, documents) },
  };
}

function fold(host, records, apply, documents) {
  const state = new State(host);
  // A failure names its event, so that the host need not search for it; -1 while it could be any.
  let index = -1;
  try {
    const events = records.map((record, n) => new Event(record, n, host.eventDetails.attributesOf));
    if (documents !== undefined) {
      const expect = (collection, key) => state.expect(collection, key);
      for (index = 0; index < events.length; index++) documents(events[index], expect);
      state.fetch();
    }
    for (index = 0; index < events.length; index++) apply(events[index], state);
    index = -1;
    state.write();
  } catch (thrown) {
    throw toRecord(thrown, index < 0 ? null : index);
  }
}
