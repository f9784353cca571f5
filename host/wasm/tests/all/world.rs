//! What a projection finds around it: nothing that changes, nothing that leads out.

use bytes::Bytes;
use wasmill_core::event::{NewEvent, Origin};

use crate::support::{Running, compiled, engine, event, event_of, fold, start, state_of};

const COLLECTIONS: [&str; 5] = ["counts", "echoes", "details", "probes", "bombs"];
const ID: &str = "01234567-89ab-cdef-0011-223344556677";

async fn running() -> Running {
    start(&compiled(&engine(), "test-guest").await).await.unwrap()
}

impl Running {
    async fn found(&mut self, what: &NewEvent, collection: &str) -> String {
        let (mut state, outcome) = fold(&mut *self.guest, vec![event_of(what)], state_of(&COLLECTIONS)).await;
        outcome.unwrap();
        let found = state.get(collection, ID).await.unwrap().unwrap();
        String::from_utf8(found.into()).unwrap()
    }
}

fn told(what: &str) -> NewEvent {
    NewEvent { event_type: what.into(), data: Bytes::from_static(b"{}"), ..NewEvent::default() }
}

#[tokio::test]
async fn time_and_chance_are_the_same_in_every_instance() {
    let first = running().await.found(&told("clock"), "probes").await;
    let second = running().await.found(&told("clock"), "probes").await;
    assert_eq!(first, second);
    assert!(first.contains(r#""elapsedNs":"0""#) && first.contains(r#""timeUs":"0""#), "{first}");
}

#[tokio::test]
async fn there_are_no_files_no_network_and_no_environment() {
    let found = running().await.found(&told("reach"), "probes").await;
    for name in ["file", "written", "connected", "listened", "bound", "resolved"] {
        assert!(found.contains(&format!(r#""{name}":"error: "#)), "{found}");
    }
    for name in ["environment", "arguments"] {
        assert!(found.contains(&format!(r#""{name}":0"#)), "{found}");
    }
}

#[tokio::test]
async fn the_configuration_is_the_revisions() {
    assert_eq!(running().await.found(&told("config"), "details").await, r#"{"currency":"EUR"}"#);
}

#[tokio::test]
async fn the_details_of_an_event_are_there_on_request() {
    let event = NewEvent {
        tags: vec!["blue".into()],
        headers: vec![("source".into(), "here".into())],
        origin: Origin { causation_id: Some("cause".into()), ..Origin::default() },
        ..told("details")
    };
    let found = running().await.found(&event, "details").await;
    for pair in
        [r#""recorded-at-us":"6000000""#, r#""causation-id":"cause""#, r#""tag":"blue""#, r#""header.source":"here""#]
    {
        assert!(found.contains(pair), "{found}");
    }
}

#[tokio::test]
async fn a_batch_reads_its_own_writes() {
    let mut running = running().await;
    let batch = vec![event("echo", r#"{"n":1}"#), event("scan", "{}"), event("seen", "{}"), event("seen", "{}")];
    let (mut state, outcome) = fold(&mut *running.guest, batch, state_of(&COLLECTIONS)).await;
    outcome.unwrap();
    assert_eq!(state.get("echoes", ID).await.unwrap().as_deref(), Some(&br#"{"n":1}"#[..]));
    assert_eq!(state.get("details", ID).await.unwrap().as_deref(), Some(format!(r#"["{ID}"]"#).as_bytes()));
    assert_eq!(state.get("counts", "seen").await.unwrap().as_deref(), Some(&b"2"[..]));
}
