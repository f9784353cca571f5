//! A store around another one, for tests: each answer goes through unless the wrapper gives another.

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use super::{
    Committed, Direction, DocumentStore, Documents, Head, Import, LogRead, LogStore, PageLimit, PluginStore, Rejection,
    Store, StoreError, Unit,
};
use crate::clock::Timestamp;
use crate::event::{Event, Offset, Position};
use crate::log::filter::Filter;
use crate::name::{Pattern, StreamName};
use crate::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamConfigRecord, StreamInfo,
};

/// What a wrapper may answer differently; whoever implements it is a [`Store`].
#[async_trait]
pub trait Wrapped: Send + Sync + 'static {
    fn wrapped(&self) -> &dyn Store;

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        self.wrapped().commit(units, now).await
    }

    async fn try_lead(&self) -> Result<Option<u64>, StoreError> {
        self.wrapped().try_lead().await
    }

    async fn changed(&self) {
        self.wrapped().changed().await;
    }

    fn is_shared(&self) -> bool {
        self.wrapped().is_shared()
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.wrapped().head().await
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        self.wrapped().read_log(from, direction, filter, limit).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        self.wrapped().read_stream(stream, from, direction, limit).await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.wrapped().position_at(time).await
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        self.wrapped().offset_at(stream, time).await
    }

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        self.wrapped().generations().await
    }
}

#[async_trait]
impl<W: Wrapped> LogStore for W {
    async fn head(&self) -> Result<Head, StoreError> {
        Wrapped::head(self).await
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        Wrapped::read_log(self, from, direction, filter, limit).await
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        Wrapped::read_stream(self, stream, from, direction, limit).await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        Wrapped::position_at(self, time).await
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        Wrapped::offset_at(self, stream, time).await
    }

    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError> {
        self.wrapped().find_events(ids).await
    }

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError> {
        self.wrapped().stream(name).await
    }

    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError> {
        self.wrapped().streams(pattern, after, limit).await
    }

    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Result<Vec<RemovedEvent>, StoreError> {
        self.wrapped().removed_events(after, limit).await
    }

    async fn stream_configs(&self) -> Result<Vec<StreamConfigRecord>, StoreError> {
        self.wrapped().stream_configs().await
    }
}

#[async_trait]
impl<W: Wrapped> DocumentStore for W {
    async fn document(
        &self,
        generation: GenerationId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        self.wrapped().document(generation, collection, key).await
    }

    async fn documents(
        &self,
        generation: GenerationId,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.wrapped().documents(generation, collection, keys).await
    }

    async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        self.wrapped().scan(generation, collection, prefix, after, limit).await
    }

    async fn scan_back(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        self.wrapped().scan_back(generation, collection, prefix, before, limit).await
    }

    async fn count(&self, generation: GenerationId, collection: &str, prefix: &str) -> Result<u64, StoreError> {
        self.wrapped().count(generation, collection, prefix).await
    }

    async fn collections(&self, generation: GenerationId) -> Result<Vec<String>, StoreError> {
        self.wrapped().collections(generation).await
    }
}

#[async_trait]
impl<W: Wrapped> PluginStore for W {
    async fn plugins(&self) -> Result<Vec<PluginRecord>, StoreError> {
        self.wrapped().plugins().await
    }

    async fn revisions(&self) -> Result<Vec<RevisionRecord>, StoreError> {
        self.wrapped().revisions().await
    }

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        Wrapped::generations(self).await
    }

    async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        self.wrapped().component(sha256).await
    }
}

#[async_trait]
impl<W: Wrapped> Store for W {
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        Wrapped::commit(self, units, now).await
    }

    async fn try_lead(&self) -> Result<Option<u64>, StoreError> {
        Wrapped::try_lead(self).await
    }

    async fn changed(&self) {
        Wrapped::changed(self).await;
    }

    fn is_shared(&self) -> bool {
        Wrapped::is_shared(self)
    }

    async fn import(&self, part: Import) -> Result<(), StoreError> {
        self.wrapped().import(part).await
    }

    async fn close(&self) {
        self.wrapped().close().await;
    }
}
