//! `event-details`: what is rarely read of an event, and so does not come with it.

use wasmill_core::event::{DEFAULT_CONTENT_TYPE, Event};

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::event_details::{Attributes, Host};

impl Host for Sandbox {
    fn attributes_of(&mut self, index: u32) -> wasmtime::Result<Attributes> {
        let events = &self.work("event-details")?.events;
        let Some(event) = events.get(index as usize) else {
            let count = events.len();
            return Err(wasmtime::Error::msg(format!("it asked for event {index} of a batch of {count}")));
        };
        Ok(attributes(event))
    }
}

/// Names are part of the contract. What an event does not have is left out.
fn attributes(event: &Event) -> Attributes {
    let mut attributes = vec![("recorded-at-us".to_owned(), event.recorded_at().0.to_string())];
    let mut add = |name: &str, value: Option<String>| attributes.extend(value.map(|value| (name.to_owned(), value)));
    let content_type = event.content_type();
    add("content-type", (content_type != DEFAULT_CONTENT_TYPE).then(|| content_type.to_owned()));
    let origin = event.origin();
    add("causation-id", origin.causation_id);
    add("workflow-id", origin.workflow_id);
    add("traceparent", origin.traceparent);
    for tag in event.tags() {
        add("tag", Some(tag.to_owned()));
    }
    for (name, value) in event.headers() {
        add(&format!("header.{name}"), Some(value.to_owned()));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use wasmill_core::clock::Timestamp;
    use wasmill_core::event::{NewEvent, Offset, Origin, Position, PreparedEvent, decode_run};
    use wasmill_core::name::StreamName;

    use super::*;

    fn stored(event: &NewEvent) -> Event {
        let prepared = PreparedEvent::encode(event, &StreamName::from_stored("s"), Timestamp(1));
        let mut run = BytesMut::new();
        prepared.place(&mut run, Position(0), Offset(0), Timestamp(77));
        let mut events = Vec::new();
        decode_run(run.freeze(), &mut events).unwrap();
        events.remove(0)
    }

    #[test]
    fn only_what_the_event_has_is_told() {
        let plain = attributes(&stored(&NewEvent::default()));
        assert_eq!(plain, [("recorded-at-us".into(), "77".into())]);

        let full = NewEvent {
            content_type: Some("text/csv".into()),
            tags: vec!["a".into(), "b".into()],
            headers: vec![("x".into(), "1".into())],
            origin: Origin {
                workflow_id: Some("w".into()),
                correlation_id: Some("comes with the event".into()),
                causation_id: Some("c".into()),
                traceparent: Some("t".into()),
            },
            ..NewEvent::default()
        };
        let pairs = attributes(&stored(&full));
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("recorded-at-us", "77"),
            ("content-type", "text/csv"),
            ("causation-id", "c"),
            ("workflow-id", "w"),
            ("traceparent", "t"),
            ("tag", "a"),
            ("tag", "b"),
            ("header.x", "1"),
        ];
        assert_eq!(pairs, expected);
    }
}
