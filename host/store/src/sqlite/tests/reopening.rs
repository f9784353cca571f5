//! A store that is closed and opened before every call: it knows nothing but what is in the file.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamConfigRecord, StreamInfo,
};
use wasmill_core::store::{
    Committed, Direction, DocumentStore, Documents, Head, Import, LogRead, LogStore, PageLimit, PluginStore, Rejection,
    Store, StoreError, Unit,
};

use super::{SqliteStore, open};

type Answer<T> = Result<T, StoreError>;

pub(super) struct Reopening {
    path: PathBuf,
    store: Mutex<SqliteStore>,
}

impl Reopening {
    pub(super) async fn at(path: &Path) -> Self {
        Self { path: path.into(), store: Mutex::new(open(path).await) }
    }

    /// The suite moves a checkpoint over an empty log; such a database is refused, so it stays open.
    async fn reopened(&self) -> MutexGuard<'_, SqliteStore> {
        let mut store = self.store.lock().await;
        let head = store.head().await.expect("the head is read").next_position;
        let generations = store.generations().await.expect("generations are read");
        if generations.iter().any(|generation| generation.checkpoint > head) {
            return store;
        }
        store.close().await;
        *store = open(&self.path).await;
        store
    }
}

#[async_trait]
impl LogStore for Reopening {
    async fn head(&self) -> Answer<Head> {
        self.reopened().await.head().await
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Answer<LogRead> {
        self.reopened().await.read_log(from, direction, filter, limit).await
    }

    async fn position_at(&self, time: Timestamp) -> Answer<Position> {
        self.reopened().await.position_at(time).await
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Answer<Offset> {
        self.reopened().await.offset_at(stream, time).await
    }

    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Answer<Vec<RemovedEvent>> {
        self.reopened().await.removed_events(after, limit).await
    }

    async fn stream_configs(&self) -> Answer<Vec<StreamConfigRecord>> {
        self.reopened().await.stream_configs().await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Answer<Vec<Event>> {
        self.reopened().await.read_stream(stream, from, direction, limit).await
    }

    async fn find_events(&self, ids: &[Uuid]) -> Answer<Vec<Event>> {
        self.reopened().await.find_events(ids).await
    }

    async fn stream(&self, name: &StreamName) -> Answer<Option<StreamInfo>> {
        self.reopened().await.stream(name).await
    }

    async fn streams(&self, pattern: Option<&Pattern>, after: Option<&str>, limit: usize) -> Answer<Vec<StreamInfo>> {
        self.reopened().await.streams(pattern, after, limit).await
    }
}

#[async_trait]
impl DocumentStore for Reopening {
    async fn document(&self, generation: GenerationId, collection: &str, key: &str) -> Answer<Option<Bytes>> {
        self.reopened().await.document(generation, collection, key).await
    }

    async fn documents(
        &self,
        generation: GenerationId,
        collection: &str,
        keys: &[String],
    ) -> Answer<Vec<Option<Bytes>>> {
        self.reopened().await.documents(generation, collection, keys).await
    }

    async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<Documents> {
        self.reopened().await.scan(generation, collection, prefix, after, limit).await
    }

    async fn scan_back(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Answer<Documents> {
        self.reopened().await.scan_back(generation, collection, prefix, before, limit).await
    }

    async fn count(&self, generation: GenerationId, collection: &str, prefix: &str) -> Answer<u64> {
        self.reopened().await.count(generation, collection, prefix).await
    }

    async fn collections(&self, generation: GenerationId) -> Answer<Vec<String>> {
        self.reopened().await.collections(generation).await
    }
}

#[async_trait]
impl PluginStore for Reopening {
    async fn plugins(&self) -> Answer<Vec<PluginRecord>> {
        self.reopened().await.plugins().await
    }

    async fn revisions(&self) -> Answer<Vec<RevisionRecord>> {
        self.reopened().await.revisions().await
    }

    async fn generations(&self) -> Answer<Vec<GenerationRecord>> {
        self.reopened().await.generations().await
    }

    async fn component(&self, sha256: &str) -> Answer<Option<Bytes>> {
        self.reopened().await.component(sha256).await
    }
}

#[async_trait]
impl Store for Reopening {
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Answer<Vec<Result<Committed, Rejection>>> {
        self.reopened().await.commit(units, now).await
    }

    async fn import(&self, part: Import) -> Answer<()> {
        self.reopened().await.import(part).await
    }

    async fn close(&self) {
        self.store.lock().await.close().await;
    }
}
