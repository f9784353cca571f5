import { toRecord } from "./failure.js";
import { open, runIn } from "./host.js";
import { State } from "./state.js";

/**
 * What a projection and a handler have in common: a batch is opened, its documents are loaded together, each
 * event is given to `step(event, index, state)`, and what has changed is saved. All or nothing.
 */
export function fold(host, text, documents, step) {
  runIn(host);
  const state = new State(host);
  // A failure names its event, so that the host need not search for it; -1 while it could be any.
  let index = -1;
  try {
    const events = open(text);
    if (documents !== undefined) {
      for (index = 0; index < events.length; index++) state.expect(documents(events[index]));
      index = -1;
      state.load();
    }
    for (index = 0; index < events.length; index++) step(events[index], index, state);
    index = -1;
    state.save();
  } catch (thrown) {
    throw toRecord(thrown, index < 0 ? null : index);
  }
}

/** What an author writes for each event type, or for all, as one function. Types that it does not name pass. */
export function byType(cases) {
  if (typeof cases === "function") return cases;
  const byType = new Map(Object.entries(cases));
  return (event, ...rest) => byType.get(event.type)?.(event, ...rest);
}
