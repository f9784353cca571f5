// The projection of plugins/flights, in JavaScript. Both must come to the same bytes, so the fields of a
// document stand in the same order here and there.

import { projection } from "../../../guest-sdk/js/index.js";

const ALL = "all";

export default projection({
  name: "flights-js",
  version: "0.1.0",
  description: "What flights come to by carrier, airport and aircraft, and which are in the air",
  subscribes: [{ streams: ["aircraft-*"], types: ["flight.*"] }],
  collections: [
    { name: "totals", description: "Under the key `all`: events, aircraft, and events by type" },
    { name: "carriers", description: "By carrier: departures, the sum of their delays, cancellations" },
    { name: "origins", description: "By airport: departures" },
    { name: "destinations", description: "By airport: arrivals" },
    { name: "aircraft", description: "By stream: what one aircraft has flown" },
    { name: "airborne", description: "By flight: departed and not arrived yet" },
  ],

  documents(event) {
    const documents = [["totals", ALL], ["aircraft", event.stream]];
    switch (event.type) {
      case "flight.departed":
        documents.push(["carriers", event.data.carrier], ["origins", event.data.origin]);
        break;
      case "flight.arrived":
        documents.push(["destinations", event.data.dest]);
        break;
      case "flight.cancelled":
        documents.push(["carriers", event.data.carrier]);
    }
    return documents;
  },

  apply: { "flight.departed": departed, "flight.arrived": arrived, "flight.cancelled": cancelled },
});

function departed(event, state) {
  const { flight, carrier, origin, dest, delayMinutes } = event.data;
  count(event, state, (aircraft) => (aircraft.departed += 1));
  state.update("carriers", carrier, (document = newCarrier()) => {
    document.departures += 1;
    document.departureDelayMinutes += delayMinutes;
    return document;
  });
  state.update("origins", origin, ({ departures } = { departures: 0 }) => ({ departures: departures + 1 }));
  const departedAtUs = event.timeUs;
  state.put("airborne", flightOf(event), { aircraft: event.stream, flight, carrier, origin, dest, departedAtUs });
}

function arrived(event, state) {
  const { dest, airMinutes, miles } = event.data;
  count(event, state, (aircraft) => {
    aircraft.arrived += 1;
    // Not known of every flight.
    aircraft.airMinutes += airMinutes ?? 0;
    aircraft.miles += miles;
  });
  state.remove("airborne", flightOf(event));
  state.update("destinations", dest, ({ arrivals } = { arrivals: 0 }) => ({ arrivals: arrivals + 1 }));
}

function cancelled(event, state) {
  count(event, state, (aircraft) => (aircraft.cancelled += 1));
  state.update("carriers", event.data.carrier, (document = newCarrier()) => {
    document.cancelled += 1;
    return document;
  });
}

/** Counts the event among all, and by its aircraft as `change` says. */
function count(event, state, change) {
  let firstOfAircraft = false;
  state.update("aircraft", event.stream, (aircraft) => {
    firstOfAircraft = aircraft === undefined;
    aircraft ??= { departed: 0, arrived: 0, cancelled: 0, airMinutes: 0, miles: 0 };
    change(aircraft);
    return aircraft;
  });
  state.update("totals", ALL, (totals = newTotals()) => {
    totals.events += 1;
    if (firstOfAircraft) totals.streams += 1;
    totals.byType[event.type] += 1;
    return totals;
  });
}

const flightOf = (event) => event.key ?? event.stream;
const newCarrier = () => ({ departures: 0, departureDelayMinutes: 0, cancelled: 0 });
const newTotals = () => ({
  events: 0,
  streams: 0,
  byType: { "flight.departed": 0, "flight.arrived": 0, "flight.cancelled": 0 },
});
