//! The memory store: the executable specification of [`Store`]. It keeps nothing over a restart.

mod inner;

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

pub(super) use inner::Inner;
use inner::Stream;

use super::unit::{Committed, Rejection, Unit};
use super::{
    Direction, Document, DocumentStore, Documents, Head, Import, LogRead, LogStore, PageLimit, PluginStore, Store,
    StoreError,
};
use crate::clock::Timestamp;
use crate::event::{Event, Offset, Position};
use crate::limits;
use crate::log::filter::Filter;
use crate::name::{Pattern, StreamName};
use crate::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamConfigRecord, StreamInfo,
};

#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

impl MemoryStore {
    pub(super) fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        Ok(documents_page(of_prefix.filter(|((_, _, key), _)| after.is_none_or(|after| key.as_str() > after)), limit))
    }

    async fn scan_back(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        let inner = self.inner();
        let from = inner.documents.range((generation, collection.to_owned(), prefix.to_owned())..);
        let of_prefix: Vec<_> = from
            .take_while(|((g, c, key), _)| *g == generation && c == collection && key.starts_with(prefix))
            .filter(|((_, _, key), _)| before.is_none_or(|before| key.as_str() < before))
            .collect();
        Ok(documents_page(of_prefix.into_iter().rev(), limit))
    }

    async fn count(&self, generation: GenerationId, collection: &str, prefix: &str) -> Result<u64, StoreError> {
        let inner = self.inner();
        let from = inner.documents.range((generation, collection.to_owned(), prefix.to_owned())..);
        let of_prefix =
            from.take_while(|((g, c, key), _)| *g == generation && c == collection && key.starts_with(prefix));
        Ok(of_prefix.count() as u64)
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

/// What a page holds of the documents that are wanted.
fn documents_page<'a>(
    wanted: impl Iterator<Item = (&'a (GenerationId, String, String), &'a Bytes)>,
    limit: usize,
) -> Documents {
    let (mut wanted, mut documents, mut bytes) = (wanted.peekable(), Vec::new(), 0);
    while let Some(((_, _, key), value)) = wanted.peek() {
        bytes += value.len();
        if documents.len() == limit || (bytes > limits::read::LIST_BYTES_MAX && !documents.is_empty()) {
            break;
        }
        documents.push(Document { key: key.clone(), value: (*value).clone() });
        wanted.next();
    }
    Documents { documents, more: wanted.peek().is_some() }
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
