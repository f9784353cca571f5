//! What `plugins/README.md` says of `welcome`.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use wasmill_guest::testing::{Emitted, HandlerHarness, TestEvent};
use welcome::{GREETED, Greeted, Welcome};

fn added(data: Value) -> TestEvent {
    TestEvent::new("user.added", &data).time_us(7)
}

fn said(emitted: &[Emitted]) -> Vec<(Option<&str>, String)> {
    let said = |emitted: &Emitted| {
        assert_eq!(
            (emitted.stream.as_str(), emitted.event.event_type.as_str()),
            ("outbox-welcome", "welcome.requested")
        );
        serde_json::from_slice::<Value>(&emitted.event.data).unwrap()["text"].as_str().unwrap().to_owned()
    };
    emitted.iter().map(|emitted| (emitted.event.key.as_deref(), said(emitted))).collect()
}

#[test]
fn each_user_is_welcomed_once() {
    for batch in [1, 2, 256] {
        let mut welcome = HandlerHarness::<Welcome>::new().batches_of(batch);
        let events = [
            added(json!({ "id": "u1", "firstName": "Ada", "name": "Not this" })),
            added(json!({ "id": "u2", "firstName": "", "name": "Grace Hopper" })),
            added(json!({ "id": "u1", "firstName": "Again" })),
            added(json!({ "id": "u3", "name": ["No"] })),
        ];
        welcome.handle(events).unwrap();
        let expected = [("u1", "Welcome, Ada!"), ("u2", "Welcome, Grace Hopper!"), ("u3", "Welcome, u3!")];
        assert_eq!(said(welcome.emitted()), expected.map(|(id, text)| (Some(id), text.to_owned())));
        assert_eq!(welcome.get(&GREETED, "u3"), Some(Greeted { at_us: 7 }));
        assert_eq!(welcome.log().len(), 3);
    }
}

#[test]
fn the_greeting_is_a_setting() {
    let mut welcome = HandlerHarness::<Welcome>::new().config("greeting", "Moin");
    welcome.handle([added(json!({ "id": "u1", "name": "Ada" }))]).unwrap();
    assert_eq!(said(welcome.emitted()), [(Some("u1"), "Moin, Ada!".to_owned())]);
}

#[test]
fn a_batch_that_fails_has_emitted_nothing() {
    let mut welcome = HandlerHarness::<Welcome>::new();
    let failure = welcome.handle([added(json!({ "id": "u1" })), added(json!([]))]).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.event_index), ("user.malformed", Some(1)));
    assert!(welcome.emitted().is_empty() && welcome.documents().next().is_none());
}
