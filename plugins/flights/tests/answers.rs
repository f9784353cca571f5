//! The read model of January 2013 against the answers, which were computed from the source of the data
//! and not from these events. See `examples/flights/README.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use flights::{AIRBORNE, AIRCRAFT, ALL, CARRIERS, DESTINATIONS, Flights, ORIGINS, TOTALS};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasmill_guest::Collection;
use wasmill_guest::testing::{Harness, TestEvent};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answers {
    events: u64,
    streams: u64,
    by_type: BTreeMap<String, u64>,
    by_stream: BTreeMap<String, flights::Aircraft>,
    departures_by_carrier: BTreeMap<String, u64>,
    departure_delay_minutes_by_carrier: BTreeMap<String, i64>,
    cancelled_by_carrier: BTreeMap<String, u64>,
    departures_by_origin: BTreeMap<String, u64>,
    arrivals_by_dest: BTreeMap<String, u64>,
    departed_never_arrived: usize,
}

#[test]
fn every_figure_of_the_read_model_equals_the_answers() {
    let flights = folded_in_batches_of(256);
    let Answers {
        events,
        streams,
        by_type,
        by_stream,
        departures_by_carrier,
        departure_delay_minutes_by_carrier,
        cancelled_by_carrier,
        departures_by_origin,
        arrivals_by_dest,
        departed_never_arrived,
    } = answers();

    let totals = flights.get(&TOTALS, ALL).unwrap();
    assert_eq!((totals.events, totals.streams), (events, streams));
    let counted = [
        ("flight.departed", totals.by_type.departed),
        ("flight.arrived", totals.by_type.arrived),
        ("flight.cancelled", totals.by_type.cancelled),
    ];
    assert_eq!(BTreeMap::from(counted.map(|(name, count)| (name.to_owned(), count))), by_type);

    assert_eq!(figures(&flights, &AIRCRAFT, |aircraft| Some(aircraft.clone())), by_stream);
    // The answers leave out a carrier without departures, or without cancellations.
    let departures = figures(&flights, &CARRIERS, |carrier| positive(carrier.departures));
    assert_eq!(departures, departures_by_carrier);
    let delays = figures(&flights, &CARRIERS, |c| positive(c.departures).and(Some(c.departure_delay_minutes)));
    assert_eq!(delays, departure_delay_minutes_by_carrier);
    let cancelled = figures(&flights, &CARRIERS, |carrier| positive(carrier.cancelled));
    assert_eq!(cancelled, cancelled_by_carrier);
    assert_eq!(figures(&flights, &ORIGINS, |origin| Some(origin.departures)), departures_by_origin);
    assert_eq!(figures(&flights, &DESTINATIONS, |destination| Some(destination.arrivals)), arrivals_by_dest);
    assert_eq!(flights.scan(&AIRBORNE, "").len(), departed_never_arrived);
}

#[test]
fn the_size_of_the_batches_does_not_show_in_the_read_model() {
    let whole = folded_in_batches_of(256);
    for size in [1, 7, 1000] {
        let other = folded_in_batches_of(size);
        assert!(whole.documents().eq(other.documents()), "batches of {size} come to another read model");
    }
}

#[test]
fn an_event_that_lacks_a_field_is_rejected_by_name() {
    let mut flights = Harness::<Flights>::new();
    let good = r#"{"stream":"aircraft-N1","type":"flight.cancelled","data":{"carrier":"UA"}}"#;
    let bad = r#"{"stream":"aircraft-N1","type":"flight.departed","data":{"carrier":"UA"}}"#;
    let failure = flights.apply([good, bad].map(|line| TestEvent::from_json_line(line).unwrap())).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.event_index), ("event.malformed", Some(1)));
    assert!(failure.message.starts_with("flight.departed: missing field `flight`"), "{}", failure.message);
    assert_eq!(flights.documents().count(), 0);
}

fn folded_in_batches_of(size: usize) -> Harness<Flights> {
    let mut flights = Harness::new().batches_of(size);
    let lines = BufReader::new(example("flights-2013-01.jsonl.gz")).lines();
    flights.apply(lines.map(|line| TestEvent::from_json_line(&line.unwrap()).unwrap())).unwrap();
    flights
}

fn answers() -> Answers {
    serde_json::from_reader(example("flights-2013-01.answers.json.gz")).unwrap()
}

fn example(name: &str) -> GzDecoder<File> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "examples", "flights"].iter().collect();
    GzDecoder::new(File::open(folder.join(name)).unwrap())
}

fn figures<T: DeserializeOwned, F>(
    flights: &Harness<Flights>,
    collection: &Collection<T>,
    figure: impl Fn(&T) -> Option<F>,
) -> BTreeMap<String, F> {
    let documents = flights.scan(collection, "").into_iter();
    documents.filter_map(|(key, document)| Some((key, figure(&document)?))).collect()
}

fn positive(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}
