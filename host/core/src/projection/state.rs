//! A projection's state as its guest sees it: what is committed, and what this checkpoint changes.
//!
//! Reads go to the overlay, then to the cache of committed documents, then to the store. A generation
//! is the only writer of its documents, so the cache stays true for as long as the generation runs,
//! answers of "no such document" included; and until something was evicted the cache of a generation
//! that began empty knows every document, so that a rebuild asks the store for nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;

use super::index::{Upkeep, indexes_of};
use crate::limits::commit::DOCUMENTS_MAX;
use crate::limits::plugin as limits;
use crate::limits::read::DOCUMENTS_AT_ONCE;
use crate::plugin::descriptor::Collection;
use crate::record::GenerationId;
use crate::store::{Document, DocumentChange, Store, StoreError};

/// What a cache entry occupies beside its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// Why the host ends a guest's call: the guest itself never sees these.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("collection `{collection}` is not declared in the descriptor")]
    Undeclared { collection: String },
    #[error("key of {bytes} bytes in `{collection}`; a key has 1 to {} bytes", limits::DOCUMENT_KEY_BYTES_MAX)]
    KeyLength { collection: String, bytes: usize },
    #[error("a key in `{collection}` contains U+0000")]
    KeyNul { collection: String },
    #[error("document `{collection}/{key}` of {bytes} bytes; the limit is {}", limits::DOCUMENT_BYTES_MAX)]
    DocumentTooLarge { collection: String, key: String, bytes: usize },
    #[error("one checkpoint changes more than {} bytes of documents", limits::OVERLAY_BYTES_MAX)]
    OverlayFull,
    #[error("one checkpoint changes more than {DOCUMENTS_MAX} documents and entries of indexes")]
    TooManyChanges,
    #[error("the store did not answer")]
    Store(#[source] StoreError),
}

/// A page of a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    pub entries: Vec<Document>,
    /// Where to go on; `None` at the end.
    pub next_after: Option<String>,
}

pub struct State {
    store: Arc<dyn Store>,
    generation: GenerationId,
    collections: Vec<CollectionState>,
    overlay_bytes: usize,
    /// Rows that a commit of the overlay changes at most.
    overlay_rows: usize,
    cached_bytes: usize,
    cache_bytes_max: usize,
    /// Whether a document that is in neither cache nor overlay is known not to exist.
    complete: bool,
}

struct CollectionState {
    name: Arc<str>,
    overlay: HashMap<Box<str>, Option<Bytes>>,
    cache: LruCache<Box<str>, Option<Bytes>>,
    upkeep: Upkeep,
}

impl State {
    /// `empty` says that the generation has no documents yet.
    pub fn new(store: Arc<dyn Store>, generation: GenerationId, collections: &[String], empty: bool) -> Self {
        let collection = |name: &String| CollectionState {
            name: name.as_str().into(),
            overlay: HashMap::new(),
            cache: LruCache::unbounded(),
            upkeep: Upkeep::new(Vec::new()),
        };
        Self {
            store,
            generation,
            collections: collections.iter().map(collection).collect(),
            overlay_bytes: 0,
            overlay_rows: 0,
            cached_bytes: 0,
            cache_bytes_max: limits::DOCUMENT_CACHE_BYTES_MAX,
            complete: empty,
        }
    }

    /// The same with the indexes that the collections declare.
    pub fn indexed(store: Arc<dyn Store>, generation: GenerationId, declared: &[Collection], empty: bool) -> Self {
        let names: Vec<String> = declared.iter().map(|collection| collection.name.clone()).collect();
        let mut this = Self::new(store, generation, &names, empty);
        for (collection, declared) in this.collections.iter_mut().zip(declared) {
            collection.upkeep = Upkeep::new(indexes_of(declared));
        }
        this
    }

    /// What is known without asking the store: `None` means that it has to be asked ([`Self::load`]).
    pub fn get_known(&mut self, collection: &str, key: &str) -> Result<Option<Option<Bytes>>, StateError> {
        let complete = self.complete;
        let collection = self.collection(collection)?;
        if let Some(value) = collection.overlay.get(key) {
            return Ok(Some(value.clone()));
        }
        if let Some(value) = collection.cache.get(key) {
            return Ok(Some(value.clone()));
        }
        Ok(complete.then_some(None))
    }

