//! The memory store: the executable specification of [`Store`]. It keeps nothing over a restart.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::plan::{Known, Snapshot, StreamHead, UnitPlan};
use super::unit::{AppendCondition, Change, Committed, Rejection, Unit};
use super::{
    Direction, Document, DocumentStore, Documents, Head, Import, LogRead, LogStore, PageLimit, PluginStore, Store,
    StoreError,
};
use crate::clock::Timestamp;
use crate::event::{Chunk, Event, Offset, Position};
use crate::limits;
use crate::log::filter::Filter;
use crate::name::{Pattern, StreamName};
use crate::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamConfigRecord, StreamInfo,
    StreamState,
};

#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) head: Head,
    /// `recorded_at` of the newest event ever.
    recorded_at: Timestamp,
    pub(super) events: BTreeMap<Position, Event>,
    pub(super) streams: BTreeMap<StreamName, Stream>,
    pub(super) positions: HashMap<Uuid, Position>,
    pub(super) removed: BTreeMap<Position, RemovedEvent>,
    configs: BTreeMap<(bool, String), String>,
    plugins: BTreeMap<String, PluginRecord>,
    revisions: BTreeMap<(String, u32), RevisionRecord>,
    components: HashMap<String, Bytes>,
    generations: BTreeMap<GenerationId, GenerationRecord>,
    documents: BTreeMap<(GenerationId, String, String), Bytes>,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) info: StreamInfo,
    /// Of the events that are stored, in order.
    pub(super) positions: VecDeque<Position>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        let inner = Inner {
            head: Head { next_position: Position(0), log_id: Uuid::new_v4(), revision: 0 },
            recorded_at: Timestamp::default(),
            events: BTreeMap::new(),
            streams: BTreeMap::new(),
            positions: HashMap::new(),
            removed: BTreeMap::new(),
            configs: BTreeMap::new(),
            plugins: BTreeMap::new(),
            revisions: BTreeMap::new(),
            components: HashMap::new(),
            generations: BTreeMap::new(),
            documents: BTreeMap::new(),
        };
        Self { inner: Mutex::new(inner) }
    }
}

impl MemoryStore {
    pub(super) fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Stream {
    fn new(name: &StreamName, recorded_at: Timestamp, first_offset: Offset) -> Self {
        let info = StreamInfo {
            name: name.clone(),
            state: StreamState::Live,
            first_offset,
            truncate_before: Offset(0),
            next_offset: first_offset,
            bytes: 0,
            created_at: recorded_at,
            first_recorded_at: recorded_at,
            last_recorded_at: recorded_at,
            last_position: Position(0),
        };
        Self { info, positions: VecDeque::new() }
    }

    fn add(&mut self, event: &Event) {
        if self.positions.is_empty() {
            self.info.first_offset = event.offset();
            self.info.first_recorded_at = event.recorded_at();
        }
        self.positions.push_back(event.position());
        self.info.next_offset = Offset(event.offset().0 + 1);
        self.info.bytes += event.framed_len() as u64;
        self.info.last_recorded_at = event.recorded_at();
        self.info.last_position = event.position();
    }
}

impl Inner {
    pub(super) fn snapshot(&self, units: &[Unit]) -> Snapshot {
        let appends = || units.iter().flat_map(|unit| &unit.appends);
        let ids = appends().flat_map(|append| append.events.iter().map(|event| event.id));
        let known = ids.filter_map(|id| Some((id, self.known(&id)?))).collect();
        let named = units.iter().flat_map(Unit::streams).filter_map(|stream| self.streams.get(stream));
        let head = |stream: &Stream| StreamHead { next_offset: stream.info.next_offset, state: stream.info.state };
        let conditions = units.iter().flat_map(|unit| &unit.conditions);
        Snapshot {
            next_position: self.head.next_position,
            recorded_at: self.recorded_at,
            streams: named.map(|stream| (stream.info.name.clone(), head(stream))).collect(),
            known,
            matching: conditions.map(|condition| (condition.clone(), self.matching(condition))).collect(),
            appended: Vec::new(),
            checkpoints: self.generations.values().map(|g| (g.id, g.checkpoint)).collect(),
        }
    }

