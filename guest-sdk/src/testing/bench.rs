use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::TestEvent;
use super::host::{Emitted, LogLine, Memory};
use super::saga_host::SagaMemory;
use crate::{Collection, Descriptor, Event, Failure};

/// What a host puts into a batch at most.
const BATCH: usize = 256;

/// What harnesses share: events on their way in, and all that a plugin has left behind.
pub struct Bench {
    memory: Memory,
    batch_events_max: usize,
    next_position: u64,
    next_offsets: HashMap<String, u64>,
}

impl Bench {
    pub(super) fn new(descriptor: Descriptor) -> Self {
        if let Some(fault) = descriptor.fault() {
            panic!("the descriptor: {fault}");
        }
        Self {
            memory: Memory::new(descriptor),
            batch_events_max: BATCH,
            next_position: 0,
            next_offsets: HashMap::new(),
        }
    }

    pub(super) fn set_batch(&mut self, events: usize) {
        self.batch_events_max = events.max(1);
    }

    pub(super) fn set_config(&mut self, key: String, value: String) {
        self.memory.config.insert(key, value);
    }

    pub(super) fn set_now(&mut self, now_us: u64) {
        self.memory.now_us = now_us;
    }

    /// Publishes events, and hands those that the plugin subscribes to over in batches.
    pub(super) fn feed(
        &mut self,
        events: impl IntoIterator<Item = TestEvent>,
        call: fn(&[Event]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut batch = Vec::new();
        for event in events {
            let event = self.publish(event);
            if self.memory.descriptor.wants(&event.event.stream_name, &event.event.event_type) {
                batch.push(event);
            }
            if batch.len() == self.batch_events_max {
                self.call(std::mem::take(&mut batch), call)?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.call(batch, call) }
    }

    /// Hands one batch over.
    pub(super) fn call<T>(
        &mut self,
        batch: Vec<TestEvent>,
        call: impl FnOnce(&[Event]) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (events, details): (Vec<_>, Vec<_>) = batch.into_iter().map(|event| (event.event, event.details)).unzip();
        self.memory.details = details;
        self.memory.during(|| call(&events))
    }

    /// Gives an event its place.
    pub(super) fn publish(&mut self, mut event: TestEvent) -> TestEvent {
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

    pub(super) fn saga(&self) -> &SagaMemory {
        &self.memory.saga
    }

    pub(super) fn saga_memory(&mut self) -> &mut SagaMemory {
        &mut self.memory.saga
    }

    pub(super) fn now_us(&self) -> u64 {
        self.memory.now_us
    }

    pub(super) fn name(&self) -> &str {
        self.memory.descriptor.name()
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

    /// Every document: collection, key and bytes, in order.
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

    /// What a handler has emitted, in order.
    pub fn emitted(&self) -> &[Emitted] {
        &self.memory.emitted
    }

    /// What the plugin returns from `describe`, as JSON.
    pub fn descriptor_json(&self) -> String {
        self.memory.descriptor.to_json()
    }
}

fn parse<T: DeserializeOwned>(collection: &Collection<T>, key: &str, bytes: &[u8]) -> T {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("the document `{key}` of `{}`: {error}", collection.name()))
}