    pub async fn get(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StateError> {
        match self.get_known(collection, key)? {
            Some(value) => Ok(value),
            None => self.load(collection, key).await,
        }
    }

    /// Asks the store, and remembers its answer.
    pub async fn load(&mut self, collection: &str, key: &str) -> Result<Option<Bytes>, StateError> {
        let value = self.store.document(self.generation, collection, key).await.map_err(StateError::Store)?;
        self.remember(collection, key.into(), value.clone())?;
        Ok(value)
    }

    /// One answer for each key, in order; the store is asked once for all that are not known.
    pub async fn get_many(&mut self, collection: &str, keys: &[String]) -> Result<Vec<Option<Bytes>>, StateError> {
        let mut values = Vec::with_capacity(keys.len());
        let mut unknown = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            let known = self.get_known(collection, key)?;
            if known.is_none() {
                unknown.push((i, key.clone()));
            }
            values.push(known.flatten());
        }
        if !unknown.is_empty() {
            let asked: Vec<String> = unknown.iter().map(|(_, key)| key.clone()).collect();
            let answers = self.store.documents(self.generation, collection, &asked).await.map_err(StateError::Store)?;
            for ((i, key), value) in unknown.into_iter().zip(answers) {
                self.remember(collection, key.into(), value.clone())?;
                values[i] = value;
            }
        }
        Ok(values)
    }

    /// Sets a document, or removes it.
    pub fn put(&mut self, collection: &str, key: &str, value: Option<Bytes>) -> Result<(), StateError> {
        if key.is_empty() || key.len() > limits::DOCUMENT_KEY_BYTES_MAX {
            return Err(StateError::KeyLength { collection: collection.into(), bytes: key.len() });
        }
        if key.contains('\0') {
            return Err(StateError::KeyNul { collection: collection.into() });
        }
        let bytes = value.as_ref().map_or(0, Bytes::len);
        if bytes > limits::DOCUMENT_BYTES_MAX {
            return Err(StateError::DocumentTooLarge { collection: collection.into(), key: key.into(), bytes });
        }
        let collection = self.collection(collection)?;
        let replaced = match collection.overlay.get_mut(key) {
            Some(old) => std::mem::replace(old, value).map_or(0, |old| old.len()),
            None => {
                let rows = collection.upkeep.rows();
                collection.overlay.insert(key.into(), value);
                self.overlay_rows += rows;
                self.overlay_bytes += key.len() + ENTRY_OVERHEAD_BYTES;
                0
            }
        };
        self.overlay_bytes = self.overlay_bytes + bytes - replaced;
        if self.overlay_rows > DOCUMENTS_MAX {
            return Err(StateError::TooManyChanges);
        }
        if self.overlay_bytes > limits::OVERLAY_BYTES_MAX { Err(StateError::OverlayFull) } else { Ok(()) }
    }