    fn known(&self, id: &Uuid) -> Option<Known> {
        let position = self.positions.get(id)?;
        let stored = self.events.get(position).cloned().map(Known::Stored);
        stored.or_else(|| self.removed.get(position).cloned().map(Known::Removed))
    }

    fn matching(&self, condition: &AppendCondition) -> Option<Position> {
        let from = condition.after.map_or(Position(0), |after| Position(after.0.saturating_add(1)));
        let mut events = self.events.range(from..).map(|(_, event)| event);
        events.find(|event| condition.query.matches(event)).map(Event::position)
    }

    pub(super) fn store(&mut self, unit: &Unit, plan: UnitPlan, now: Timestamp) -> Committed {
        for chunk in &plan.chunks {
            self.append(chunk);
        }
        let removed = unit.changes.iter().map(|change| self.change(change, now)).sum();
        Committed { appends: plan.appends, chunks: plan.chunks, removed }
    }

    fn append(&mut self, chunk: &Chunk) {
        let new = || Stream::new(&chunk.stream, chunk.recorded_at, Offset(0));
        let stream = self.streams.entry(chunk.stream.clone()).or_insert_with(new);
        stream.info.state = StreamState::Live;
        for event in &chunk.events {
            stream.add(event);
            self.positions.insert(event.id(), event.position());
            self.events.insert(event.position(), event.clone());
        }
        self.head.next_position = Position(chunk.first_position.0 + u64::from(chunk.count));
        self.recorded_at = chunk.recorded_at;
    }

    fn remove_events(&mut self, name: &StreamName, limit: usize, now: Timestamp) -> u64 {
        let Some(stream) = self.streams.get_mut(name) else { return 0 };
        let hidden = stream.info.truncate_before.0.saturating_sub(stream.info.first_offset.0);
        let count = usize::try_from(hidden).unwrap_or(usize::MAX).min(limit).min(stream.positions.len());
        for position in stream.positions.drain(..count) {
            let event = self.events.remove(&position).expect("a stream's positions are of stored events");
            stream.info.bytes -= event.framed_len() as u64;
            stream.info.first_offset.0 += 1;
            let removed = RemovedEvent {
                id: event.id(),
                stream: name.clone(),
                offset: event.offset(),
                position,
                recorded_at: event.recorded_at(),
                removed_at: now,
            };
            self.removed.insert(position, removed);
        }
        let oldest = stream.positions.front().map(|position| self.events[position].recorded_at());
        stream.info.first_recorded_at = oldest.unwrap_or(stream.info.last_recorded_at);
        self.head.revision += 1;
        count as u64
    }

    fn forget_removed(&mut self, before: Timestamp, limit: usize) -> u64 {
        let old = self.removed.values().filter(|removed| removed.removed_at < before);
        let old: Vec<(Position, Uuid)> = old.take(limit).map(|removed| (removed.position, removed.id)).collect();
        for (position, id) in &old {
            self.removed.remove(position);
            self.positions.remove(id);
        }
        old.len() as u64
    }

