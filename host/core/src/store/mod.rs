//! The storage contract: what a database has to do for the host, in terms of a crash.
//!
//! Everything durable is a [`Unit`]; a store commits a group of units in one transaction. Which of
//! them pass, and what places they get, is decided by [`plan`], the same code for every store. The
//! [`memory`] store is the executable specification, [`conformance`] the suite that every store passes.

pub mod conformance;
pub mod memory;
pub mod plan;
pub mod unit;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::{Event, Offset, Position};
use crate::name::{Pattern, StreamName};
use crate::record::{GenerationId, GenerationRecord, PluginRecord, RevisionRecord};

pub use unit::{
    Appended, Change, Committed, DocumentChange, Expected, Rejection, StreamAppend, StreamCheck, Unit, WrongOffset,
};

pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A store that could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may answer later: a lost connection, a lock held by another process.
    #[error("the store cannot be reached at the moment")]
    Unavailable(#[source] Source),
    /// The disk is full; reads go on.
    #[error("the store has no space left")]
    Full(#[source] Source),
    /// What is stored contradicts itself.
    #[error("the store is damaged: {what}")]
    Damaged { what: String },
    /// Nothing is known of what was written: the host must stop.
    #[error("the store failed")]
    Failed(#[source] Source),
}

/// What a store knows of itself when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The position that the next event gets.
    pub next_position: Position,
    /// Made when the log was; part of every resume token.
    pub log_id: Uuid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Backward,
}

/// How much a page may hold. A page holds at least one event if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    pub events: usize,
    pub bytes: usize,
}

/// Facts of a stream, kept beside it so that they cost one look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    pub name: StreamName,
    /// Oldest offset that can still be read.
    pub first_offset: Offset,
    /// The offset that the next event gets: the number of events ever appended.
    pub next_offset: Offset,
    /// Encoded size of its events.
    pub bytes: u64,
    pub created_at: Timestamp,
    pub last_recorded_at: Timestamp,
    /// Position of its newest event.
    pub last_position: Position,
}

/// One document of a read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub key: String,
    pub value: Bytes,
}

/// A page of documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    pub documents: Vec<Document>,
    /// Whether there are more behind them.
    pub more: bool,
}

#[async_trait]
pub trait LogStore: Send + Sync {
    async fn head(&self) -> Result<Head, StoreError>;

    /// Events in position order from `from` (inclusive) on, or downwards from it.
    async fn read_log(&self, from: Position, direction: Direction, limit: PageLimit) -> Result<Vec<Event>, StoreError>;

    /// The same for one stream, by offset. An unknown stream has no events.
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError>;

    /// Those of `ids` that the log knows, in any order.
    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError>;

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError>;

    /// Streams in byte order of their names, after `after`, matching `pattern`.
    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError>;
}

#[async_trait]
pub trait DocumentStore: Send + Sync {
    async fn document(
        &self,
        generation: GenerationId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError>;

    /// One answer for each key, in order.
    async fn documents(
        &self,
        generation: GenerationId,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Documents in byte order of their keys, those that begin with `prefix` and come after `after`.
    /// A page ends at `limit` documents or 4 MiB.
    async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError>;

    async fn count(&self, generation: GenerationId, collection: &str) -> Result<u64, StoreError>;
}

#[async_trait]
pub trait PluginStore: Send + Sync {
    /// All plugins, in byte order of their names.
    async fn plugins(&self) -> Result<Vec<PluginRecord>, StoreError>;

    /// Every revision of every plugin, by plugin and number.
    async fn revisions(&self) -> Result<Vec<RevisionRecord>, StoreError>;

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError>;

    /// The bytes of an uploaded component.
    async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StoreError>;
}

#[async_trait]
pub trait Store: LogStore + DocumentStore + PluginStore + 'static {
    /// Commits the units that pass, in order, in one transaction; a unit that fails drops out alone.
    /// On return everything answered with `Ok` survives a power cut. On an error nothing of the
    /// group was written, but for [`StoreError::Failed`], after which nothing is known.
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError>;

    /// Finishes what runs and closes; later calls fail.
    async fn close(&self);
}
