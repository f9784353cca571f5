//! Sagas over the real binary, with a partner whose ledger tells what was really done.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wasmill_server::proto::NewEvent;
use wasmill_test_partner::{Fault, Kind, Moment, Operation, Partner, Standing, Tally};

use crate::support::host::PATIENCE;
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

/// The partner is on this machine, which sagas reach only when an operator says so.
const PRIVATE: [&str; 2] = ["--private-host", "127.0.0.1"];

pub async fn host() -> TestHost {
    TestHost::start_with(Arc::new(tempfile::tempdir().expect("a temporary folder")), &PRIVATE).await
}

async fn deploy(host: &TestHost, partner: &Partner) {
    deploy_component(host, partner, std::fs::read(flights::guest("order-fulfillment")).expect("the guest is built"))
        .await;
}

pub async fn deploy_component(host: &TestHost, partner: &Partner, component: Vec<u8>) {
    let path = format!("/api/plugins?grantAll=true&set=partner={}", partner.url());
    let (status, deployed) = host.post(&path, "application/wasm", component).await;
    assert_eq!(status, 201, "{deployed}");
}

pub fn order(id: &str, fails: bool) -> Value {
    json!({ "orderId": id, "items": [{ "sku": "a", "quantity": 2 }], "amount": 100, "simulatePaymentFailure": fails })
}

pub async fn start(host: &TestHost, id: &str, fails: bool) -> String {
    let path = format!("/api/sagas/order-fulfillment/start?correlationId={id}");
    let (status, started) = host.post(&path, "application/json", order(id, fails).to_string()).await;
    assert!(status == 201 || status == 200, "{status} {started}");
    assert_eq!(started["correlationId"], id);
    started["sagaId"].as_str().expect("an id").to_owned()
}

/// Its status when it has ended, or waits for a person.
pub async fn end(host: &TestHost, saga: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let (code, status) = host.get(&format!("/api/sagas/{saga}/status?waitMs=5000")).await;
        assert_eq!(code, 200, "{status}");
        if matches!(status["activity"].as_str(), Some("ended" | "paused")) {
            return status;
        }
        assert!(Instant::now() < until, "it ends: {status}");
    }
}

async fn timeline(host: &TestHost, saga: &str) -> String {
    let (code, timeline) = host.get(&format!("/api/sagas/{saga}/timeline")).await;
    assert_eq!(code, 200, "{timeline}");
    timeline.to_string()
}

fn once(standing: &Standing) -> bool {
    let once = |tally: &Tally| tally.done <= 1 && tally.undone <= 1;
    [&standing.reserved, &standing.authorized, &standing.shipped].into_iter().all(once)
}

fn assert_balanced(partner: &Partner) {
    let balance = partner.ledger().balance();
    assert_eq!((balance.items, balance.amount), (0, 0), "{balance:?}");
}

#[tokio::test]
async fn an_order_is_fulfilled_or_undone() {
    let partner = Partner::start(None).await.expect("the partner starts");
    let host = host().await;
    deploy(&host, &partner).await;
    let saga = start(&host, "o-1", false).await;
    let status = end(&host, &saga).await;
    assert_eq!((&status["state"], &status["progress"]), (&json!("completed"), &json!("3/3")), "{status}");
    assert_eq!((&status["sagaId"], &status["totalSteps"]), (&json!(saga), &json!(3)));
    assert_eq!(partner.ledger().standing("o-1").shipped.done, 1);
    assert_eq!(start(&host, "o-1", false).await, saga, "it is started once");
    let failed = start(&host, "o-2", true).await;
    let status = end(&host, &failed).await;
    assert_eq!(status["state"], "compensated", "{status}");
    assert!(status.to_string().contains("payment.declined"), "{status}");
    let standing = partner.ledger().standing("o-2");
    assert_eq!((standing.reserved.done, standing.reserved.undone, standing.authorized.done), (1, 1, 0));
    let told = timeline(&host, &failed).await;
    for what in ["reserve-inventory", "authorize-payment", "payment.declined", "/release", "402"] {
        assert!(told.contains(what), "{what}: {told}");
    }
    assert_balanced(&partner);
}

#[tokio::test]
async fn a_partner_that_misbehaves_ends_a_saga_as_declared() {
    let partner = Partner::start(None).await.expect("the partner starts");
    let host = host().await;
    deploy(&host, &partner).await;
    let faults = [
        ("hangs", Kind::Hang, "timeout"),
        ("floods", Kind::Answer { bytes: 100_000_000 }, "http.too-large"),
        ("redirects", Kind::Redirect { to: "http://other.example/ship".into() }, "http.refused"),
        ("hangs-up", Kind::HangUp, "http.broken"),
        ("fails", Kind::Status { status: 500 }, "http.500"),
    ];
    let mut sagas = Vec::new();
    for (id, kind, cause) in faults {
        let order_id = Some(id.to_owned());
        let times = None;
        partner.tell(Fault { operation: Operation::Ship, order_id, moment: Moment::AfterEffect, kind, times });
        sagas.push((id, start(&host, id, false).await, cause));
    }
    for (id, saga, cause) in sagas {
        let status = end(&host, &saga).await;
        assert_eq!(status["state"], "compensated", "{id}: {status}");
        let told = timeline(&host, &saga).await;
        assert!(told.contains(cause), "{id}: {cause} stands on the timeline: {told}");
        let standing = partner.ledger().standing(id);
        assert!(once(&standing) && standing.reserved.undone == 1, "{id}: {standing:?}");
    }
    assert_balanced(&partner);
}

