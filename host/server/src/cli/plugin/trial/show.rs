//! What came of a trial, as it is shown.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::value::RawValue;
use wasmill_core::event::NewEvent;
use wasmill_core::guest::GuestError;
use wasmill_core::plugin::trial::{Failed, Output, OutputKind, Trial};

use super::Events;
use crate::cli::table::count;

/// What is shown of a value in a line of text.
const TEXT_CHARS_MAX: usize = 200;

/// Which plugin it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub name: String,
    pub version: String,
    pub kind: &'static str,
    pub sha256: String,
}

impl Identity {
    pub(crate) fn of(trial: &Trial) -> Self {
        let descriptor = &trial.descriptor;
        Self {
            name: descriptor.name.clone(),
            version: descriptor.version.clone(),
            kind: descriptor.kind.as_str(),
            sha256: trial.module.sha256().to_owned(),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { name, version, kind, sha256 } = self;
        format!("{kind} {name} {version} (sha256 {})", sha256.get(..12).unwrap_or(sha256))
    }
}

/// Bytes that are JSON where they can be: as JSON, and else as base64.
pub(crate) fn value(bytes: &[u8]) -> Box<RawValue> {
    let json: Option<Box<RawValue>> = serde_json::from_slice(bytes).ok();
    json.unwrap_or_else(|| {
        let text = serde_json::to_string(&BASE64.encode(bytes)).unwrap_or_default();
        RawValue::from_string(text).expect("a string is JSON")
    })
}

/// The beginning of a value, in one line.
fn line(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("({} bytes)", bytes.len()) };
    let mut line: String = text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line
}

#[derive(Debug, Serialize)]
pub(crate) struct DocumentShown {
    pub collection: String,
    pub key: String,
    pub value: Box<RawValue>,
}

impl DocumentShown {
    pub(crate) fn to_text(&self) -> String {
        format!("{}/{}  {}", self.collection, self.key, line(self.value.get().as_bytes()))
    }
}

/// An event that a handler has emitted or an upcaster has lifted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputShown {
    /// The event that it answers, or that it is.
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    /// In how many steps it was lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<usize>,
    data: Box<RawValue>,
}

impl OutputShown {
    pub(crate) fn of(output: &Output, events: &Events) -> Self {
        let event = events.name(output.event);
        match &output.what {
            OutputKind::Emitted { stream, event: emitted } => {
                let NewEvent { event_type, schema_version, key, tags, content_type, data, origin, .. } = &**emitted;
                Self {
                    event,
                    stream: Some(stream.clone()),
                    event_type: event_type.clone(),
                    schema_version: (*schema_version).max(1),
                    key: key.clone(),
                    tags: tags.clone(),
                    content_type: content_type.clone(),
                    correlation_id: origin.correlation_id.clone(),
                    steps: None,
                    data: value(data),
                }
            }
            OutputKind::Lifted { event_type, schema_version, data, steps } => Self {
                event,
                stream: None,
                event_type: event_type.clone(),
                schema_version: *schema_version,
                key: None,
                tags: Vec::new(),
                content_type: None,
                correlation_id: None,
                steps: Some(*steps),
                data: value(data),
            },
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { event, stream, event_type, schema_version, key, data, .. } = self;
        let mut text = format!("{event}: ");
        if let Some(stream) = stream {
            let _ = write!(text, "{stream}  ");
        }
        let _ = write!(text, "{event_type} v{schema_version}  ");
        if let Some(key) = key {
            let _ = write!(text, "key {key}  ");
        }
        text + &line(data.get().as_bytes())
    }
}

/// An event that the plugin could not do anything with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailedShown {
    event: String,
    stream: String,
    offset: u64,
    #[serde(rename = "type")]
    event_type: String,
    /// `failed` in the plugin's own words; else how its call was ended.
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disposition: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    message: String,
    attempts: u32,
}

impl FailedShown {
    pub(crate) fn of(failed: &Failed, events: &Events) -> Self {
        let event = &events.events[failed.event];
        let own = match &failed.error {
            GuestError::Failed(failure) => Some(failure),
            _ => None,
        };
        Self {
            event: events.name(failed.event),
            stream: event.stream().to_owned(),
            offset: event.offset().0,
            event_type: event.event_type().to_owned(),
            reason: failed.error.reason(),
            disposition: own.map(|failure| failure.disposition.as_str()),
            code: own.map(|failure| failure.code.clone()),
            message: own.map_or_else(|| failed.error.to_string(), |failure| failure.message.clone()),
            attempts: failed.attempts,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let Self { event, stream, offset, event_type, disposition, code, message, attempts, .. } = self;
        let mut text = format!("{event}, {stream}/{offset} {event_type}: ");
        match (disposition, code) {
            (Some(disposition), Some(code)) => {
                let _ = write!(text, "{disposition} {code}: {message}");
            }
            _ => text.push_str(message),
        }
        if *attempts > 1 {
            let _ = write!(text, " ({})", count(u64::from(*attempts), "attempt"));
        }
        text
    }
}

/// `1 event`, `2 events`, of a count of things in memory.
pub(crate) trait Plural {
    fn of(self, what: &str) -> String;
}

impl Plural for usize {
    fn of(self, what: &str) -> String {
        count(self as u64, what)
    }
}
