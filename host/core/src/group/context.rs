//! What every group needs of its host, and what it reads there.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::dead_letter::DeadLetter;
use super::hosts::Hosts;
use super::share::{SHARES, Share};
use super::{COLLECTION_PARKED_KEYS, COLLECTION_REPLAYED, COLLECTION_SHARES, parked_key, share_key};
use crate::clock::Clock;
use crate::event::{Event, Position};
use crate::limits::{group as limits, read};
use crate::log::commit::Committer;
use crate::log::filter::Filter;
use crate::log::publish::Publisher;
use crate::log::read::{ReadError, Reader};
use crate::name::StreamName;
use crate::receipt::Receipts;
use crate::record::GenerationId;
use crate::store::{Direction, PageLimit, Store, StoreError};
use crate::stream::Caller;
use crate::stream::configs::StreamConfigs;
use crate::stream::lifecycle::Streams;

#[derive(Clone)]
pub(super) struct Context {
    pub(super) store: Arc<dyn Store>,
    pub(super) committer: Committer,
    pub(super) reader: Reader,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) configs: StreamConfigs,
    pub(super) streams: Streams,
    pub(super) publisher: Publisher,
    pub(super) receipts: Receipts,
    pub(super) host: Uuid,
    pub(super) hosts: Arc<Hosts>,
}

/// A share's number, and what the store has of it.
pub(super) type Stored = (usize, Option<Bytes>, Option<Share>);

impl Context {
    /// Keys that have dead letters, and how many.
    pub(super) async fn parked_keys(&self, group: &str) -> Result<Vec<(Arc<str>, u64)>, StoreError> {
        let prefix = parked_key(group, "");
        let mut keys = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let limit = read::LIST_DOCUMENTS_MAX;
            let page =
                self.store.scan(GenerationId::HOST, COLLECTION_PARKED_KEYS, &prefix, after.as_deref(), limit).await?;
            after = page.documents.last().map(|document| document.key.clone());
            for document in page.documents {
                let count = std::str::from_utf8(&document.value).ok().and_then(|count| count.parse().ok());
                keys.push((document.key[prefix.len()..].into(), count.unwrap_or(1)));
            }
            if !page.more {
                return Ok(keys);
            }
        }
    }

    /// Those of the positions that the log has. Neighbours come with one read.
    pub(super) async fn events_at(&self, positions: &[Position]) -> Result<Vec<Event>, ReadError> {
        // What is not settled stands close together, or alone.
        let limit = PageLimit { events: limits::PENDING_READ_EVENTS, bytes: read::PAGE_BYTES_MAX };
        let mut events: Vec<Event> = Vec::with_capacity(positions.len());
        let mut wanted = positions.iter().copied().peekable();
        while let Some(from) = wanted.peek().copied() {
            let page = self.reader.raw().log_page(from, Direction::Forward, &Filter::default(), limit).await?;
            let until = page.next.filter(|next| *next > from).unwrap_or(Position(from.0 + 1));
            while let Some(position) = wanted.next_if(|position| *position < until) {
                let found = page.events.binary_search_by_key(&position, Event::position);
                events.extend(found.ok().map(|at| page.events[at].clone()));
            }
        }
        Ok(events)
    }

    /// Those of the positions that were dead letters and are handed out again.
    pub(super) async fn replayed(
        &self,
        group: &str,
        positions: &[Position],
    ) -> Result<HashMap<Position, Event>, StoreError> {
        let mut replayed = HashMap::new();
        for positions in positions.chunks(read::LIST_DOCUMENTS_MAX) {
            let keys: Vec<String> = positions.iter().map(|position| DeadLetter::key(group, *position)).collect();
            let found = self.store.documents(GenerationId::HOST, COLLECTION_REPLAYED, &keys).await?;
            for raw in found.into_iter().flatten() {
                let damaged = |error| StoreError::Damaged { what: format!("a replayed event of `{group}`: {error}") };
                let event = Event::decode(raw).map_err(damaged)?;
                replayed.insert(event.position(), event);
            }
        }
        Ok(replayed)
    }

    /// Every share, with its number and what the store has of it.
    pub(super) async fn stored_shares(&self, group: &str) -> Result<Vec<Stored>, StoreError> {
        let keys: Vec<String> = (0..SHARES).map(|share| share_key(group, share)).collect();
        let stored = self.store.documents(GenerationId::HOST, COLLECTION_SHARES, &keys).await?;
        let decoded = stored.into_iter().enumerate().map(|(number, stored)| {
            let share = stored.as_deref().map(Share::decode).transpose();
            let share = share.map_err(|error| StoreError::Damaged { what: format!("group `{group}`: {error}") })?;
            Ok((number, stored, share))
        });
        decoded.collect()
    }

    /// Whether members may get the event: they are clients, but for handlers.
    pub(super) fn may_read(&self, group: &str, event: &Event) -> bool {
        if crate::handler::is_handlers(group) {
            return true;
        }
        let stream = || StreamName::from_stored(event.stream());
        self.configs.all_open_to_readers() || self.configs.may_read(&stream(), Caller::Api)
    }
}
