use std::collections::HashMap;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::TestEvent;
use super::host::{LogLine, Memory};
use crate::{Collection, Failure, Projection, projection};

/// What a host puts into a batch at most.
const BATCH: usize = 256;

/// Folds events with a projection, as a host does: it chooses the events that the plugin subscribes
/// to, numbers them, hands them over in batches, and keeps the documents.
///
/// What would make a host refuse the plugin or end a call panics here, with the reason.
pub struct Harness<P> {
    memory: Memory,
    batch_events_max: usize,
    next_position: u64,
    next_offsets: HashMap<String, u64>,
    projection: PhantomData<P>,
}

impl<P: Projection> Harness<P> {
    /// # Panics
    /// When a host would refuse the descriptor.
    #[expect(clippy::new_without_default, reason = "making one runs the plugin")]
    pub fn new() -> Self {
        let descriptor = projection::describe::<P>();
        if let Some(fault) = descriptor.fault() {
            panic!("the descriptor: {fault}");
        }
        Self {
            memory: Memory::new(descriptor),
            batch_events_max: BATCH,
            next_position: 0,
            next_offsets: HashMap::new(),
            projection: PhantomData,
        }
    }

    /// Hands over at most `events` at a time. A projection must come to the same with any number.
    #[must_use]
    pub fn batches_of(mut self, events: usize) -> Self {
        self.batch_events_max = events.max(1);
        self
    }

    /// Sets a value of the plugin's configuration.
    #[must_use]
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.memory.config.insert(key.into(), value.into());
        self
    }

    /// Publishes events and lets the projection fold those that it subscribes to.
    ///
    /// # Errors
    /// The plugin's failure. The batch that failed is rolled back, those before it stay.
    pub fn apply(&mut self, events: impl IntoIterator<Item = TestEvent>) -> Result<(), Failure> {
        let mut batch = Vec::new();
        for event in events {
            let event = self.publish(event);
            let wanted = self.memory.descriptor.wants(&event.event.stream_name, &event.event.event_type);
            if wanted {
                batch.push(event);
            }
            if batch.len() == self.batch_events_max {
                self.apply_batch(std::mem::take(&mut batch))?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.apply_batch(batch) }
    }

    /// The document under `key`, where there is one.
    ///
    /// # Panics
    /// When it is not of the collection's type.
    pub fn get<T: DeserializeOwned>(&self, collection: &Collection<T>, key: &str) -> Option<T> {
        let bytes = self.get_bytes(collection.name(), key)?;
        Some(parse(collection, key, bytes))
    }

    /// The bytes of the document under `key`.
    pub fn get_bytes(&self, collection: &str, key: &str) -> Option<&[u8]> {
        self.memory.documents.get(&(collection.to_owned(), key.to_owned())).map(Vec::as_slice)
    }

    /// The documents whose keys begin with `prefix`, in the byte order of their keys.
    ///
    /// # Panics
    /// When one is not of the collection's type.
    pub fn scan<T: DeserializeOwned>(&self, collection: &Collection<T>, prefix: &str) -> Vec<(String, T)> {
        self.documents()
            .filter(|(of, key, _)| *of == collection.name() && key.starts_with(prefix))
            .map(|(_, key, bytes)| (key.to_owned(), parse(collection, key, bytes)))
            .collect()
    }

    /// The whole read model: collection, key and bytes, in order.
    pub fn documents(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.memory
            .documents
            .iter()
            .map(|((collection, key), bytes)| (collection.as_str(), key.as_str(), bytes.as_slice()))
    }

    /// What the plugin has written to its log.
    pub fn log(&self) -> &[LogLine] {
        &self.memory.log
    }

    /// What the plugin returns from `describe`, as JSON.
    pub fn descriptor_json(&self) -> String {
        self.memory.descriptor.to_json()
    }

    fn publish(&mut self, mut event: TestEvent) -> TestEvent {
        let offset = self.next_offsets.entry(event.event.stream_name.clone()).or_default();
        event.event.offset = *offset;
        *offset += 1;
        event.event.position = self.next_position;
        self.next_position += 1;
        if event.event.id == (0, 0) {
            event.event.id = (0, self.next_position);
        }
        event
    }

    fn apply_batch(&mut self, batch: Vec<TestEvent>) -> Result<(), Failure> {
        let (events, details): (Vec<_>, Vec<_>) = batch.into_iter().map(|event| (event.event, event.details)).unzip();
        self.memory.details = details;
        self.memory.during(|| projection::apply::<P>(&events))
    }
}

fn parse<T: DeserializeOwned>(collection: &Collection<T>, key: &str, bytes: &[u8]) -> T {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("the document `{key}` of `{}`: {error}", collection.name()))
}
