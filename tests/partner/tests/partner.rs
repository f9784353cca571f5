//! What sagas and their tests may rely on.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use serde_json::{Value, json};
use wasmill_test_partner::{Balance, Fault, Kind, Moment, Operation, Partner};

async fn post(partner: &Partner, what: &str, key: &str, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}/{what}", partner.url())).header("idempotency-key", key);
    let answer = request.json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn order(id: &str) -> Value {
    json!({ "orderId": id, "items": ["a", "b"], "amount": 250 })
}

#[tokio::test]
async fn an_order_that_is_shipped_leaves_nothing_open() {
    let partner = Partner::start(None).await.unwrap();
    assert_eq!(post(&partner, "reserve", "1", order("o")).await.0, 201);
    assert_eq!(post(&partner, "ship", "2", order("o")).await.0, 409, "nothing is held yet");
    assert_eq!(post(&partner, "authorize", "3", order("o")).await.0, 201);
    assert_eq!(partner.ledger().balance(), Balance { items: 2, amount: 250, shipped_orders: 0 });
    assert_eq!(post(&partner, "ship", "4", order("o")).await.0, 201);
    assert_eq!(partner.ledger().balance(), Balance { items: 0, amount: 0, shipped_orders: 1 });
}

#[tokio::test]
async fn one_key_has_one_effect_and_one_answer() {
    let partner = Partner::start(None).await.unwrap();
    let first = post(&partner, "reserve", "1", order("o")).await;
    assert_eq!(post(&partner, "reserve", "1", order("o")).await, first);
    assert_eq!(post(&partner, "reserve", "2", order("o")).await.0, 409);
    let declined = json!({ "orderId": "p", "simulatePaymentFailure": true });
    assert_eq!(post(&partner, "authorize", "3", declined.clone()).await.0, 402);
    assert_eq!(post(&partner, "authorize", "3", declined).await.0, 402);
    assert_eq!(partner.ledger().standing("o").reserved.done, 1);
    assert_eq!((partner.asked(Operation::Reserve), partner.ledger().entries().len()), (3, 3));
}

#[tokio::test]
async fn what_was_undone_first_is_never_done() {
    let partner = Partner::start(None).await.unwrap();
    assert_eq!(
        post(&partner, "release", "1", order("o")).await,
        (200, json!({ "reference": "release-o", "effect": false }))
    );
    assert_eq!(post(&partner, "reserve", "2", order("o")).await.0, 409);
    assert_eq!(partner.ledger().balance(), Balance::default());
}

#[tokio::test]
async fn its_ledger_outlives_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let partner = Partner::start(Some(&path)).await.unwrap();
    post(&partner, "reserve", "1", order("o")).await;
    let entries = partner.ledger().entries();
    drop(partner);
    // Killed in the middle of a line.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"operation\":");
    std::fs::write(&path, bytes).unwrap();
    let partner = Partner::start(Some(&path)).await.unwrap();
    assert_eq!(partner.ledger().entries(), entries);
    assert_eq!(post(&partner, "reserve", "1", order("o")).await.0, 201);
    assert_eq!(post(&partner, "release", "2", order("o")).await.0, 200);
    drop(partner);
    assert_eq!(Partner::start(Some(&path)).await.unwrap().ledger().entries().len(), 2);
}

#[tokio::test]
async fn it_misbehaves_as_it_is_told() {
    let partner = Partner::start(None).await.unwrap();
    let fault = |moment, kind, times| Fault { operation: Operation::Reserve, order_id: None, moment, kind, times };
    partner.tell(fault(Moment::BeforeEffect, Kind::Status { status: 503 }, Some(1)));
    partner.tell(fault(Moment::AfterEffect, Kind::Status { status: 500 }, Some(1)));
    assert_eq!(post(&partner, "reserve", "1", order("o")).await.0, 503);
    assert_eq!(partner.ledger().standing("o").reserved.done, 0);
    assert_eq!(post(&partner, "reserve", "1", order("o")).await.0, 500);
    assert_eq!(partner.ledger().standing("o").reserved.done, 1);
    assert_eq!(post(&partner, "reserve", "1", order("o")).await.0, 201);
    let told = json!({ "operation": "reserve", "moment": "afterEffect", "kind": "hangUp", "orderId": "p" });
    let fault = reqwest::Client::new().put(format!("{}/fault", partner.url())).json(&told).send().await.unwrap();
    assert_eq!(fault.status(), 200);
    let url = format!("{}/reserve", partner.url());
    let request = reqwest::Client::new().post(url).header("idempotency-key", "2").json(&order("p"));
    assert!(request.send().await.is_err());
    assert_eq!(partner.ledger().standing("p").reserved.done, 1);
}