#[tokio::test]
async fn a_private_address_is_reached_only_by_leave_of_an_operator() {
    let partner = Partner::start(None).await.expect("the partner starts");
    // The second is a name, whose address is looked at.
    for target in [partner.url(), partner.url().replace("127.0.0.1", "localhost")] {
        let host = TestHost::start().await;
        let component = std::fs::read(flights::guest("order-fulfillment")).expect("the guest is built");
        let path = format!("/api/plugins?grantAll=true&set=partner={target}");
        let (status, deployed) = host.post(&path, "application/wasm", component).await;
        assert_eq!(status, 201, "{deployed}");
        let saga = start(&host, "o-1", false).await;
        let status = end(&host, &saga).await;
        assert_ne!(status["state"], "completed", "{status}");
        let told = timeline(&host, &saga).await;
        assert!(told.contains("http.refused") && told.contains("127.0.0.1"), "{told}");
    }
    assert_eq!(partner.asked(Operation::Reserve), 0);
}

#[tokio::test]
async fn a_step_that_loops_is_given_up_and_undone() {
    let host = host().await;
    let component = std::fs::read(flights::guest("test-saga")).expect("the guest is built");
    let (status, deployed) = host.post("/api/plugins?grantAll=true", "application/wasm", component).await;
    assert_eq!(status, 201, "{deployed}");
    let path = "/api/sagas/test-saga/start?correlationId=l-1";
    let (status, started) = host.post(path, "application/json", r#"{ "two": ["loop"] }"#).await;
    assert_eq!(status, 201, "{started}");
    let saga = started["sagaId"].as_str().expect("an id");
    let status = end(&host, saga).await;
    assert_eq!(
        (&status["state"], &status["cause"]["code"]),
        (&json!("compensated"), &json!("attempt.busy")),
        "{status}"
    );
    let told = timeline(&host, saga).await;
    assert!(told.contains("the plugin used more than its 1000 ms for one call"), "{told}");
}

#[tokio::test]
async fn kill_9_loses_and_doubles_no_effect_of_sagas() {
    let mut rng = Rng::printed("kill_9_loses_and_doubles_no_effect_of_sagas");
    let (kills, count) = if long() { (40, 1_000) } else { (4, 120) };
    let partner = Partner::start(None).await.expect("the partner starts");
    let mut host = host().await;
    deploy(&host, &partner).await;
    let mut sagas: HashMap<String, String> = HashMap::new();
    let mut started = 0;
    for kill in 0..=kills {
        let until = count * (kill + 1) / (kills + 1);
        while started < until {
            let id = format!("o-{started}");
            sagas.insert(id.clone(), start(&host, &id, started % 3 == 1).await);
            started += 1;
        }
        if kill < kills {
            // Somewhere in the work of the last ones.
            let target = partner.asked(Operation::Reserve) + rng.below(10);
            let waited = Instant::now();
            while partner.asked(Operation::Reserve) < target && waited.elapsed() < Duration::from_millis(200) {
                tokio::task::yield_now().await;
            }
            let dir = host.kill().await;
            host = TestHost::start_with(dir, &PRIVATE).await;
        }
    }
    for n in 0..count {
        let id = format!("o-{n}");
        let status = end(&host, &sagas[&id]).await;
        let expected = if n % 3 == 1 { "compensated" } else { "completed" };
        assert_eq!(status["state"], expected, "{id}: {status}");
        let standing = partner.ledger().standing(&id);
        assert!(once(&standing), "{id}: {standing:?}");
        let shipped = u32::from(n % 3 != 1);
        assert_eq!((standing.shipped.done, standing.reserved.undone), (shipped, 1 - shipped), "{id}: {standing:?}");
    }
    assert_balanced(&partner);
}

#[tokio::test]
async fn overdue_flights_are_those_that_depart_and_never_arrive() {
    let mut rng = Rng::printed("overdue_flights_are_those_that_depart_and_never_arrive");
    let mut host = TestHost::start().await;
    let component = std::fs::read(flights::guest("overdue-flights")).expect("the guest is built");
    let (status, deployed) = host.post("/api/plugins?grantAll=true", "application/wasm", component).await;
    assert_eq!(status, 201, "{deployed}");
    let events = flights::events();
    let keys = |wanted: &str| -> BTreeSet<String> {
        let of = |(_, event): &(String, NewEvent)| (event.r#type == wanted).then(|| event.key.clone()).flatten();
        events.iter().filter_map(of).collect()
    };
    // A plain left join of the file.
    let missing: BTreeSet<String> = keys("flight.departed").difference(&keys("flight.arrived")).cloned().collect();
    assert_eq!(missing.len(), 15);
    assert_eq!(flights::publish(&host, &events).await.expect("the host is there"), events.len());
    // Behind the last flight, nothing is in the air any more.
    let late = json!([{ "type": "month.over", "data": {}, "time": "2013-02-03T00:00:00Z" }]);
    host.publish("aircraft-none", &late).await;
    // It is killed while it drives them.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100 + rng.below(1_000))).await;
        let dir = host.kill().await;
        host = TestHost::start_in(dir).await;
    }
    let (until, mut pace) = (Instant::now() + PATIENCE * 3, tokio::time::interval(Duration::from_millis(100)));
    let overdue = loop {
        pace.tick().await;
        let (code, page) = host.get("/api/event-streams/overdue-flights/events?limit=1000").await;
        let (_, open) = host.get("/api/sagas?state=running&limit=1").await;
        let rests = open["sagas"].as_array().is_some_and(Vec::is_empty);
        if code == 200 && rests && page["events"].as_array().map_or(0, Vec::len) >= missing.len() {
            break page["events"].as_array().expect("events").clone();
        }
        assert!(Instant::now() < until, "all flights end: {page} {open}");
    };
    let found: BTreeSet<String> =
        overdue.iter().map(|event| event["key"].as_str().expect("a key").to_owned()).collect();
    assert_eq!(overdue.len(), found.len(), "none is told twice");
    assert_eq!(found, missing);
}
