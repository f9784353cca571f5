//! A handler in the native harness: what it may rely on.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;
use wasmill_guest::testing::{HandlerHarness, TestEvent};
use wasmill_guest::{
    AnyEvent, Collection, Context, Descriptor, Failure, Handler, NewEvent, Outbox, Setting, State, config, env,
};

const SEEN: Collection<u64> = Collection::new("seen").indexed(&["count", "at.day"]);

struct Echo;

impl Handler for Echo {
    type Event = AnyEvent;

    fn descriptor() -> Descriptor {
        Descriptor::new("echo", "1.0.0")
            .collection(&SEEN)
            .by_key()
            .setting(Setting::new("suffix").describe("What comes behind").default("!"))
            .setting(Setting::new("region").required())
            .appends_to("echo-*")
            .appends_to("copies")
    }

    fn handle(_: AnyEvent, context: &Context, state: &mut State, outbox: &mut Outbox) -> Result<(), Failure> {
        state.update(&SEEN, context.event_type(), |seen| *seen += 1)?;
        let event_type = format!("{}{}", context.event_type(), config::get("suffix").unwrap_or_default());
        for stream in ["echo-1", "copies", "echo-1"] {
            let event = NewEvent::new(&event_type, &json!({ "at": env::now_us(), "random": env::random(2).len() }))?;
            outbox.append(stream, event.key("k").schema_version(2).tag("a").header("x", "1").workflow_id("w"));
        }
        match context.event_type() {
            "refused" => Err(Failure::reject("refused", "told to")),
            "trespass" => {
                outbox.append("elsewhere", NewEvent::from_bytes("t", "text/plain", vec![0xff]));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn event(event_type: &str) -> TestEvent {
    TestEvent::new(event_type, &json!({}))
}

#[test]
fn what_is_emitted_comes_in_order_with_its_cause() {
    let mut echo = HandlerHarness::<Echo>::new();
    echo.set_now_us(5);
    echo.handle([event("a"), event("b")]).unwrap();
    let emitted = echo.emitted().iter();
    let found: Vec<_> = emitted.map(|e| (e.cause, e.stream.as_str(), e.event.event_type.as_str())).collect();
    let expected = [(0, "a!"), (1, "b!")]
        .map(|(cause, event_type)| ["echo-1", "copies", "echo-1"].map(|stream| (cause, stream, event_type)));
    assert_eq!(found, expected.concat());
    let event = &echo.emitted()[0].event;
    assert_eq!(event.data, br#"{"at":5,"random":2}"#);
    assert_eq!((event.key.as_deref(), event.schema_version), (Some("k"), 2));
    let attributes = [("tag", "a"), ("header.x", "1"), ("workflow-id", "w")];
    assert_eq!(event.attributes, attributes.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_batch_that_fails_has_neither_changed_nor_emitted_anything() {
    let mut echo = HandlerHarness::<Echo>::new().batches_of(2);
    let failure = echo.handle([event("a"), event("b"), event("c"), event("refused")]).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.event_index), ("refused", Some(1)));
    assert_eq!(echo.emitted().len(), 6);
    assert_eq!(echo.scan(&SEEN, ""), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}

#[test]
#[should_panic(expected = "no capability in the plugin's descriptor allows appending to `elsewhere`")]
fn a_stream_that_was_not_asked_for_ends_the_test() {
    let _ = HandlerHarness::<Echo>::new().handle([event("trespass")]);
}

#[test]
fn a_setting_that_is_set_is_not_its_default() {
    let mut echo = HandlerHarness::<Echo>::new().config("suffix", "?");
    echo.handle([event("a")]).unwrap();
    assert_eq!(echo.emitted()[0].event.event_type, "a?");
}

#[test]
fn the_descriptor_says_all_of_it() {
    let descriptor: serde_json::Value = serde_json::from_str(&HandlerHarness::<Echo>::new().descriptor_json()).unwrap();
    let expected = json!({
        "name": "echo",
        "version": "1.0.0",
        "kind": "handler",
        "collections": [{ "name": "seen", "indexes": [{ "field": "count" }, { "field": "at.day" }] }],
        "byKey": true,
        "config": [
            { "name": "suffix", "description": "What comes behind", "default": "!" },
            { "name": "region", "required": true },
        ],
        "capabilities": ["append:echo-*", "append:copies"],
    });
    assert_eq!(descriptor, expected);
}
