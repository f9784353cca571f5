//! The form for interpreted languages: a batch is one JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, Event};
use wasmill_core::guest::{GuestError, Lifted, Upcasted};

use super::types;

/// The array of a batch. Written by hand: it is the hot path of these guests, and an event's data is JSON
/// already.
pub(super) fn batch(events: &[Event]) -> String {
    let bytes = events.iter().map(|event| 256 + event.raw().len() * 4 / 3).sum();
    let mut out = String::with_capacity(bytes);
    out.push('[');
    for event in events {
        if out.len() > 1 {
            out.push(',');
        }
        write_event(&mut out, event);
    }
    out.push(']');
    out
}

fn write_event(out: &mut String, event: &Event) {
    use std::fmt::Write as _;
    let (position, offset, time_us) = (event.position(), event.offset(), types::time_us(event));
    let version = event.schema_version();
    // Writing to a string cannot fail.
    let _ = write!(out, r#"{{"position":{position},"offset":{offset},"timeUs":{time_us},"id":"{}""#, event.id());
    let _ = write!(out, r#","schemaVersion":{version}"#);
    text(out, "type", Some(event.event_type()));
    text(out, "stream", Some(event.stream()));
    text(out, "key", event.key());
    text(out, "correlationId", event.correlation_id());
    let json = (event.content_type() == DEFAULT_CONTENT_TYPE).then(|| std::str::from_utf8(event.data()).ok()).flatten();
    match json.filter(|json| !json.is_empty()) {
        Some(json) => {
            out.push_str(r#","data":"#);
            out.push_str(json);
        }
        None => {
            out.push_str(r#","dataBase64":""#);
            STANDARD.encode_string(event.data(), out);
            out.push('"');
        }
    }
    out.push('}');
}

fn text(out: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    let plain = value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        out.push('"');
        out.push_str(value);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(value).unwrap_or_default());
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer<'a> {
    #[serde(rename = "type")]
    event_type: Option<String>,
    schema_version: Option<u32>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    failed: Option<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    code: String,
    message: String,
}

/// What an upcaster has answered.
pub(super) fn upcasted(answer: &str) -> Result<Vec<Upcasted>, GuestError> {
    let broken = |what: String| GuestError::Contract { what: format!("`upcast` answered {what}") };
    let answers: Vec<Option<Answer<'_>>> =
        serde_json::from_str(answer).map_err(|error| broken(format!("something else than its JSON: {error}")))?;
    let one = |(i, answer): (usize, Option<Answer<'_>>)| match answer {
        None => Ok(Upcasted::Unchanged),
        Some(Answer { failed: Some(failed), .. }) => {
            Ok(Upcasted::Failed(types::rejected(&failed.code, &failed.message)))
        }
        Some(Answer {
            event_type: Some(event_type), schema_version: Some(schema_version), data: Some(data), ..
        }) => {
            let data = data.get().to_owned().into();
            Ok(Upcasted::Replaced(Lifted { event_type, schema_version, data }))
        }
        Some(_) => Err(broken(format!("no `type`, `schemaVersion` and `data`, and no `failed`, for event {i}"))),
    };
    answers.into_iter().enumerate().map(one).collect()
}
