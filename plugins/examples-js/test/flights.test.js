// Flights in Node, without a host; as those of the example in Rust.

import assert from "node:assert/strict";
import { test } from "node:test";

import { SagaHarness } from "../../../guest-sdk/js/testing.js";
import flights from "../src/overdue-flights.js";

const HOUR_US = 3_600_000_000;
const flight = "UA1545-20130101T1015-EWR";

function departed() {
  const host = new SagaHarness(flights, { correlationId: flight });
  host.nowUs = HOUR_US;
  const { state, wait } = host.start({ flight: "UA1545", dest: "IAH", delayMinutes: 2 });
  assert.deepEqual([state, wait.eventType, wait.untilUs, wait.matchKey], ["waiting", "flight.arrived", 13 * HOUR_US, null]);
  return host;
}

test("a flight that arrives is not overdue", () => {
  const host = departed();
  assert.deepEqual(host.wake({ type: "flight.arrived", data: { dest: "IAH" } }), { state: "completed" });
  assert.deepEqual([host.output("await-arrival"), host.emitted], [{ overdue: false }, []]);
});

test("a flight that does not arrive is told of", () => {
  const host = departed();
  assert.deepEqual(host.wakeAt(13 * HOUR_US), { state: "completed" });
  const [{ stream, type, key, data }] = host.emitted;
  assert.deepEqual([stream, type, key], ["overdue-flights", "flight-overdue", flight]);
  assert.deepEqual([data, host.output("await-arrival")], [{ dest: "IAH", flight: "UA1545" }, { overdue: true }]);
});