    fn change(&mut self, change: &Change, now: Timestamp) -> u64 {
        match change {
            Change::PutStreamConfig { pattern, exact, config } => {
                let key = (*exact, pattern.clone());
                match config {
                    Some(config) => self.configs.insert(key, config.clone()),
                    None => self.configs.remove(&key),
                };
                self.head.revision += 1;
            }
            Change::SetStream { stream, truncate_before, state } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    let info = &mut stream.info;
                    info.truncate_before = (*truncate_before).min(info.next_offset).max(info.truncate_before);
                    info.state = *state;
                }
                self.head.revision += 1;
            }
            Change::RemoveEvents { stream, limit } => return self.remove_events(stream, *limit, now),
            Change::ForgetRemoved { before, limit } => return self.forget_removed(*before, *limit),
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
        Ok(self.inner().head)
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        let inner = self.inner();
        let matching = |(_, event): &(&Position, &Event)| filter.matches(event);
        let (events, next) = match direction {
            Direction::Forward => {
                let events = page(inner.events.range(from..).filter(matching).map(|(_, event)| event), limit);
                let next = events.last().map(|last| Position(last.position().0 + 1));
                (events, next.filter(|next| inner.events.range(next..).next().is_some()))
            }
            Direction::Backward => {
                let events = page(inner.events.range(..=from).rev().filter(matching).map(|(_, event)| event), limit);
                let next = events.last().and_then(|last| last.position().0.checked_sub(1)).map(Position);
                (events, next.filter(|next| inner.events.range(..=next).next().is_some()))
            }
        };
        Ok(LogRead { events, next })
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
        let event = |position: &Position| &inner.events[position];
        let place = |offset: u64| {
            let at = offset.saturating_sub(stream.info.first_offset.0);
            usize::try_from(at).unwrap_or(usize::MAX).min(stream.positions.len())
        };
        Ok(match direction {
            Direction::Forward => page(stream.positions.range(place(from.0)..).map(event), limit),
            Direction::Backward if from < stream.info.first_offset => Vec::new(),
            Direction::Backward => {
                let end = place(from.0.saturating_add(1));
                page(stream.positions.range(..end).rev().map(event), limit)
            }
        })
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        let inner = self.inner();
        let found = inner.events.values().find(|event| event.recorded_at() >= time);
        Ok(found.map_or(inner.head.next_position, Event::position))
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        let inner = self.inner();
        let Some(stream) = inner.streams.get(stream) else { return Ok(Offset(0)) };
        let mut events = stream.positions.iter().map(|position| &inner.events[position]);
        Ok(events.find(|event| event.recorded_at() >= time).map_or(stream.info.next_offset, Event::offset))
    }

    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError> {
        let inner = self.inner();
        let found = ids.iter().filter_map(|id| inner.events.get(inner.positions.get(id)?));
        Ok(found.cloned().collect())
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

    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Result<Vec<RemovedEvent>, StoreError> {
        let from = after.map_or(Position(0), |after| Position(after.0.saturating_add(1)));
        Ok(self.inner().removed.range(from..).map(|(_, removed)| removed.clone()).take(limit).collect())
    }

    async fn stream_configs(&self) -> Result<Vec<StreamConfigRecord>, StoreError> {
        let record = |((exact, pattern), config): (&(bool, String), &String)| StreamConfigRecord {
            pattern: pattern.clone(),
            exact: *exact,
            config: config.clone(),
        };
        Ok(self.inner().configs.iter().map(record).collect())
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

    async fn collections(&self, generation: GenerationId) -> Result<Vec<String>, StoreError> {
        let inner = self.inner();
        let from = inner.documents.range((generation, String::new(), String::new())..);
        let mut names: Vec<String> =
            from.take_while(|((g, _, _), _)| *g == generation).map(|((_, name, _), _)| name.clone()).collect();
        names.dedup();
        Ok(names)
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
            Ok(inner.store(unit, plan, now))
        });
        Ok(outcomes.collect())
    }

    async fn import(&self, part: Import) -> Result<(), StoreError> {
        let mut inner = self.inner();
        match part {
            Import::Events(events) => {
                for event in events {
                    let name = StreamName::from_stored(event.stream());
                    let new = || Stream::new(&name, event.recorded_at(), event.offset());
                    inner.streams.entry(name.clone()).or_insert_with(new).add(&event);
                    inner.positions.insert(event.id(), event.position());
                    inner.events.insert(event.position(), event);
                }
            }
            Import::Removed(events) => {
                for removed in events {
                    inner.positions.insert(removed.id, removed.position);
                    inner.removed.insert(removed.position, removed);
                }
            }
            Import::Streams(infos) => {
                for info in infos {
                    let fresh = Stream::new(&info.name, info.created_at, info.first_offset);
                    let stream = inner.streams.entry(info.name.clone()).or_insert(fresh);
                    stream.info = info;
                }
            }
            Import::Head { head, recorded_at } => {
                inner.head = head;
                inner.recorded_at = recorded_at;
            }
        }
        Ok(())
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
