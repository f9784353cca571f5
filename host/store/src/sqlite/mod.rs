//! The embedded database: one SQLite file.
//!
//! One connection writes, a few read, one copies the write-ahead log into the file. The file belongs to
//! one host at a time; the host locks its data directory before it opens a store in it.

mod changes;
mod checkpointer;
mod commit;
mod configs;
mod documents;
mod error;
mod filtered;
mod import;
mod log;
mod migrations;
mod open;
mod pages;
mod plugins;
mod removal;
mod rows;
mod streams;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::Connection;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqlitePool};
use tokio::sync::Mutex;
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

use crate::matches::onward;

use crate::page::Axis;
use checkpointer::Checkpointer;
use commit::Writer;
use error::{Failure, store_error};

pub(crate) use open::schema_version;
pub use open::{OpenError, SqliteOptions};

/// A [`Store`] in one SQLite file.
pub struct SqliteStore {
    file: Arc<Path>,
    readers: SqlitePool,
    writer: Arc<Mutex<Writer>>,
    checkpointer: Checkpointer,
}

impl SqliteStore {
    /// Opens the database, making or migrating it as necessary. Belongs in a Tokio runtime, where it
    /// leaves a task behind.
    pub async fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let (writer, readers) = open::open(&options).await?;
        let (file, committed) = (Arc::clone(&writer.file), Arc::clone(&writer.committed));
        let writer = Arc::new(Mutex::new(writer));
        let checkpointer = Checkpointer::start(Arc::clone(&file), Arc::clone(&writer), committed);
        Ok(Self { file, readers, writer, checkpointer })
    }

    /// Without a connection nothing has been asked: what is in the way, such as too many open files, may
    /// go away.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(|error| match self.error(error) {
            StoreError::Failed(source) => StoreError::Unavailable(source),
            other => other,
        })
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        store_error(&self.file, error)
    }

    async fn page(
        &self,
        axis: Axis<'_>,
        from: u64,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        let read = pages::read(&mut *self.reader().await?, axis, from, direction, limit).await;
        read.map_err(|failure: Failure| failure.of(&self.file))
    }
}

#[async_trait]
impl LogStore for SqliteStore {
    async fn head(&self) -> Result<Head, StoreError> {
        let (head, _) = log::head(&mut *self.reader().await?).await.map_err(|error| self.error(error))?;
        Ok(head)
    }

    async fn read_log(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        if filter.matches_all() {
            let events = self.page(Axis::Log, from.0, direction, limit).await?;
            let next = events.last().and_then(|last| onward(last.position(), direction));
            return Ok(LogRead { events, next });
        }
        let read = filtered::read(&mut *self.reader().await?, from, direction, filter, limit).await;
        read.map_err(|failure| failure.of(&self.file))
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        self.page(Axis::Stream(stream), from.0, direction, limit).await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        times::position_at(&mut *self.reader().await?, time).await.map_err(|error| self.error(error))
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        times::offset_at(&mut *self.reader().await?, stream, time).await.map_err(|error| self.error(error))
    }

    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError> {
        let ids: HashSet<Uuid> = ids.iter().copied().collect();
        let found = log::find(&mut *self.reader().await?, &ids).await;
        found.map_err(|failure| failure.of(&self.file))
    }

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError> {
        streams::stream(&mut *self.reader().await?, name).await.map_err(|error| self.error(error))
    }

    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError> {
        let streams = streams::streams(&mut *self.reader().await?, pattern, after, limit).await;
        streams.map_err(|error| self.error(error))
    }

    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Result<Vec<RemovedEvent>, StoreError> {
        let removed = removal::removed(&mut *self.reader().await?, after, limit).await;
        removed.map_err(|failure| failure.of(&self.file))
    }

    async fn stream_configs(&self) -> Result<Vec<StreamConfigRecord>, StoreError> {
        configs::all(&mut *self.reader().await?).await.map_err(|error| self.error(error))
    }
}

#[async_trait]
impl DocumentStore for SqliteStore {
    async fn document(
        &self,
        generation: GenerationId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        let document = documents::document(&mut *self.reader().await?, generation, collection, key).await;
        document.map_err(|error| self.error(error))
    }

    async fn documents(
        &self,
        generation: GenerationId,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let documents = documents::documents(&mut *self.reader().await?, generation, collection, keys).await;
        documents.map_err(|error| self.error(error))
    }

    async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        let page = documents::scan(&mut *self.reader().await?, generation, collection, prefix, after, limit).await;
        page.map_err(|error| self.error(error))
    }

    async fn scan_back(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Documents, StoreError> {
        let page =
            documents::scan_back(&mut *self.reader().await?, generation, collection, prefix, before, limit).await;
        page.map_err(|error| self.error(error))
    }

    async fn count(&self, generation: GenerationId, collection: &str, prefix: &str) -> Result<u64, StoreError> {
        let count = documents::count(&mut *self.reader().await?, generation, collection, prefix).await;
        count.map_err(|error| self.error(error))
    }

    async fn collections(&self, generation: GenerationId) -> Result<Vec<String>, StoreError> {
        let names = documents::collections(&mut *self.reader().await?, generation).await;
        names.map_err(|error| self.error(error))
    }
}

#[async_trait]
impl PluginStore for SqliteStore {
    async fn plugins(&self) -> Result<Vec<PluginRecord>, StoreError> {
        plugins::plugins(&mut *self.reader().await?).await.map_err(|error| self.error(error))
    }

    async fn revisions(&self) -> Result<Vec<RevisionRecord>, StoreError> {
        plugins::revisions(&mut *self.reader().await?).await.map_err(|error| self.error(error))
    }

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        plugins::generations(&mut *self.reader().await?).await.map_err(|error| self.error(error))
    }

    async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        plugins::component(&mut *self.reader().await?, sha256).await.map_err(|error| self.error(error))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        commit::commit(Arc::clone(&self.writer).lock_owned().await, units, now).await
    }

    async fn import(&self, part: Import) -> Result<(), StoreError> {
        self.writer.lock().await.import(part).await
    }

    async fn close(&self) {
        self.checkpointer.stop().await;
        let connection = self.writer.lock().await.connection.take();
        self.readers.close().await;
        if let Some(mut connection) = connection {
            // What cannot be copied now is recovered from the write-ahead log at the next start.
            let finished = checkpointer::finish(&mut connection).await.and(connection.close().await);
            if let Err(error) = finished {
                tracing::warn!(file = %self.file.display(), error = %error, "the database was not closed cleanly");
            }
        }
    }
}
