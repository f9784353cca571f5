use serde::Deserialize;

use crate::{Event, EventId, Failure, host, json};

/// What is known of the event at hand beside its data.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    event: &'a Event,
    index: u32,
}

impl<'a> Context<'a> {
    pub(crate) fn new(event: &'a Event, index: u32) -> Self {
        Self { event, index }
    }

    /// Place in the whole log, from 0.
    pub fn position(&self) -> u64 {
        self.event.position
    }

    /// Place in its stream, from 0.
    pub fn offset(&self) -> u64 {
        self.event.offset
    }

    /// When the event happened, in microseconds since the Unix epoch: a projection's only clock.
    pub fn time_us(&self) -> u64 {
        self.event.time_us
    }

    pub fn id(&self) -> EventId {
        let (high, low) = self.event.id;
        EventId { high, low }
    }

    /// The version of the event's schema, after upcasting.
    pub fn schema_version(&self) -> u32 {
        self.event.schema_version
    }

    pub fn event_type(&self) -> &'a str {
        &self.event.event_type
    }

    pub fn stream(&self) -> &'a str {
        &self.event.stream_name
    }

    /// The ordering key: events of one key are never reordered.
    pub fn key(&self) -> Option<&'a str> {
        self.event.key.as_deref()
    }

    pub fn correlation_id(&self) -> Option<&'a str> {
        self.event.correlation_id.as_deref()
    }

    /// The event's data as it was published.
    pub fn data(&self) -> &'a [u8] {
        &self.event.data
    }

    /// Decodes the data as JSON. The result may borrow from the event.
    ///
    /// # Errors
    /// Rejects the event, as `event.malformed`, when its data is not of this shape.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T, Failure> {
        json::from_bytes(self.data()).map_err(|error| self.malformed(&error))
    }

    /// The rest of the event: when it was recorded, content type, causation id, trace, tags, headers.
    /// Each call asks the host, since few plugins need any of it.
    pub fn details(&self) -> Vec<(String, String)> {
        host::event_details(self.index)
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn malformed(&self, error: &serde_json::Error) -> Failure {
        Failure::reject("event.malformed", format!("{}: {error}", self.event_type())).at(self.index)
    }
}
