// The read model of January 2013 against the answers; see examples/flights/README.md. The component comes
// to the same bytes as plugins/flights, which the tests of the host show.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";

import { Harness } from "../../../guest-sdk/js/testing.js";
import plugin from "../src/flights.js";

const example = (name) => {
  const url = new URL(`../../../examples/flights/flights-2013-01.${name}.gz`, import.meta.url);
  return gunzipSync(readFileSync(url)).toString();
};

test("every figure of the read model equals the answers", () => {
  const flights = new Harness(plugin);
  flights.feed(example("jsonl").trim().split("\n").map((line) => JSON.parse(line)));

  const carriers = flights.all("carriers");
  const departing = Object.entries(carriers).filter(([, { departures }]) => departures > 0);
  const cancelling = Object.entries(carriers).filter(([, { cancelled }]) => cancelled > 0);
  const figures = (entries, figure) => Object.fromEntries(entries.map(([key, document]) => [key, document[figure]]));

  const totals = flights.get("totals", "all");
  const readModel = {
    events: totals.events,
    streams: totals.streams,
    byType: totals.byType,
    byStream: flights.all("aircraft"),
    departuresByCarrier: figures(departing, "departures"),
    departureDelayMinutesByCarrier: figures(departing, "departureDelayMinutes"),
    cancelledByCarrier: figures(cancelling, "cancelled"),
    departuresByOrigin: figures(Object.entries(flights.all("origins")), "departures"),
    arrivalsByDest: figures(Object.entries(flights.all("destinations")), "arrivals"),
    departedNeverArrived: flights.keys("airborne", "").length,
  };
  assert.deepEqual(readModel, JSON.parse(example("answers.json")));
});
