// Flights that have departed and do not arrive: each departure starts a saga, which waits for the arrival, but not longer
// than twelve hours. It lives in the time of the events, so a year of flights takes as long as reading them.

import { saga, wait } from "../../../guest-sdk/js/index.js";

/** The longest flight of all takes 11.7 hours. */
const PATIENCE_US = 12 * 3_600_000_000;

function awaitArrival(context) {
  if (context.wokenBy !== undefined) return { overdue: false };
  if (context.data.get("waiting") === undefined) {
    context.data.put("waiting", true);
    // Its key is the flight's, and so is the arrival's.
    return wait({ eventType: "flight.arrived", untilUs: context.nowUs + PATIENCE_US });
  }
  const { flight, dest } = context.input;
  context.emit("overdue-flights", [{ type: "flight-overdue", key: context.correlationId, data: { dest, flight } }]);
  return { overdue: true };
}

export default saga({
  name: "overdue-flights",
  version: "1.0.0",
  description: "Waits for the arrival of each flight that departs, and says which are overdue",
  capabilities: ["append:overdue-flights"],
  saga: { clock: "event", startsOn: [{ streams: ["aircraft-*"], types: ["flight.departed"], correlation: "key" }] },
  steps: [{ name: "await-arrival", execute: awaitArrival }],
});
