//! The memory store: the executable specification of [`Store`]. It keeps nothing over a restart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::plan::{Snapshot, UnitPlan};
use super::unit::{Change, Committed, Rejection, Unit};
use super::{
    Direction, Document, DocumentStore, Documents, Head, LogStore, PageLimit, PluginStore, Store, StoreError,
    StreamInfo,
};
use crate::clock::Timestamp;
use crate::event::{Chunk, Event, Offset, Position};
use crate::limits;
use crate::name::{Pattern, StreamName};
use crate::record::{GenerationId, GenerationRecord, PluginRecord, RevisionRecord};

#[derive(Debug)]
pub struct MemoryStore {
    log_id: Uuid,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The event at position p is `events[p]`.
    events: Vec<Event>,
    streams: BTreeMap<StreamName, Stream>,
    positions: HashMap<Uuid, Position>,
    plugins: BTreeMap<String, PluginRecord>,
    revisions: BTreeMap<(String, u32), RevisionRecord>,
    components: HashMap<String, Bytes>,
    generations: BTreeMap<GenerationId, GenerationRecord>,
    documents: BTreeMap<(GenerationId, String, String), Bytes>,
}

#[derive(Debug)]
struct Stream {
    info: StreamInfo,
    /// The event at offset o stands at `positions[o]`.
    positions: Vec<Position>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { log_id: Uuid::new_v4(), inner: Mutex::default() }
    }
}

impl MemoryStore {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn snapshot(&self, units: &[Unit]) -> Snapshot {
        let appends = || units.iter().flat_map(|unit| &unit.appends);
        let ids = appends().flat_map(|append| append.events.iter().map(|event| event.id));
        let known = ids.filter_map(|id| self.find(&id)).map(|event| (event.id(), event.clone())).collect();
        let named = units.iter().flat_map(Unit::streams).filter_map(|stream| self.streams.get(stream));
        Snapshot {
            next_position: Position(self.events.len() as u64),
            recorded_at: self.events.last().map(Event::recorded_at).unwrap_or_default(),
            next_offsets: named.map(|s| (s.info.name.clone(), s.info.next_offset)).collect(),
            known,
            checkpoints: self.generations.values().map(|g| (g.id, g.checkpoint)).collect(),
        }
    }

    fn find(&self, id: &Uuid) -> Option<&Event> {
        self.positions.get(id).map(|position| &self.events[position.0 as usize])
    }

    fn store(&mut self, unit: &Unit, plan: UnitPlan) -> Committed {
        for chunk in &plan.chunks {
            self.append(chunk);
        }
        let removed = unit.changes.iter().map(|change| self.change(change)).sum();
        Committed { appends: plan.appends, chunks: plan.chunks, removed }
    }

    fn append(&mut self, chunk: &Chunk) {
        let stream = self.streams.entry(chunk.stream.clone()).or_insert_with(|| Stream {
            info: StreamInfo {
                name: chunk.stream.clone(),
                first_offset: Offset(0),
                next_offset: Offset(0),
                bytes: 0,
                created_at: chunk.recorded_at,
                last_recorded_at: chunk.recorded_at,
                last_position: chunk.first_position,
            },
            positions: Vec::new(),
        });
        for event in &chunk.events {
            self.positions.insert(event.id(), event.position());
            stream.positions.push(event.position());
        }
        stream.info.next_offset.0 += u64::from(chunk.count);
        stream.info.bytes += chunk.run.len() as u64;
        stream.info.last_recorded_at = chunk.recorded_at;
        stream.info.last_position = Position(chunk.first_position.0 + u64::from(chunk.count) - 1);
        self.events.extend(chunk.events.iter().cloned());
    }

    fn change(&mut self, change: &Change) -> u64 {
        match change {
            Change::PutDocuments { generation, documents } => {
                for document in documents {
                    let key = (*generation, document.collection.to_string(), document.key.clone());
                    match &document.value {
                        Some(value) => self.documents.insert(key, value.clone()),
                        None => self.documents.remove(&key),
                    };
                }
            }
            Change::Advance { generation, to, .. } => {
                if let Some(record) = self.generations.get_mut(generation) {
                    record.checkpoint = *to;
                }
            }
            Change::Deploy { revision, component } => {
                let record = PluginRecord {
                    name: revision.plugin.clone(),
                    kind: revision.kind,
                    created_at: revision.deployed_at,
                    current: revision.clone(),
                };
                let plugin = self.plugins.entry(record.name.clone()).or_insert(record);
                plugin.current = revision.clone();
                plugin.kind = revision.kind;
                self.revisions.insert((revision.plugin.clone(), revision.number), revision.clone());
                self.components.insert(revision.sha256.clone(), component.clone());
            }
            Change::CreateGeneration(record) => {
                self.generations.insert(record.id, record.clone());
            }
            Change::SetGenerationState { generation, state } => {
                if let Some(record) = self.generations.get_mut(generation) {
                    record.state = *state;
                }
            }
            Change::DropDocuments { generation, limit } => {
                let from = (*generation, String::new(), String::new());
                let of_generation = self.documents.range(from..).take_while(|(key, _)| key.0 == *generation);
                let keys: Vec<_> = of_generation.take(*limit).map(|(key, _)| key.clone()).collect();
                for key in &keys {
                    self.documents.remove(key);
                }
                return keys.len() as u64;
            }
            Change::DropGeneration { generation } => {
                self.generations.remove(generation);
            }
            Change::RemovePlugin { name } => {
                self.plugins.remove(name);
                self.revisions.retain(|(plugin, _), _| plugin != name);
                let used: Vec<&str> = self.revisions.values().map(|revision| revision.sha256.as_str()).collect();
                self.components.retain(|sha256, _| used.contains(&sha256.as_str()));
            }
        }
        0
    }
}

