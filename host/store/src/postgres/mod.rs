//! PostgreSQL, shared by any number of hosts.
//!
//! One connection writes, a few read, one listens for the other hosts. The files are those of the SQLite
//! store; what is more is in `commit` (one order for all hosts) and `others` (who wakes whom).

mod changes;
mod commit;
mod configs;
mod connect;
mod documents;
mod error;
mod filtered;
mod import;
mod log;
mod migrations;
mod open;
mod others;
mod pages;
mod plugins;
mod removal;
mod streams;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, Postgres};
use tokio::runtime::Handle;
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

use crate::location::SchemaVersion;
use crate::matches::onward;
use crate::page::Axis;
use commit::Writer;
use error::store_error;
use others::Others;

pub use open::{OpenError, PostgresOptions};

/// A [`Store`] in a PostgreSQL database.
pub struct PostgresStore {
    readers: PgPool,
    /// Where connections are made. Plugins read documents from threads whose runtime has no sockets, and a
    /// connection belongs to the runtime that made it.
    runtime: Handle,
    writer: Mutex<Writer>,
    others: Others,
}

/// Whether a text is a URL that PostgreSQL's options can be read from.
pub(crate) fn is_url(text: &str) -> bool {
    open::parse(text).is_ok()
}

/// A URL without what must not be shown.
pub(crate) fn shown(url: &str) -> String {
    open::parse(url).map_or_else(|_| "postgres:".into(), |options| open::place(&options))
}

/// Which version a database has; nothing is written to it.
pub(crate) async fn schema_version(url: &str) -> Result<SchemaVersion, OpenError> {
    open::schema_version(url).await
}

impl PostgresStore {
    /// Opens the database, migrating it as necessary and allowed.
    pub async fn open(options: PostgresOptions) -> Result<Self, OpenError> {
        let (writer, readers, place) = open::open(&options).await?;
        tracing::debug!(database = place, host = %writer.host, "the database is open");
        let others = Others::new(writer.host, readers.clone());
        Ok(Self { readers, runtime: Handle::current(), writer: Mutex::new(writer), others })
    }

    /// Without a connection nothing has been asked: what is in the way may go away.
    async fn reader(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        let pool = self.readers.clone();
        let acquired = self.runtime.spawn(async move { pool.acquire().await }).await;
        let acquired = acquired.map_err(|ended| StoreError::Unavailable(ended.into()))?;
        acquired.map_err(|error| match store_error(error) {
            StoreError::Failed(source) => StoreError::Unavailable(source),
            other => other,
        })
    }

    async fn page(
        &self,
        axis: Axis<'_>,
        from: u64,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        Ok(pages::read(&mut *self.reader().await?, axis, from, direction, limit).await?)
    }
}

#[async_trait]
impl LogStore for PostgresStore {
    async fn head(&self) -> Result<Head, StoreError> {
        let (head, _) = log::head(&mut *self.reader().await?).await.map_err(store_error)?;
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
        read.map_err(StoreError::from)
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
        times::position_at(&mut *self.reader().await?, time).await.map_err(store_error)
    }

    async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, StoreError> {
        times::offset_at(&mut *self.reader().await?, stream, time).await.map_err(store_error)
    }

    async fn find_events(&self, ids: &[Uuid]) -> Result<Vec<Event>, StoreError> {
        let ids: HashSet<Uuid> = ids.iter().copied().collect();
        let found = log::find(&mut *self.reader().await?, &ids).await;
        found.map_err(StoreError::from)
    }

    async fn stream(&self, name: &StreamName) -> Result<Option<StreamInfo>, StoreError> {
        streams::stream(&mut *self.reader().await?, name).await.map_err(store_error)
    }

    async fn streams(
        &self,
        pattern: Option<&Pattern>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamInfo>, StoreError> {
        let streams = streams::streams(&mut *self.reader().await?, pattern, after, limit).await;
        streams.map_err(store_error)
    }

    async fn removed_events(&self, after: Option<Position>, limit: usize) -> Result<Vec<RemovedEvent>, StoreError> {
        let removed = removal::removed(&mut *self.reader().await?, after, limit).await;
        removed.map_err(StoreError::from)
    }

    async fn stream_configs(&self) -> Result<Vec<StreamConfigRecord>, StoreError> {
        configs::all(&mut *self.reader().await?).await.map_err(store_error)
    }
}

#[async_trait]
impl DocumentStore for PostgresStore {
    async fn document(
        &self,
        generation: GenerationId,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        let document = documents::document(&mut *self.reader().await?, generation, collection, key).await;
        document.map_err(store_error)
    }

    async fn documents(
        &self,
        generation: GenerationId,
        collection: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let documents = documents::documents(&mut *self.reader().await?, generation, collection, keys).await;
        documents.map_err(store_error)
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
        page.map_err(store_error)
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
        page.map_err(store_error)
    }

    async fn count(&self, generation: GenerationId, collection: &str, prefix: &str) -> Result<u64, StoreError> {
        let count = documents::count(&mut *self.reader().await?, generation, collection, prefix).await;
        count.map_err(store_error)
    }

    async fn collections(&self, generation: GenerationId) -> Result<Vec<String>, StoreError> {
        let names = documents::collections(&mut *self.reader().await?, generation).await;
        names.map_err(store_error)
    }
}

#[async_trait]
impl PluginStore for PostgresStore {
    async fn plugins(&self) -> Result<Vec<PluginRecord>, StoreError> {
        plugins::plugins(&mut *self.reader().await?).await.map_err(store_error)
    }

    async fn revisions(&self) -> Result<Vec<RevisionRecord>, StoreError> {
        plugins::revisions(&mut *self.reader().await?).await.map_err(store_error)
    }

    async fn generations(&self) -> Result<Vec<GenerationRecord>, StoreError> {
        plugins::generations(&mut *self.reader().await?).await.map_err(store_error)
    }

    async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        plugins::component(&mut *self.reader().await?, sha256).await.map_err(store_error)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        self.writer.lock().await.commit(units, now).await
    }

    async fn changed(&self) {
        self.others.changed().await;
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn try_lead(&self) -> Result<Option<u64>, StoreError> {
        self.others.try_lead().await.map_err(store_error)
    }

    async fn import(&self, part: Import) -> Result<(), StoreError> {
        self.writer.lock().await.import(part).await
    }

    async fn close(&self) {
        self.others.leave().await;
        self.writer.lock().await.close().await;
        self.readers.close().await;
    }
}
