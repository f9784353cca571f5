import { byType, fold } from "./fold.js";

/**
 * A projection: folds events into documents.
 *
 * `apply` has for each event type a function `(event, state)`, or is one for all. `documents(event)` may name what
 * `apply` will read, as `[[collection, key], ...]`, so that the documents of a whole batch are loaded together.
 * All else is the descriptor: see wit/descriptor.schema.json.
 */
export function projection({ apply, documents, ...rest }) {
  const descriptor = { ...rest, kind: "projection" };
  const step = byType(apply);
  return {
    descriptor,
    on: (host) => ({
      descriptor: { describe: () => JSON.stringify(descriptor) },
      projectionJson: {
        apply: (events) => fold(host, events, documents, (event, _, state) => step(event, state)),
      },
    }),
  };
}
