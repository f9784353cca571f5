//! What a handler emits: collected during a call, appended with its position and state or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::{Event, NewEvent, Origin};
use crate::limits::plugin as limits;
use crate::log::publish::Append;
use crate::name::Pattern;

/// Names under which the hashes in the ids of emitted events are made.
const NAMESPACE: Uuid = Uuid::from_u128(0x9c1f_0e7a_52d4_5b0e_8f0a_77a5_6d69_6c6c);

/// Why the host ends a call that emits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    #[error("it appends to `{stream}`, which no capability allows that it was granted (granted: {granted})")]
    NotGranted { stream: String, granted: String },
    #[error("it names event {cause} of a batch of {count} as a cause")]
    UnknownCause { cause: u32, count: usize },
    #[error("one call emits more than {} events or {} bytes", limits::OUTBOX_EVENTS_MAX, limits::OUTBOX_BYTES_MAX)]
    Full,
    #[error("an emitted event has the attribute `{name}`; there are {ATTRIBUTES}")]
    UnknownAttribute { name: String },
    /// It was not taken; the host says why.
    #[error("what it emits is refused: {why}")]
    Refused { why: String },
}

const ATTRIBUTES: &str = "content-type, tag, header.NAME, workflow-id, correlation-id and traceparent";

/// One event on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Index in the batch of the event that it answers.
    pub cause: u32,
    pub stream: String,
    /// Without id.
    pub event: NewEvent,
}

#[derive(Clone, Debug, Default)]
pub struct Outbox {
    grants: Arc<[Pattern]>,
    emitted: Vec<Emitted>,
    bytes: usize,
}

impl Outbox {
    /// An empty one for a plugin that may append to the streams that match.
    pub fn new(grants: Arc<[Pattern]>) -> Self {
        Self { grants, emitted: Vec::new(), bytes: 0 }
    }

    /// Takes an event of a batch of `count`.
    pub fn emit(&mut self, emitted: Emitted, count: usize) -> Result<(), OutboxError> {
        let Emitted { cause, stream, event } = &emitted;
        if *cause as usize >= count {
            return Err(OutboxError::UnknownCause { cause: *cause, count });
        }
        if !self.grants.iter().any(|granted| granted.matches(stream)) {
            let granted = self.grants.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ");
            return Err(OutboxError::NotGranted { stream: stream.clone(), granted });
        }
        self.bytes += event.data.len() + event.event_type.len() + stream.len() + 64;
        if self.emitted.len() >= limits::OUTBOX_EVENTS_MAX || self.bytes > limits::OUTBOX_BYTES_MAX {
            return Err(OutboxError::Full);
        }
        self.emitted.push(emitted);
        Ok(())
    }

    /// An event of the contract as the host's own.
    pub fn event(
        event_type: String,
        schema_version: u32,
        key: Option<String>,
        data: Bytes,
        attributes: Vec<(String, String)>,
    ) -> Result<NewEvent, OutboxError> {
        let mut event = NewEvent { event_type, schema_version, key, data, ..NewEvent::default() };
        for (name, value) in attributes {
            match name.as_str() {
                "content-type" => event.content_type = Some(value),
                "tag" => event.tags.push(value),
                "workflow-id" => event.origin.workflow_id = Some(value),
                "correlation-id" => event.origin.correlation_id = Some(value),
                "traceparent" => event.origin.traceparent = Some(value),
                _ => match name.strip_prefix("header.") {
                    Some(header) => event.headers.push((header.to_owned(), value)),
                    None => return Err(OutboxError::UnknownAttribute { name }),
                },
            }
        }
        Ok(event)
    }

    pub fn is_empty(&self) -> bool {
        self.emitted.is_empty()
    }

    pub fn len(&self) -> usize {
        self.emitted.len()
    }

    /// Bytes that its events occupy, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn emitted(&self) -> &[Emitted] {
        &self.emitted
    }

    /// Takes what was emitted out, as appends: one a stream, in the order of their first events. Each event
    /// has an id that follows from the plugin, its cause and its number among those of that cause, so that
    /// what is handled once more emits the same events, which are stored already.
    pub fn take(&mut self, plugin: &str, batch: &[Event]) -> Vec<Append> {
        self.take_named(|cause, number| {
            let caused_by = &batch[cause as usize];
            let text = format!("{plugin}\0{}\0{number}", caused_by.id());
            (id_of(&text, caused_by.recorded_at()), Origin::caused_by(caused_by))
        })
    }

    /// The same where `name` gives an event its id and origin, by the index of its cause and its number there.
    pub(crate) fn take_named(&mut self, name: impl Fn(u32, u32) -> (Uuid, Origin)) -> Vec<Append> {
        self.bytes = 0;
        let mut appends: Vec<Append> = Vec::new();
        let mut place: HashMap<String, usize> = HashMap::new();
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for Emitted { cause, stream, mut event } in self.emitted.drain(..) {
            let number = numbers.entry(cause).or_default();
            let (id, mut origin) = name(cause, *number);
            event.id = id;
            *number += 1;
            let causation_id = origin.causation_id.take();
            event.origin.inherit(origin);
            event.origin.causation_id = causation_id;
            let at = *place.entry(stream).or_insert_with_key(|stream| {
                appends.push(Append { stream: stream.clone(), ..Append::default() });
                appends.len() - 1
            });
            appends[at].events.push(event);
        }
        appends
    }
}

/// The id of an emitted event that is told from all others by this text: UUID version 8, the milliseconds of what has
/// caused it and then a hash. What is emitted in a row then has ids in a row, nearly, as those of publishers are: the
/// index of ids grows at its end, where ids without order would change a page of it each.
pub(crate) fn id_of(text: &str, caused_at: Timestamp) -> Uuid {
    let mut id = Uuid::new_v5(&NAMESPACE, text.as_bytes()).into_bytes();
    let ms = u64::try_from(caused_at.0 / 1_000).unwrap_or_default();
    id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    id[6] = 0x80 | (id[6] & 0x0f);
    Uuid::from_bytes(id)
}
