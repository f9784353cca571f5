//! Flights on this machine, without a host.
#![allow(clippy::unwrap_used, reason = "tests")]

use overdue_flights::{Answer, OverdueFlights};
use serde_json::json;
use wasmill_guest::Wait;
use wasmill_guest::testing::{Rest, SagaHarness, TestEvent};

const HOUR_US: u64 = 3_600_000_000;

fn departed() -> SagaHarness<OverdueFlights> {
    let mut saga = SagaHarness::new().correlation_id("UA1545-20130101T1015-EWR");
    saga.set_now_us(HOUR_US);
    let input = json!({ "flight": "UA1545", "carrier": "UA", "origin": "EWR", "dest": "IAH", "delayMinutes": 2 });
    assert_eq!(saga.start(&input), Rest::Waiting(Wait::for_event("flight.arrived").but_until_us(13 * HOUR_US)));
    saga
}

#[test]
fn a_flight_that_arrives_is_not_overdue() {
    let mut saga = departed();
    let arrived = TestEvent::new("flight.arrived", &json!({ "dest": "IAH" }));
    assert_eq!(saga.wake(arrived), Rest::Completed);
    assert_eq!(saga.output("await-arrival"), Some(Answer { overdue: false }));
    assert!(saga.emitted().is_empty());
}

#[test]
fn a_flight_that_does_not_arrive_is_told_of() {
    let mut saga = departed();
    assert_eq!(saga.wake_at(13 * HOUR_US), Rest::Completed);
    assert_eq!(saga.output("await-arrival"), Some(Answer { overdue: true }));
    let [overdue] = saga.emitted() else { panic!("one event") };
    assert_eq!((overdue.stream.as_str(), overdue.event.event_type.as_str()), ("overdue-flights", "flight-overdue"));
    assert_eq!(overdue.event.key.as_deref(), Some("UA1545-20130101T1015-EWR"));
    assert_eq!(overdue.event.data, br#"{"dest":"IAH","flight":"UA1545"}"#);
}
