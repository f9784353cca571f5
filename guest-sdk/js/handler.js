import { byType, fold } from "./fold.js";

/**
 * A handler: answers events with events, and may keep state.
 *
 * `handle` has for each event type a function `(event, state, emit)`, or is one for all.
 * `emit(stream, [{ type, schemaVersion, key, data, attributes }])` appends; type and data are required. What is
 * appended, the state and the progress are one commit, so nothing is appended twice. `documents` is as in a
 * projection, and all else is the descriptor, in which `capabilities: ["append:PATTERN"]` asks for the streams.
 */
export function handler({ handle, documents, ...rest }) {
  const descriptor = { ...rest, kind: "handler" };
  const step = byType(handle);
  return {
    descriptor,
    on: (host) => ({
      descriptor: { describe: () => JSON.stringify(descriptor) },
      handlerJson: {
        handle(events) {
          const appends = [];
          fold(host, events, documents, (event, cause, state) =>
            step(event, state, (stream, events) => appends.push({ cause, stream, events })),
          );
          // Now: in a batch that fails nothing is appended.
          if (appends.length > 0) host.outboxJson.append(JSON.stringify(appends));
        },
      },
    }),
  };
}
