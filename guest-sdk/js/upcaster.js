import { toJson, toRecord } from "./failure.js";
import { open, runIn } from "./host.js";

/**
 * An upcaster: lifts events of old schema versions, for every reader.
 *
 * `lifts` is a list of `{ type, version, toType, toVersion, lift }`. `lift(data, event)` returns the data of the
 * newer version; it may change what it is given. Steps chain by themselves: write one for each version. What
 * `lift` throws fails its event alone. All else is the descriptor: see wit/descriptor.schema.json.
 */
export function upcaster({ lifts, ...rest }) {
  const place = (type, version) => `${version} ${type}`;
  const steps = new Map(lifts.map((step) => [place(step.type, step.version), step]));
  const descriptor = { ...rest, kind: "upcaster", lifts: lifts.map(({ lift, ...declared }) => declared) };

  const lifted = (event) => {
    const step = steps.get(place(event.type, event.schemaVersion));
    if (step === undefined) return null;
    try {
      const { toType: type = step.type, toVersion: schemaVersion } = step;
      const data = step.lift(event.data, event) ?? null;
      // What a function without `return` gives would end the call, and with it the whole batch.
      if (data === null) throw new TypeError(`what lifts ${event.type} must return its data`);
      return { type, schemaVersion, data };
    } catch (thrown) {
      return { failed: toJson(thrown) };
    }
  };

  return {
    descriptor,
    on: (host) => ({
      descriptor: { describe: () => JSON.stringify(descriptor) },
      upcasterJson: {
        upcast(events) {
          runIn(host);
          try {
            return JSON.stringify(open(events).map(lifted));
          } catch (thrown) {
            throw toRecord(thrown, null);
          }
        },
      },
    }),
  };
}
