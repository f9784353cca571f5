// A projection that does what a projection must not: it looks at the clock, rolls dice and waits. An event's type
// says what; what it found stands in `found` under the event's position.

import state from "wasmill:plugin/state@0.1.0";

let seen = 0;

const HABITS = {
  // Two numbers that a still clock makes the same for ever.
  clock: () => ({ now: Date.now(), date: new Date().toISOString() }),
  dice: () => ({ random: Math.random() }),
  // Kept in the instance, which a rebuild does not share.
  memory: () => ({ seen: ++seen }),
  nothing: () => ({}),
};

export const descriptor = {
  describe: () =>
    JSON.stringify({
      name: "clock-js",
      version: "1.0.0",
      kind: "projection",
      collections: [{ name: "found" }],
    }),
};

export const projection = {
  apply(events) {
    for (const { eventType, position } of events) {
      if (eventType === "timer") {
        if (typeof setTimeout !== "function") throw refusal("there is no setTimeout");
        setTimeout(() => {}, 1000);
        continue;
      }
      const found = (HABITS[eventType] ?? HABITS.nothing)();
      state.put("found", String(position), bytes(JSON.stringify(found)));
    }
  },
};

const refusal = (message) => ({
  disposition: "reject",
  code: "test.no-timer",
  message,
  retryAfterMs: undefined,
  eventIndex: undefined,
  attributes: [],
});

/** What is written here is ASCII. */
const bytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
