use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::time;
use crate::Event;

/// An event for a [`Harness`](super::Harness), which gives it its position and offset.
#[derive(Clone, Debug)]
pub struct TestEvent {
    pub(super) event: Event,
    pub(super) details: Vec<(String, String)>,
}

impl TestEvent {
    /// An event of the stream `test-1`, with no key and at time 0.
    ///
    /// # Panics
    /// When `data` cannot be written as JSON.
    pub fn new(event_type: impl Into<String>, data: &impl Serialize) -> Self {
        Self::from_bytes(event_type, serde_json::to_vec(data).expect("the data of a test event is written as JSON"))
    }

    /// As [`new`](Self::new), with data that need not be JSON.
    pub fn from_bytes(event_type: impl Into<String>, data: Vec<u8>) -> Self {
        let event = Event {
            position: 0,
            offset: 0,
            time_us: 0,
            id: (0, 0),
            schema_version: 1,
            event_type: event_type.into(),
            stream_name: "test-1".to_owned(),
            key: None,
            correlation_id: None,
            data,
        };
        Self { event, details: Vec::new() }
    }

    /// An event from a line as `wasmill publish` takes them:
    /// `{"stream", "type", "schemaVersion", "key", "id", "time", "correlationId", "data"}`, of which only
    /// stream and type are required; what else a line may have is read over.
    ///
    /// # Errors
    /// Says what is wrong with the line.
    pub fn from_json_line(line: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Line<'a> {
            stream: String,
            #[serde(rename = "type")]
            event_type: String,
            schema_version: Option<u32>,
            key: Option<String>,
            id: Option<String>,
            time: Option<String>,
            correlation_id: Option<String>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }
        let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let data = line.data.map_or("null", RawValue::get).as_bytes().to_vec();
        let mut event = Self::from_bytes(line.event_type, data).stream(line.stream);
        event.event.key = line.key;
        event.event.schema_version = line.schema_version.unwrap_or(1);
        event.event.correlation_id = line.correlation_id;
        if let Some(id) = line.id {
            event.event.id = parse_id(&id).ok_or_else(|| format!("`{id}` is not a UUID"))?;
        }
        if let Some(time) = line.time {
            event.event.time_us =
                time::parse(&time).ok_or_else(|| format!("`{time}` is not an RFC 3339 time in UTC"))?;
        }
        Ok(event)
    }

    #[must_use]
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.event.stream_name = name.into();
        self
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.event.key = Some(key.into());
        self
    }

    /// The two halves of its UUID. Without this the harness makes one of the position.
    #[must_use]
    pub fn id(mut self, high: u64, low: u64) -> Self {
        self.event.id = (high, low);
        self
    }

    #[must_use]
    pub fn time_us(mut self, time_us: u64) -> Self {
        self.event.time_us = time_us;
        self
    }

    #[must_use]
    pub fn schema_version(mut self, version: u32) -> Self {
        self.event.schema_version = version;
        self
    }

    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.event.correlation_id = Some(id.into());
        self
    }

    /// Adds to what [`Context::details`](crate::Context::details) returns.
    #[must_use]
    pub fn detail(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((name.into(), value.into()));
        self
    }
}

fn parse_id(text: &str) -> Option<(u64, u64)> {
    let digits: String = text.split('-').collect();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let half = |digits| u64::from_str_radix(digits, 16).ok();
    Some((half(&digits[..16])?, half(&digits[16..])?))
}
