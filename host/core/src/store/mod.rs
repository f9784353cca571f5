//! The storage contract: what a database has to do for the host, in terms of a crash.
//!
//! Everything durable is a [`Unit`]; a store commits a group of units in one transaction. Which of
//! them pass, and what places they get, is decided by [`plan`], the same code for every store. The
//! [`memory`] store is the executable specification, [`conformance`] the suite that every store passes.

pub mod conformance;
pub mod copy;
pub mod memory;
pub mod plan;
pub mod prefix;
pub mod unit;
pub mod wrapped;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::{Event, Offset, Position};
use crate::log::filter::Filter;
use crate::name::{Pattern, StreamName};
use crate::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamConfigRecord, StreamInfo,
};

pub use unit::{
    AppendCondition, Appended, Change, Committed, DocumentChange, Expected, FailedCondition, Guard, Rejection,
    StreamAppend, StreamCheck, Unit, WrongOffset,
};

pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// A store that could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It may answer later: a lost connection, a lock held by another process.
    #[error("the store cannot be reached at the moment")]
    Unavailable(#[source] Source),
    /// The disk is full; reads go on.
    #[error("the disk of the store is full")]
    Full(#[source] Source),
    /// What is stored contradicts itself. A commit that fails with it has written nothing: it met the
    /// damage while it looked something up.
    #[error("the store is damaged: {what}")]
    Damaged { what: String },
    /// The connection was lost while a group was being committed: whether it was is found out before the
    /// next one; repeating with the same event ids settles it for a publisher.
    #[error("the connection to the store was lost in mid-commit")]
    Unknown(#[source] Source),
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
    /// Counts removals of events, and changes of stream configurations and of schemas: what a host
    /// remembers of any of them is stale when it has moved.
    pub revision: u64,
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

/// What a read of the log has found.
#[derive(Clone, Debug, Default)]
pub struct LogRead {
    /// Matching events, in reading order.
    pub events: Vec<Event>,
    /// Where looking goes on: every event before it, in the direction of reading, was looked at.
    /// `None` when nothing is left.
    pub next: Option<Position>,
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

    /// Events that match, in position order from `from` (inclusive) on, or downwards from it. It looks
    /// at a bounded number of events, so that a page may be empty and yet not the last.
    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError>;

    /// The same for one stream, by offset. An unknown stream has no events.
    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError>;

    /// Position of the oldest event that was recorded at `time` or later; the head when there is none.
    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError>;

    /// The same within a stream; the offset of its next event when there is none.
    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError>;

    /// Those of `ids` that the log knows and still has, in any order.
    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError>;

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError>;

    /// Streams in byte order of their names, after `after`, matching `pattern`.
    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError>;

    /// What is remembered of removed events, by position, after `after`.
    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Result<Vec<RemovedEvent>, StoreError>;

    /// Every stream configuration, in byte order of the patterns; those of single streams come last.
    async fn stream_configs(&self) -> Result<Vec<StreamConfigRecord>, StoreError>;
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

    /// The same from the other end: those that come before `before`, from the last one downwards.
    async fn scan_back(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError>;

    /// How many documents of a collection have keys that begin with `prefix`.
    async fn count(&self, generation: GenerationId, collection: &str, prefix: &str) -> Result<u64, StoreError>;

    /// Names of the collections that have documents, those of indexes included, in byte order.
    async fn collections(&self, generation: GenerationId) -> Result<Vec<String>, StoreError>;
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
    /// Commits the units that pass, in order, in one transaction; a unit that fails drops out alone. A
    /// unit that [stands alone](Unit::stands_alone) is the only one of its group.
    /// On return everything answered with `Ok` survives a power cut. On an error nothing of the
    /// group was written, but for [`StoreError::Failed`] and [`StoreError::Unknown`], after which that
    /// is not known.
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError>;

    /// Resolves when another host may have moved the head; never for a store that has one host.
    async fn changed(&self) {
        std::future::pending().await
    }

    /// Whether other hosts may use the same store at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// The term in which this host has the lead, which one host of a store has at a time: takes it if it is free, and
    /// keeps it until it closes or loses its connection. With another number than before it was lost in between, and
    /// another host may have had it; `None` while one has it.
    async fn try_lead(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(0))
    }

    /// Takes over what another store has, places unchanged; for a store that nobody else uses. A
    /// copy begins with the events, in position order, and ends with [`Import::Head`].
    async fn import(&self, part: Import) -> Result<(), StoreError>;

    /// Finishes what runs and closes; later calls fail.
    async fn close(&self);
}

/// A part of a copy between stores. Plugins, documents and configurations are copied as [`Unit`]s.
#[derive(Clone, Debug)]
pub enum Import {
    /// The next events of the log, with holes where others were removed.
    Events(Vec<Event>),
    Removed(Vec<RemovedEvent>),
    /// Facts of streams, which replace those that follow from the events.
    Streams(Vec<StreamInfo>),
    /// Makes the copy whole.
    Head {
        head: Head,
        recorded_at: Timestamp,
    },
}
