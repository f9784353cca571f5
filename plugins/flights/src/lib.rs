//! Departures, arrivals and cancellations, folded into what happened by carrier, airport and aircraft.
//!
//! `plugins/flights-js` is the same projection in JavaScript. Both must come to the same bytes, so the
//! fields of a document stand in the same order here and there.

mod documents;
mod events;

pub use documents::{Airborne, Aircraft, ByType, Carrier, Destination, Origin, Totals};
use events::Flight;
use wasmill_guest::{Collection, Context, Descriptor, Failure, Prefetch, Projection, State, Subscription};

pub const TOTALS: Collection<Totals> =
    Collection::new("totals").describe("Under the key `all`: events, aircraft, and events by type");
pub const CARRIERS: Collection<Carrier> = Collection::new("carriers")
    .describe("By carrier: departures, the sum of their delays, cancellations")
    .indexed_by(&["departures"]);
pub const ORIGINS: Collection<Origin> = Collection::new("origins").describe("By airport: departures");
pub const DESTINATIONS: Collection<Destination> = Collection::new("destinations").describe("By airport: arrivals");
pub const AIRCRAFT: Collection<Aircraft> =
    Collection::new("aircraft").describe("By stream: what one aircraft has flown");
pub const AIRBORNE: Collection<Airborne> =
    Collection::new("airborne").describe("By flight: departed and not arrived yet").indexed_by(&["carrier"]);

/// The key of the one document in [`TOTALS`].
pub const ALL: &str = "all";

pub struct Flights;

impl Projection for Flights {
    type Event = Flight;

    fn descriptor() -> Descriptor {
        Descriptor::new("flights", env!("CARGO_PKG_VERSION"))
            .describe("What flights come to by carrier, airport and aircraft, and which are in the air")
            .subscribe(Subscription::to_streams(["aircraft-*"]).of_types(["flight.*"]))
            .collection(&TOTALS)
            .collection(&CARRIERS)
            .collection(&ORIGINS)
            .collection(&DESTINATIONS)
            .collection(&AIRCRAFT)
            .collection(&AIRBORNE)
    }

    fn documents(event: &Flight, context: &Context, prefetch: &mut Prefetch) {
        prefetch.document(&TOTALS, ALL);
        prefetch.document(&AIRCRAFT, context.stream());
        match event {
            Flight::Departed(departed) => {
                prefetch.document(&CARRIERS, &departed.carrier);
                prefetch.document(&ORIGINS, &departed.origin);
            }
            Flight::Arrived(arrived) => prefetch.document(&DESTINATIONS, &arrived.dest),
            Flight::Cancelled(cancelled) => prefetch.document(&CARRIERS, &cancelled.carrier),
        }
    }

    fn apply(event: Flight, context: &Context, state: &mut State) -> Result<(), Failure> {
        let first_of_aircraft = state.update(&AIRCRAFT, context.stream(), |aircraft| {
            let first = *aircraft == Aircraft::default();
            match &event {
                Flight::Departed(_) => aircraft.departed += 1,
                Flight::Arrived(arrived) => {
                    aircraft.arrived += 1;
                    aircraft.air_minutes += arrived.air_minutes.unwrap_or(0);
                    aircraft.miles += arrived.miles;
                }
                Flight::Cancelled(_) => aircraft.cancelled += 1,
            }
            first
        })?;
        state.update(&TOTALS, ALL, |totals| {
            totals.events += 1;
            totals.streams += u64::from(first_of_aircraft);
            *totals.by_type.of(&event) += 1;
        })?;

        let flight = context.key().unwrap_or(context.stream());
        match event {
            Flight::Departed(departed) => {
                state.update(&CARRIERS, &departed.carrier, |carrier| {
                    carrier.departures += 1;
                    carrier.departure_delay_minutes += departed.delay_minutes;
                })?;
                state.update(&ORIGINS, &departed.origin, |origin| origin.departures += 1)?;
                state.put(&AIRBORNE, flight, &departed.into_airborne(context))
            }
            Flight::Arrived(arrived) => {
                state.remove(&AIRBORNE, flight);
                state.update(&DESTINATIONS, &arrived.dest, |airport| airport.arrivals += 1)
            }
            Flight::Cancelled(cancelled) => {
                state.update(&CARRIERS, &cancelled.carrier, |carrier| carrier.cancelled += 1)
            }
        }
    }
}

wasmill_guest::export_projection!(Flights);
