//! Events as readers get them in JSON. Written by hand: a page holds thousands of them, and their
//! data is JSON text already.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, Event, NewEvent, Origin};

/// RFC 3339, UTC, with as many decimals as are needed.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| format!("{} us", time.0), |time| time.to_string())
}

/// What the fields of an event are called.
pub(crate) struct Words {
    position: &'static str,
    offset: &'static str,
    stream: &'static str,
    id: &'static str,
    event_type: &'static str,
    schema_version: &'static str,
    key: &'static str,
    time: &'static str,
    recorded_at: &'static str,
    content_type: &'static str,
    data: &'static str,
    data_base64: &'static str,
    tags: &'static str,
    headers: &'static str,
    workflow_id: &'static str,
    correlation_id: &'static str,
    causation_id: &'static str,
    traceparent: &'static str,
    upcast_error: &'static str,
    /// Whether a content type, tags and headers stand there though they say nothing new.
    whole: bool,
}

/// As the HTTP face writes them.
const PLAIN: Words = Words {
    position: "position",
    offset: "offset",
    stream: "stream",
    id: "id",
    event_type: "type",
    schema_version: "schemaVersion",
    key: "key",
    time: "time",
    recorded_at: "recordedAt",
    content_type: "contentType",
    data: "data",
    data_base64: "dataBase64",
    tags: "tags",
    headers: "headers",
    workflow_id: "workflowId",
    correlation_id: "correlationId",
    causation_id: "causationId",
    traceparent: "traceparent",
    upcast_error: "upcastError",
    whole: false,
};

/// As the SignalR hub writes them.
pub(crate) static CAMEL: Words =
    Words { stream: "streamName", id: "eventId", event_type: "eventType", whole: true, ..PLAIN };

/// The same for .NET clients that map names as they stand.
pub(crate) static PASCAL: Words = Words {
    position: "Position",
    offset: "Offset",
    stream: "StreamName",
    id: "EventId",
    event_type: "EventType",
    schema_version: "SchemaVersion",
    key: "Key",
    time: "Time",
    recorded_at: "RecordedAt",
    content_type: "ContentType",
    data: "Data",
    data_base64: "DataBase64",
    tags: "Tags",
    headers: "Headers",
    workflow_id: "WorkflowId",
    correlation_id: "CorrelationId",
    causation_id: "CausationId",
    traceparent: "Traceparent",
    upcast_error: "UpcastError",
    whole: true,
};

/// Appends `event` to `out`, on one line.
pub(crate) fn write(out: &mut Vec<u8>, event: &Event) {
    write_in(&PLAIN, out, event);
}

/// The same in other words.
pub(crate) fn write_in(words: &Words, out: &mut Vec<u8>, event: &Event) {
    out.push(b'{');
    number(out, words.position, event.position().0);
    number(out, words.offset, event.offset().0);
    text(out, words.stream, event.stream());
    text(out, words.id, &event.id().to_string());
    text(out, words.event_type, event.event_type());
    number(out, words.schema_version, event.schema_version().into());
    optional(out, words.key, event.key());
    text(out, words.time, &rfc3339(event.time()));
    text(out, words.recorded_at, &rfc3339(event.recorded_at()));
    let (tags, headers, origin) = (event.tags(), event.headers(), event.origin());
    payload(words, out, event.content_type(), event.data());
    rest(words, out, tags, headers, &origin);
    optional(out, words.upcast_error, event.upcast_error());
    out.push(b'}');
}

/// Appends an event that is still to be published, without its id. Published, it is the same again.
pub(crate) fn write_new(out: &mut Vec<u8>, event: &NewEvent) {
    let words = &PLAIN;
    out.push(b'{');
    text(out, words.event_type, &event.event_type);
    number(out, words.schema_version, event.schema_version.max(1).into());
    optional(out, words.key, event.key.as_deref());
    optional(out, words.time, event.time.map(rfc3339).as_deref());
    payload(words, out, event.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE), &event.data);
    let tags = event.tags.iter().map(String::as_str).collect();
    let headers = event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    rest(words, out, tags, headers, &event.origin);
    out.push(b'}');
}

fn payload(words: &Words, out: &mut Vec<u8>, content_type: &str, data: &[u8]) {
    if words.whole || content_type != DEFAULT_CONTENT_TYPE {
        text(out, words.content_type, content_type);
    }
    if is_json(content_type, data) {
        name(out, words.data);
        json(out, data);
    } else {
        text(out, words.data_base64, &BASE64.encode(data));
    }
}

fn rest(words: &Words, out: &mut Vec<u8>, tags: Vec<&str>, headers: Vec<(&str, &str)>, origin: &Origin) {
    if words.whole || !tags.is_empty() {
        name(out, words.tags);
        list(out, b"[]", tags, string);
    }
    if words.whole || !headers.is_empty() {
        name(out, words.headers);
        list(out, b"{}", headers, |out, (name, value)| {
            string(out, name);
            out.push(b':');
            string(out, value);
        });
    }
    optional(out, words.workflow_id, origin.workflow_id.as_deref());
    optional(out, words.correlation_id, origin.correlation_id.as_deref());
    optional(out, words.causation_id, origin.causation_id.as_deref());
    optional(out, words.traceparent, origin.traceparent.as_deref());
}