/// Cuts a page out of events that are already in reading order.
fn page<'a>(events: impl Iterator<Item = &'a Event>, limit: PageLimit) -> Vec<Event> {
    let mut bytes = 0;
    let within = events.take(limit.events.max(1)).take_while(|event| {
        let first = bytes == 0;
        bytes += event.raw().len();
        first || bytes <= limit.bytes
    });
    within.cloned().collect()
}

#[async_trait]
impl LogStore for MemoryStore {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head { next_position: Position(self.inner().events.len() as u64), log_id: self.log_id })
    }

    async fn read_log(&self, from: Position, direction: Direction, limit: PageLimit) -> Result<Vec<Event>, StoreError> {
        let inner = self.inner();
        let from = usize::try_from(from.0).unwrap_or(usize::MAX).min(inner.events.len());
        Ok(match direction {
            Direction::Forward => page(inner.events[from..].iter(), limit),
            Direction::Backward => {
                let end = (from + 1).min(inner.events.len());
                page(inner.events[..end].iter().rev(), limit)
            }
        })
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        let inner = self.inner();
        let Some(stream) = inner.streams.get(stream) else { return Ok(Vec::new()) };
        let from = usize::try_from(from.0).unwrap_or(usize::MAX).min(stream.positions.len());
        let event = |position: &Position| &inner.events[position.0 as usize];
        Ok(match direction {
            Direction::Forward => page(stream.positions[from..].iter().map(event), limit),
            Direction::Backward => {
                let end = (from + 1).min(stream.positions.len());
                page(stream.positions[..end].iter().rev().map(event), limit)
            }
        })
    }

    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError> {
        let inner = self.inner();
        Ok(ids.iter().filter_map(|id| inner.find(id)).cloned().collect())
    }

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError> {
        Ok(self.inner().streams.get(name).map(|stream| stream.info.clone()))
    }

    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError> {
        let inner = self.inner();
        let infos = inner.streams.values().map(|stream| &stream.info);
        let wanted = infos.filter(|info| {
            after.is_none_or(|after| info.name.as_str() > after)
                && pattern.is_none_or(|pattern| pattern.matches(info.name.as_str()))
        });
        Ok(wanted.take(limit).cloned().collect())
    }
}

#[async_trait]
impl DocumentStore for MemoryStore {
    async fn document(
        &self,
        generation: GenerationId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner().documents.get(&(generation, collection.into(), key.into())).cloned())
    }

    async fn documents(
        &self,
        generation: GenerationId,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let inner = self.inner();
        let get = |key: &String| inner.documents.get(&(generation, collection.into(), key.clone())).cloned();
        Ok(keys.iter().map(get).collect())
    }

    async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        let inner = self.inner();
        let start = prefix.max(after.unwrap_or_default()).to_owned();
        let from = inner.documents.range((generation, collection.to_owned(), start)..);
        let of_prefix =
            from.take_while(|((g, c, key), _)| *g == generation && c == collection && key.starts_with(prefix));
        let mut wanted = of_prefix.filter(|((_, _, key), _)| after.is_none_or(|after| key.as_str() > after)).peekable();
        let (mut documents, mut bytes) = (Vec::new(), 0);
        while let Some(((_, _, key), value)) = wanted.peek() {
            bytes += value.len();
            if documents.len() == limit || (bytes > limits::read::LIST_BYTES_MAX && !documents.is_empty()) {
                break;
            }
            documents.push(Document { key: key.clone(), value: (*value).clone() });
            wanted.next();
        }
        Ok(Documents { documents, more: wanted.peek().is_some() })
    }

    async fn count(&self, generation: GenerationId, collection: &str) -> Result<u64, StoreError> {
        let inner = self.inner();
        let from = (generation, collection.to_owned(), String::new());
        let of_collection =
            inner.documents.range(from..).take_while(|((g, c, _), _)| *g == generation && c == collection);
        Ok(of_collection.count() as u64)
    }
}

#[async_trait]
impl PluginStore for MemoryStore {
    async fn plugins(&self) -> Result<Vec<PluginRecord>, StoreError> {
        Ok(self.inner().plugins.values().cloned().collect())
    }

    async fn revisions(&self) -> Result<Vec<RevisionRecord>, StoreError> {
        Ok(self.inner().revisions.values().cloned().collect())
    }

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        Ok(self.inner().generations.values().cloned().collect())
    }

    async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner().components.get(sha256).cloned())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        let mut inner = self.inner();
        let mut snapshot = inner.snapshot(units);
        let outcomes = units.iter().map(|unit| {
            let plan = snapshot.plan(unit, now)?;
            Ok(inner.store(unit, plan))
        });
        Ok(outcomes.collect())
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        super::super::conformance::run(async || MemoryStore::default()).await;
    }
}
