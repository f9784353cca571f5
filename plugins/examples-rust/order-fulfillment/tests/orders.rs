//! Orders on this machine, without a host and without a partner.
#![allow(clippy::unwrap_used, reason = "tests")]

use order_fulfillment::{Done, OrderFulfillment};
use serde_json::json;
use wasmill_guest::Failure;
use wasmill_guest::http::{Error, Response};
use wasmill_guest::testing::{Rest, SagaHarness};

/// A partner that answers each path with a status, 201 unless another is said.
fn saga(statuses: &'static [(&str, u16)]) -> SagaHarness<OrderFulfillment> {
    SagaHarness::new().config("partner", "http://shop.example/v1/").answering(move |request| {
        let what = request.url.strip_prefix("http://shop.example/v1/").unwrap();
        let status = statuses.iter().find(|(path, _)| *path == what).map_or(201, |(_, status)| *status);
        let body = json!({ "reference": format!("{what}-1") }).to_string().into_bytes();
        Ok::<_, Error>(Response { status, body, ..Response::default() })
    })
}

fn order() -> serde_json::Value {
    json!({ "orderId": "o-1", "items": [{ "sku": "nuts", "quantity": 2 }], "amount": 250 })
}

fn asked(saga: &SagaHarness<OrderFulfillment>) -> Vec<&str> {
    saga.sent().iter().map(|request| request.url.rsplit('/').next().unwrap()).collect()
}

#[test]
fn an_order_is_reserved_paid_and_shipped() {
    let mut saga = saga(&[]);
    assert_eq!(saga.start(&order()), Rest::Completed);
    assert_eq!(asked(&saga), ["reserve", "authorize", "ship"]);
    assert_eq!(saga.output::<Done>("ship").unwrap().reference, "ship-1");
    let sent: serde_json::Value = serde_json::from_slice(&saga.sent()[0].body).unwrap();
    assert_eq!((&sent["orderId"], &sent["amount"]), (&json!("o-1"), &json!(250)));
}

#[test]
fn a_declined_card_releases_what_was_reserved() {
    let mut saga = saga(&[("authorize", 402)]);
    let declined = Failure::reject("payment.declined", "the card was declined");
    assert_eq!(saga.start(&order()), Rest::Compensated(declined));
    assert_eq!(asked(&saga), ["reserve", "authorize", "release"]);
}

#[test]
fn what_the_shop_cannot_do_now_it_may_do_later() {
    let mut saga = saga(&[("ship", 503)]);
    assert!(matches!(saga.start(&order()), Rest::Retrying(failure) if failure.code == "http.503"));
    assert!(matches!(saga.go_on(), Rest::Retrying(_)));
    let keys: Vec<_> = saga.sent().iter().map(|request| &request.headers.last().unwrap().1).collect();
    assert_eq!(keys[2], keys[3], "one attempt is not told from the other");
}

#[test]
fn an_order_that_is_none_is_not_asked_for() {
    let mut saga = saga(&[]);
    assert!(
        matches!(saga.start(&json!({ "amount": 1 })), Rest::Compensated(failure) if failure.code == "saga.malformed")
    );
    assert!(saga.sent().is_empty());
}
