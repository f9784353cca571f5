//! What the demo brings along: a plugin, and a month of real events.

use crate::cli::publish::Source;

/// The projection of `plugins/flights`, as a component.
pub(crate) const FLIGHTS_PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flights.wasm"));

/// Flights out of New York in January 2013, as gzipped JSON Lines (see `examples/flights`).
const FLIGHTS: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/flights-2013-01.jsonl.gz"));

/// The month, so many times over.
pub(crate) fn flights(times: usize) -> Source {
    Source::embedded("flights-2013-01.jsonl.gz", FLIGHTS, times)
}

/// Airlines by the codes that the flights carry.
pub(crate) fn carrier_name(code: &str) -> Option<&'static str> {
    Some(match code {
        "9E" => "Endeavor Air",
        "AA" => "American Airlines",
        "AS" => "Alaska Airlines",
        "B6" => "JetBlue Airways",
        "DL" => "Delta Air Lines",
        "EV" => "ExpressJet Airlines",
        "F9" => "Frontier Airlines",
        "FL" => "AirTran Airways",
        "HA" => "Hawaiian Airlines",
        "MQ" => "Envoy Air",
        "OO" => "SkyWest Airlines",
        "UA" => "United Air Lines",
        "US" => "US Airways",
        "VX" => "Virgin America",
        "WN" => "Southwest Airlines",
        "YV" => "Mesa Airlines",
        _ => return None,
    })
}
