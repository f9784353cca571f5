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

/// Appends `event` to `out`, on one line.
pub(crate) fn write(out: &mut Vec<u8>, event: &Event) {
    out.push(b'{');
    number(out, "position", event.position().0);
    number(out, "offset", event.offset().0);
    text(out, "stream", event.stream());
    text(out, "id", &event.id().to_string());
    text(out, "type", event.event_type());
    number(out, "schemaVersion", event.schema_version().into());
    optional(out, "key", event.key());
    text(out, "time", &rfc3339(event.time()));
    text(out, "recordedAt", &rfc3339(event.recorded_at()));
    let (tags, headers, origin) = (event.tags(), event.headers(), event.origin());
    payload(out, event.content_type(), event.data());
    rest(out, tags, headers, &origin);
    out.push(b'}');
}

/// Appends an event that is still to be published, without its id. Published, it is the same again.
pub(crate) fn write_new(out: &mut Vec<u8>, event: &NewEvent) {
    out.push(b'{');
    text(out, "type", &event.event_type);
    number(out, "schemaVersion", event.schema_version.max(1).into());
    optional(out, "key", event.key.as_deref());
    optional(out, "time", event.time.map(rfc3339).as_deref());
    payload(out, event.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE), &event.data);
    let tags = event.tags.iter().map(String::as_str).collect();
    let headers = event.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    rest(out, tags, headers, &event.origin);
    out.push(b'}');
}

fn payload(out: &mut Vec<u8>, content_type: &str, data: &[u8]) {
    if content_type != DEFAULT_CONTENT_TYPE {
        text(out, "contentType", content_type);
    }
    if is_json(content_type, data) {
        name(out, "data");
        json(out, data);
    } else {
        text(out, "dataBase64", &BASE64.encode(data));
    }
}

fn rest(out: &mut Vec<u8>, tags: Vec<&str>, headers: Vec<(&str, &str)>, origin: &Origin) {
    if !tags.is_empty() {
        name(out, "tags");
        list(out, b"[]", tags, string);
    }
    if !headers.is_empty() {
        name(out, "headers");
        list(out, b"{}", headers, |out, (name, value)| {
            string(out, name);
            out.push(b':');
            string(out, value);
        });
    }
    optional(out, "workflowId", origin.workflow_id.as_deref());
    optional(out, "correlationId", origin.correlation_id.as_deref());
    optional(out, "causationId", origin.causation_id.as_deref());
    optional(out, "traceparent", origin.traceparent.as_deref());
}

/// Data of the default type was checked when it came in; of the types built on JSON nobody promised.
fn is_json(content_type: &str, data: &[u8]) -> bool {
    content_type == DEFAULT_CONTENT_TYPE
        || (content_type.contains("json") && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok())
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
        let prepared = PreparedEvent::encode(event, &StreamName::from_stored("s\"1"), Timestamp(9));
        let (mut run, mut events) = (BytesMut::new(), Vec::new());
        prepared.place(&mut run, Position(7), Offset(3), Timestamp(1_000_000));
        decode_run(run.freeze(), &mut events).unwrap();
        let mut out = Vec::new();
        write(&mut out, &events[0]);
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
}