    /// Documents in byte order of their keys, uncommitted ones included.
    pub async fn scan(
        &mut self,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ScanPage, StateError> {
        let limit = limit.clamp(1, limits::SCAN_ENTRIES_MAX);
        let overlay = &self.collection(collection)?.overlay;
        let in_range = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let mut changed: Vec<(String, Option<Bytes>)> = overlay
            .iter()
            .filter(|(key, _)| in_range(key))
            .map(|(key, value)| (key.to_string(), value.clone()))
            .collect();
        let stored = self.store.scan(self.generation, collection, prefix, after, limit);
        let stored = stored.await.map_err(StateError::Store)?;
        // Beyond the last stored key of an unfinished page there may be stored keys that were not read.
        let covered = if stored.more { stored.documents.last().map(|d| d.key.clone()) } else { None };
        if let Some(covered) = &covered {
            changed.retain(|(key, _)| key <= covered);
        }
        Ok(merge(stored.documents, changed, covered, limit))
    }

    /// What the overlay changes, for a commit unit: documents, and the entries of their indexes. Only the
    /// latter may have to ask the store what there was before.
    pub async fn changes(&self) -> Result<Vec<DocumentChange>, StateError> {
        let mut changes = Vec::new();
        for collection in &self.collections {
            let first = changes.len();
            collection.add_changes(self.complete, &mut changes);
            if !collection.upkeep.is_none() {
                let entries = self.changed_entries(collection, &changes[first..]).await?;
                changes.extend(entries);
            }
        }
        Ok(changes)
    }

    async fn changed_entries(
        &self,
        collection: &CollectionState,
        changed: &[DocumentChange],
    ) -> Result<Vec<DocumentChange>, StateError> {
        let (mut entries, mut unknown) = (Vec::new(), Vec::new());
        for change in changed {
            match collection.cache.peek(change.key.as_str()) {
                Some(old) => collection.upkeep.follow(old.as_ref(), change, &mut entries),
                None if self.complete => collection.upkeep.follow(None, change, &mut entries),
                None => unknown.push(change),
            }
        }
        for unknown in unknown.chunks(DOCUMENTS_AT_ONCE) {
            let keys: Vec<String> = unknown.iter().map(|change| change.key.clone()).collect();
            let old = self.store.documents(self.generation, &collection.name, &keys).await;
            for (change, old) in unknown.iter().zip(old.map_err(StateError::Store)?) {
                collection.upkeep.follow(old.as_ref(), change, &mut entries);
            }
        }
        Ok(entries)
    }

    /// The overlay was committed.
    pub fn settle(&mut self) {
        (self.overlay_bytes, self.overlay_rows) = (0, 0);
        for i in 0..self.collections.len() {
            let overlay = std::mem::take(&mut self.collections[i].overlay);
            for (key, value) in overlay {
                if value.is_none() && self.complete {
                    self.forget(i, &key);
                } else {
                    self.insert(i, key, value);
                }
            }
        }
    }

    /// The overlay is dropped: back to the last commit.
    pub fn discard(&mut self) {
        (self.overlay_bytes, self.overlay_rows) = (0, 0);
        for collection in &mut self.collections {
            collection.overlay.clear();
        }
    }

    pub fn is_clean(&self) -> bool {
        self.collections.iter().all(|collection| collection.overlay.is_empty())
    }

    pub fn overlay_bytes(&self) -> usize {
        self.overlay_bytes
    }

    /// Documents and entries of indexes that a commit changes at most.
    pub fn overlay_rows(&self) -> usize {
        self.overlay_rows
    }

    fn collection(&mut self, name: &str) -> Result<&mut CollectionState, StateError> {
        let found = self.collections.iter_mut().find(|collection| &*collection.name == name);
        found.ok_or_else(|| StateError::Undeclared { collection: name.into() })
    }

    fn remember(&mut self, collection: &str, key: Box<str>, value: Option<Bytes>) -> Result<(), StateError> {
        let index = self.collections.iter().position(|c| &*c.name == collection);
        let index = index.ok_or_else(|| StateError::Undeclared { collection: collection.into() })?;
        self.insert(index, key, value);
        Ok(())
    }

    fn insert(&mut self, collection: usize, key: Box<str>, value: Option<Bytes>) {
        self.cached_bytes += weight(&key, value.as_ref());
        let cache = &mut self.collections[collection].cache;
        if let Some((key, old)) = cache.push(key, value) {
            self.cached_bytes -= weight(&key, old.as_ref());
        }
        self.evict();
    }

    fn forget(&mut self, collection: usize, key: &str) {
        if let Some(old) = self.collections[collection].cache.pop(key) {
            self.cached_bytes -= weight(key, old.as_ref());
        }
    }

    /// The largest collection gives way first.
    fn evict(&mut self) {
        while self.cached_bytes > self.cache_bytes_max {
            let Some(largest) = self.collections.iter_mut().max_by_key(|c| c.cache.len()) else { return };
            let Some((key, value)) = largest.cache.pop_lru() else { return };
            self.cached_bytes -= weight(&key, value.as_ref());
            self.complete = false;
        }
    }
}

impl CollectionState {
    fn add_changes(&self, complete: bool, changes: &mut Vec<DocumentChange>) {
        for (key, value) in &self.overlay {
            let unchanged = match self.cache.peek(key) {
                Some(committed) => committed == value,
                None => value.is_none() && complete,
            };
            if !unchanged {
                let (collection, key) = (Arc::clone(&self.name), key.to_string());
                changes.push(DocumentChange { collection, key, value: value.clone() });
            }
        }
    }
}

fn weight(key: &str, value: Option<&Bytes>) -> usize {
    ENTRY_OVERHEAD_BYTES + key.len() + value.map_or(0, Bytes::len)
}

/// Lays changes over stored documents, both of the same range of keys.
fn merge(
    stored: Vec<Document>,
    mut changed: Vec<(String, Option<Bytes>)>,
    covered: Option<String>,
    limit: usize,
) -> ScanPage {
    changed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let replaced = |key: &str| changed.binary_search_by(|(changed, _)| changed.as_str().cmp(key)).is_ok();
    let mut entries: Vec<Document> = stored.into_iter().filter(|document| !replaced(&document.key)).collect();
    entries.extend(changed.into_iter().filter_map(|(key, value)| Some(Document { key, value: value? })));
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut bytes = 0;
    let fitting = entries.iter().take(limit).take_while(|document| {
        bytes += document.value.len();
        bytes <= limits::SCAN_BYTES_MAX
    });
    let fitting = fitting.count().max(1).min(entries.len());
    if fitting < entries.len() {
        entries.truncate(fitting);
        let next_after = entries.last().map(|document| document.key.clone());
        return ScanPage { entries, next_after };
    }
    ScanPage { entries, next_after: covered }
}