/// Data of the default type was checked when it came in; of the types built on JSON nobody promised.
fn is_json(content_type: &str, data: &[u8]) -> bool {
    content_type == DEFAULT_CONTENT_TYPE
        || (content_type.contains("json")
            // A parser that ignores what it reads does not look at the encoding of texts.
            && std::str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()))
}

fn name(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, field: &str, value: u64) {
    name(out, field);
    out.extend_from_slice(value.to_string().as_bytes());
}

fn text(out: &mut Vec<u8>, field: &str, value: &str) {
    name(out, field);
    string(out, value);
}

fn optional(out: &mut Vec<u8>, field: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, field, value);
    }
}

fn string(out: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(out, value).expect("a text can always be written to memory");
}

/// A raw line break can stand in JSON only between its tokens, where a space means the same.
fn json(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn list<T>(out: &mut Vec<u8>, brackets: &[u8; 2], items: Vec<T>, mut item: impl FnMut(&mut Vec<u8>, T)) {
    out.push(brackets[0]);
    for (index, one) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(brackets[1]);
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use serde_json::{Value, json};
    use uuid::Uuid;
    use wasmill_core::event::{Offset, Position, PreparedEvent, decode_run};
    use wasmill_core::name::StreamName;

    use super::*;

    fn written(event: &NewEvent) -> String {
        written_in(&PLAIN, event)
    }

    fn written_in(words: &Words, event: &NewEvent) -> String {
        let prepared = PreparedEvent::encode(event, &StreamName::from_stored("s\"1"), Timestamp(9));
        let (mut run, mut events) = (BytesMut::new(), Vec::new());
        prepared.place(&mut run, Position(7), Offset(3), Timestamp(1_000_000));
        decode_run(run.freeze(), &mut events).unwrap();
        let mut out = Vec::new();
        write_in(words, &mut out, &events[0]);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let event = NewEvent {
            id: Uuid::from_u128(1),
            event_type: "t".into(),
            key: Some("k\n".into()),
            data: Bytes::from_static(b"{\r\n \"a\": \"\\n\"\n}"),
            tags: vec!["x".into(), "y".into()],
            headers: vec![("h".into(), "1".into()), ("i".into(), "2".into())],
            origin: Origin { correlation_id: Some("c".into()), ..Origin::default() },
            ..NewEvent::default()
        };
        let line = written(&event);
        assert!(!line.contains(['\n', '\r']), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            json!({
                "position": 7, "offset": 3, "stream": "s\"1", "id": "00000000-0000-0000-0000-000000000001", "type": "t",
                "schemaVersion": 1, "key": "k\n", "time": "1970-01-01T00:00:00.000009Z",
                "recordedAt": "1970-01-01T00:00:01Z", "data": {"a": "\n"}, "tags": ["x", "y"],
                "headers": {"h": "1", "i": "2"}, "correlationId": "c",
            })
        );
    }

    #[test]
    fn an_event_that_is_still_to_be_published_is_written_as_it_was_read() {
        let body = r#"{"type":"t","schemaVersion":2,"key":"k","time":"2026-01-01T00:00:00Z","data":{"b": 1.50},"tags":["x"],"headers":{"h":"1"},"workflowId":"w"}"#;
        let event = super::super::event_in::event(body, body, Uuid::nil(), &Default::default()).unwrap();
        let mut out = Vec::new();
        write_new(&mut out, &event);
        assert_eq!(String::from_utf8(out).unwrap(), body);
    }

    #[test]
    fn what_is_not_json_is_base64() {
        let event = NewEvent {
            event_type: "t".into(),
            content_type: Some("text/plain".into()),
            data: Bytes::from_static(b"\0\xff"),
            ..NewEvent::default()
        };
        let value: Value = serde_json::from_str(&written(&event)).unwrap();
        assert_eq!((&value["contentType"], &value["dataBase64"]), (&json!("text/plain"), &json!("AP8=")));
        assert!(value.get("data").is_none());
    }

    #[test]
    fn what_only_says_that_it_is_json_is_base64() {
        let event = NewEvent {
            event_type: "t".into(),
            content_type: Some("application/vnd.x+json".into()),
            data: Bytes::from_static(b"\"\xff\""),
            ..NewEvent::default()
        };
        let value: Value = serde_json::from_str(&written(&event)).unwrap();
        assert_eq!(value["dataBase64"], json!("Iv8i"));
    }

    #[test]
    fn other_words_are_for_the_events_own_fields_alone() {
        let event = NewEvent {
            event_type: "t".into(),
            data: Bytes::from_static(br#"{"someField":{"a":1}}"#),
            headers: vec![("traceState".into(), "x".into())],
            ..NewEvent::default()
        };
        let value: Value = serde_json::from_str(&written_in(&PASCAL, &event)).unwrap();
        assert_eq!(value["Data"], json!({"someField": {"a": 1}}));
        assert_eq!(value["Headers"], json!({"traceState": "x"}));
        assert_eq!((&value["StreamName"], &value["Tags"]), (&json!("s\"1"), &json!([])));
        assert!(value.as_object().unwrap().keys().all(|name| name.starts_with(char::is_uppercase)), "{value}");
        let value: Value = serde_json::from_str(&written_in(&CAMEL, &event)).unwrap();
        assert_eq!((&value["eventType"], &value["contentType"]), (&json!("t"), &json!("application/json")));
    }
}
