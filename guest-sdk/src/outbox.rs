//! What a handler emits.

use std::mem;

use serde::Serialize;

use crate::{Failure, host};

/// An event to be appended. Its id, and what it passes on of its cause (causation, correlation and
/// workflow ids), are the host's to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub event_type: String,
    pub schema_version: u32,
    /// Events of one key are never reordered. Without one, those of its stream are not.
    pub key: Option<String>,
    pub data: Vec<u8>,
    /// What else there is of it, by the names of the contract.
    pub attributes: Vec<(String, String)>,
}

/// Takes what [`Handler::handle`](crate::Handler::handle) emits for the event at hand. It is appended in
/// this order, with the handler's documents and position, or not at all.
#[derive(Debug)]
pub struct Outbox<'a> {
    emitted: &'a mut Emitted,
    cause: u32,
}

/// What a batch emits. It stays here until the batch ends: a call of the host costs more than an event.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    appends: Vec<Append>,
}

/// Events of one cause to one stream that follow each other.
#[derive(Debug)]
struct Append {
    cause: u32,
    stream: String,
    events: Vec<NewEvent>,
}

impl NewEvent {
    /// An event of schema version 1 whose data is `data` as JSON.
    ///
    /// # Errors
    /// `event.unwritable` (halt) when it cannot be written as JSON, e.g. a map whose keys are not
    /// strings.
    pub fn new(event_type: impl Into<String>, data: &impl Serialize) -> Result<Self, Failure> {
        let event_type = event_type.into();
        match serde_json::to_vec(data) {
            Ok(data) => Ok(Self::of_json(event_type, data)),
            Err(error) => Err(Failure::halt("event.unwritable", format!("{event_type}: {error}"))),
        }
    }

    /// An event whose data is of another content type than JSON.
    pub fn from_bytes(event_type: impl Into<String>, content_type: &str, data: Vec<u8>) -> Self {
        Self::of_json(event_type.into(), data).attribute("content-type", content_type)
    }

    fn of_json(event_type: String, data: Vec<u8>) -> Self {
        Self { event_type, schema_version: 1, key: None, data, attributes: Vec::new() }
    }

    #[must_use]
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a tag. At most 32.
    #[must_use]
    pub fn tag(self, tag: impl Into<String>) -> Self {
        self.attribute("tag", tag)
    }

    #[must_use]
    pub fn header(self, name: &str, value: impl Into<String>) -> Self {
        self.attribute(&format!("header.{name}"), value)
    }

    /// Another workflow than that of its cause.
    #[must_use]
    pub fn workflow_id(self, id: impl Into<String>) -> Self {
        self.attribute("workflow-id", id)
    }

    /// Another correlation than that of its cause.
    #[must_use]
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.attribute("correlation-id", id)
    }

    /// Where it stands in a trace, as W3C writes it.
    #[must_use]
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        self.attribute("traceparent", traceparent)
    }

    fn attribute(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push((name.to_owned(), value.into()));
        self
    }
}

impl Outbox<'_> {
    /// Appends `event` to `stream`, which has to match a pattern of
    /// [`Descriptor::appends_to`](crate::Descriptor::appends_to) that was granted: the host ends the call
    /// otherwise. The event at hand is its cause.
    pub fn append(&mut self, stream: &str, event: NewEvent) {
        let cause = self.cause;
        match self.emitted.appends.last_mut() {
            Some(last) if last.cause == cause && last.stream == stream => last.events.push(event),
            _ => self.emitted.appends.push(Append { cause, stream: stream.to_owned(), events: vec![event] }),
        }
    }
}

impl Emitted {
    pub(crate) fn caused_by(&mut self, cause: u32) -> Outbox<'_> {
        Outbox { emitted: self, cause }
    }

    /// Hands everything to the host.
    pub(crate) fn write(&mut self) {
        for Append { cause, stream, events } in mem::take(&mut self.appends) {
            host::append(cause, stream, events);
        }
    }
}
