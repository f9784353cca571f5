//! A memory store that several hosts share, which counts reads and fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamConfigRecord, StreamInfo,
};
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{
    Committed, Direction, Document, DocumentStore, Documents, Head, Import, LogRead, LogStore, PageLimit, PluginStore,
    Rejection, Store, StoreError, Unit,
};

/// One host's connection.
pub(crate) struct Shared {
    memory: Arc<MemoryStore>,
    commits: Arc<watch::Sender<u64>>,
    seen: Mutex<watch::Receiver<u64>>,
    /// Pages of the log that this host has read.
    pub(crate) log_reads: AtomicUsize,
    /// Whether the head cannot be read.
    pub(crate) unreachable: AtomicBool,
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::default()), Arc::new(watch::Sender::new(0)))
    }

    /// Another host's connection to the same store.
    pub(crate) fn beside(&self) -> Arc<Self> {
        Self::over(Arc::clone(&self.memory), Arc::clone(&self.commits))
    }

    fn over(memory: Arc<MemoryStore>, commits: Arc<watch::Sender<u64>>) -> Arc<Self> {
        let seen = Mutex::new(commits.subscribe());
        Arc::new(Self { memory, commits, seen, log_reads: AtomicUsize::new(0), unreachable: AtomicBool::new(false) })
    }
}

#[async_trait]
impl LogStore for Shared {
    async fn head(&self) -> Result<Head, StoreError> {
        match self.unreachable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("as told".into())),
            false => self.memory.head().await,
        }
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        self.log_reads.fetch_add(1, Ordering::SeqCst);
        // As any real store it takes a while.
        tokio::task::yield_now().await;
        self.memory.read_log(from, direction, filter, limit).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        self.memory.read_stream(stream, from, direction, limit).await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.memory.position_at(time).await
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        match stream.as_str() {
            "damaged" => Err(StoreError::Damaged { what: "as its name says".into() }),
            _ => self.memory.offset_at(stream, time).await,
        }
    }

    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError> {
        self.memory.find_events(ids).await
    }

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError> {
        self.memory.stream(name).await
    }

    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError> {
        self.memory.streams(pattern, after, limit).await
    }

    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Result<Vec<RemovedEvent>, StoreError> {
        self.memory.removed_events(after, limit).await
    }

    async fn stream_configs(&self) -> Result<Vec<StreamConfigRecord>, StoreError> {
        self.memory.stream_configs().await
    }
}

/// These tests have no plugins.
#[async_trait]
impl DocumentStore for Shared {
    async fn document(&self, _: GenerationId, _: &str, _: &str) -> Result<Option<Bytes>, StoreError> {
        unreachable!()
    }

    async fn documents(&self, _: GenerationId, _: &str, _: &[String]) -> Result<Vec<Option<Bytes>>, StoreError> {
        unreachable!()
    }

    async fn scan(
        &self,
        _: GenerationId,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: usize,
    ) -> Result<Documents, StoreError> {
        Ok(Documents { documents: Vec::<Document>::new(), more: false })
    }

    async fn count(&self, _: GenerationId, _: &str) -> Result<u64, StoreError> {
        unreachable!()
    }

    async fn collections(&self, _: GenerationId) -> Result<Vec<String>, StoreError> {
        unreachable!()
    }
}

#[async_trait]
impl PluginStore for Shared {
    async fn plugins(&self) -> Result<Vec<PluginRecord>, StoreError> {
        self.memory.plugins().await
    }

    async fn revisions(&self) -> Result<Vec<RevisionRecord>, StoreError> {
        self.memory.revisions().await
    }

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        self.memory.generations().await
    }

    async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        self.memory.component(sha256).await
    }
}

#[async_trait]
impl Store for Shared {
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        let outcomes = self.memory.commit(units, now).await;
        self.commits.send_modify(|commits| *commits += 1);
        // The other hosts may hear of it before this one's writer does.
        tokio::task::yield_now().await;
        outcomes
    }

    async fn changed(&self) {
        let _ = self.seen.lock().await.changed().await;
    }

    async fn import(&self, part: Import) -> Result<(), StoreError> {
        self.memory.import(part).await
    }

    async fn close(&self) {}
}
