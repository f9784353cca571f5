//! What the host gives a plugin, kept in memory.
//!
//! The plugin calls free functions, as its Wasm form does, so the host of the running call stands in a
//! thread-local, put there by [`Memory::during`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;

use super::saga_host::SagaMemory;
pub(crate) use super::saga_host::{data_get, data_put, data_remove, output_of, send};
use crate::log::Level;
use crate::{Descriptor, NewEvent};

/// As the host's own limit, so that a test meets it first. Bytes.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// A line that a plugin has written to its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub message: String,
    pub fields: Vec<(String, String)>,
}

/// An event that a handler has emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Place in its batch of the event that it answers.
    pub cause: u32,
    pub stream: String,
    pub event: NewEvent,
}

/// A collection, and a key in it.
type Place = (String, String);

/// The documents of one plugin, and what else its host knows.
pub(super) struct Memory {
    pub(super) descriptor: Descriptor,
    pub(super) documents: BTreeMap<Place, Vec<u8>>,
    /// What the running batch has replaced, so that it can be rolled back.
    undo: Vec<(Place, Option<Vec<u8>>)>,
    pub(super) config: BTreeMap<String, String>,
    pub(super) log: Vec<LogLine>,
    /// Of each event of the running batch.
    pub(super) details: Vec<Vec<(String, String)>>,
    pub(super) emitted: Vec<Emitted>,
    pub(super) saga: SagaMemory,
    pub(super) now_us: u64,
    random: u64,
}

thread_local! {
    static RUNNING: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

impl Memory {
    pub(super) fn new(descriptor: Descriptor) -> Self {
        Self {
            config: descriptor.defaults().collect(),
            descriptor,
            documents: BTreeMap::new(),
            undo: Vec::new(),
            log: Vec::new(),
            details: Vec::new(),
            emitted: Vec::new(),
            saga: SagaMemory::default(),
            now_us: 0,
            random: 0,
        }
    }

    /// Runs one batch against this host: its changes stay if it succeeds, and vanish if it fails.
    pub(super) fn during<T, E>(&mut self, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (emitted, data) = (self.emitted.len(), self.saga.data.clone());
        let stand_in = Self::new(self.descriptor.clone());
        RUNNING.set(Some(mem::replace(self, stand_in)));
        let result = call();
        *self = RUNNING.take().expect("nothing else takes it during the call");
        let undo = mem::take(&mut self.undo);
        if result.is_err() {
            self.emitted.truncate(emitted);
            self.saga.data = data;
            for (place, document) in undo.into_iter().rev() {
                self.set(place, document);
            }
        }
        result
    }

    fn change(&mut self, collection: &str, key: &str, document: Option<Vec<u8>>) {
        self.check(collection);
        let place = (collection.to_owned(), key.to_owned());
        let before = self.set(place.clone(), document);
        self.undo.push((place, before));
    }

    fn set(&mut self, place: Place, document: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match document {
            Some(document) => self.documents.insert(place, document),
            None => self.documents.remove(&place),
        }
    }

    /// A host ends the call when a plugin does what it may not; here the test ends.
    fn check(&self, collection: &str) {
        assert!(
            self.descriptor.declares(collection),
            "the collection `{collection}` is not in the plugin's descriptor"
        );
    }
}

pub(super) fn with<R>(call: impl FnOnce(&mut Memory) -> R) -> R {
    RUNNING.with_borrow_mut(|running| {
        call(running.as_mut().expect("the host answers during a call only: use a testing::Harness"))
    })
}

pub(crate) fn get(collection: &str, key: &str) -> Option<Vec<u8>> {
    with(|memory| {
        memory.check(collection);
        memory.documents.get(&(collection.to_owned(), key.to_owned())).cloned()
    })
}

pub(crate) fn get_many(collection: &str, keys: &[String]) -> Vec<Option<Vec<u8>>> {
    with(|memory| {
        memory.check(collection);
        let find = |key: &String| memory.documents.get(&(collection.to_owned(), key.clone())).cloned();
        keys.iter().map(find).collect()
    })
}

pub(crate) fn put_many(collection: &str, entries: Vec<(String, Vec<u8>)>) {
    with(|memory| {
        for (key, value) in entries {
            let bytes = value.len();
            assert!(bytes <= DOCUMENT_BYTES_MAX, "the document `{key}` of `{collection}` has {bytes} bytes");
            memory.change(collection, &key, Some(value));
        }
    });
}

pub(crate) fn remove(collection: &str, key: &str) {
    with(|memory| memory.change(collection, key, None));
}

pub(crate) fn scan(
    collection: &str,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> (Vec<(String, Vec<u8>)>, Option<String>) {
    with(|memory| {
        memory.check(collection);
        let from = (collection.to_owned(), after.unwrap_or(prefix).max(prefix).to_owned());
        let mut rest = memory
            .documents
            .range(from..)
            .take_while(|((of, key), _)| of == collection && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_str() > after))
            .map(|((_, key), value)| (key.clone(), value.clone()));
        let entries: Vec<_> = rest.by_ref().take(limit as usize).collect();
        let next_after = rest.next().and(entries.last()).map(|(key, _)| key.clone());
        (entries, next_after)
    })
}

pub(crate) fn event_details(index: u32) -> Vec<(String, String)> {
    with(|memory| memory.details.get(index as usize).cloned().unwrap_or_default())
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    with(|memory| memory.config.get(key).cloned())
}

pub(crate) fn config_get_all() -> Vec<(String, String)> {
    with(|memory| memory.config.clone().into_iter().collect())
}

pub(crate) fn log_write(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    with(|memory| memory.log.push(LogLine { level, message: message.to_owned(), fields }));
}

pub(crate) fn append(cause: u32, stream: String, events: Vec<NewEvent>) {
    with(|memory| {
        let may = memory.descriptor.may_append_to(&stream);
        assert!(may, "no capability in the plugin's descriptor allows appending to `{stream}`");
        let emitted = events.into_iter().map(|event| Emitted { cause, stream: stream.clone(), event });
        memory.emitted.extend(emitted);
    });
}

pub(crate) fn now_us() -> u64 {
    with(|memory| memory.now_us)
}

/// The same bytes in every run, so that a test can be repeated (SplitMix64).
pub(crate) fn random(len: u32) -> Vec<u8> {
    with(|memory| {
        let byte = |_| {
            memory.random = memory.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = memory.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)).to_le_bytes()[0]
        };
        (0..len).map(byte).collect()
    })
}
