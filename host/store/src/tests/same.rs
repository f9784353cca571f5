//! Databases beside the memory store, which says what each answer has to be.

use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Event, Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::GenerationId;
use wasmill_core::store::copy::{CopyError, copy};
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{
    Appended, Committed, Direction, DocumentStore, LogRead, LogStore, PageLimit, PluginStore, Rejection, Store,
    StoreError, Unit,
};

use crate::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};

/// The stores side by side, each with the same history.
pub(crate) struct Side {
    pub(crate) memory: MemoryStore,
    databases: Vec<(Database, Box<dyn Store>)>,
}

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Database {
    pub(crate) async fn open(&self) -> Box<dyn Store> {
        match self {
            Database::Sqlite(path) => Box::new(SqliteStore::open(SqliteOptions::at(path)).await.expect("it opens")),
            Database::Postgres(url) => Box::new(PostgresStore::open(PostgresOptions::at(url)).await.expect("it opens")),
        }
    }
}

fn same<T: PartialEq + Debug>(
    what: &str,
    memory: &Result<T, StoreError>,
    database: &Database,
    answer: Result<T, StoreError>,
) {
    let (memory, answer) = (memory.as_ref().expect("memory answers"), answer.expect("the database answers"));
    assert!(answer == *memory, "{what}: memory says\n{memory:?}\nand {database:?}\n{answer:?}");
}

/// Asks every store, and compares the answers as `as_told` sees them.
macro_rules! ask {
    ($self:ident, $what:expr, $as_told:expr, $store:ident => $call:expr) => {{
        let $store = &$self.memory;
        let memory = $call.await.map($as_told);
        for (database, store) in &$self.databases {
            let $store = store;
            let answer = $call.await.map($as_told);
            same(&$what, &memory, database, answer);
        }
        memory.expect("memory answers")
    }};
}

/// Events are the same when every byte is.
fn raw(events: Vec<Event>) -> Vec<Bytes> {
    events.iter().map(|event| event.raw().clone()).collect()
}

fn itself<T>(value: T) -> T {
    value
}

type Told = Result<(Vec<Appended>, Vec<(Position, Offset, Bytes)>, u64), Rejection>;

fn told(outcome: Result<Committed, Rejection>) -> Told {
    let chunk = |chunk: Chunk| (chunk.first_position, chunk.first_offset, chunk.run);
    outcome.map(|c| (c.appends, c.chunks.into_iter().map(chunk).collect(), c.removed))
}

impl Side {
    pub(crate) async fn by_side(databases: Vec<Database>) -> Self {
        let mut side = Self { memory: MemoryStore::default(), databases: Vec::new() };
        for database in databases {
            let store = database.open().await;
            side.databases.push((database, store));
        }
        side
    }

    /// With or without a farewell.
    pub(crate) async fn reopen(&mut self, close: bool) {
        for (database, store) in &mut self.databases {
            if close {
                store.close().await;
            }
            *store = database.open().await;
        }
    }

    /// Goes on with copies, each made of the store before it.
    pub(crate) async fn copied_to(&mut self, databases: Vec<Database>) {
        let mut copies: Vec<(Database, Box<dyn Store>)> = Vec::new();
        for database in databases {
            let to = database.open().await;
            let from = copies.last().or(self.databases.last()).map(|(_, store)| &**store);
            let progress = copy(from.expect("there is one"), &*to, |_| {}).await.expect("it is copied");
            assert_eq!(progress.position, progress.positions, "the copy is whole");
            let again = copy(&self.memory, &*to, |_| {}).await;
            assert!(progress.positions == 0 || matches!(again, Err(CopyError::NotEmpty { .. })), "and not made twice");
            copies.push((database, to));
        }
        self.databases = copies;
    }

    pub(crate) async fn commit(&self, units: &[Unit], now: Timestamp) {
        let told_all = |outcomes: Vec<_>| outcomes.into_iter().map(told).collect::<Vec<Told>>();
        ask!(self, "commit", told_all, store => store.commit(units, now));
    }

    pub(crate) async fn next_position(&self) -> u64 {
        let (position, _) = ask!(self, "head", |head| (head.next_position, head.revision), store => store.head());
        position.0
    }

    pub(crate) async fn read_log(&self, from: u64, direction: Direction, limit: PageLimit) {
        let what = format!("log from {from} {direction:?} {limit:?}");
        let events = |read: LogRead| raw(read.events);
        ask!(self, what, events, store => store.read_log(Position(from), direction, &Filter::default(), limit));
    }

    /// Reads a filter's pages to the end: stores may cut them differently.
    pub(crate) async fn walk(&self, from: u64, direction: Direction, filter: &Filter, limit: PageLimit) {
        let what = format!("log from {from} {direction:?} {limit:?} by {filter:?}");
        ask!(self, what, raw, store => all_pages(store.as_store(), from, direction, filter, limit));
    }

    pub(crate) async fn read_stream(&self, stream: &str, from: u64, direction: Direction, limit: PageLimit) {
        let name = StreamName::from_stored(stream);
        let what = format!("stream `{stream}` from {from} {direction:?} {limit:?}");
        ask!(self, what, raw, store => store.read_stream(&name, Offset(from), direction, limit));
    }

    pub(crate) async fn times(&self, stream: &str, time: Timestamp) {
        let name = StreamName::from_stored(stream);
        ask!(self, format!("position at {time:?}"), itself, store => store.position_at(time));
        ask!(self, format!("offset of `{stream}` at {time:?}"), itself, store => store.offset_at(&name, time));
    }

    pub(crate) async fn find_events(&self, ids: &[Uuid]) {
        let sorted = |mut events: Vec<Event>| {
            events.sort_by_key(Event::position);
            raw(events)
        };
        ask!(self, "events by id", sorted, store => store.find_events(ids));
    }

    pub(crate) async fn removed_events(&self, after: Option<Position>, limit: usize) {
        let what = format!("removed events after {after:?}, {limit}");
        ask!(self, what, itself, store => store.removed_events(after, limit));
    }

    pub(crate) async fn stream(&self, stream: &str) {
        let name = StreamName::from_stored(stream);
        ask!(self, format!("stream `{stream}`"), itself, store => store.stream(&name));
    }

    pub(crate) async fn streams(&self, pattern: Option<&Pattern>, after: Option<&str>, limit: usize) {
        let what = format!("streams {pattern:?} after {after:?}, {limit}");
        ask!(self, what, itself, store => store.streams(pattern, after, limit));
    }

    pub(crate) async fn documents(&self, generation: GenerationId, collection: &str, keys: &[String]) {
        ask!(self, "documents", itself, store => store.documents(generation, collection, keys));
        for key in keys {
            ask!(self, "document", itself, store => store.document(generation, collection, key));
        }
        ask!(self, "count", itself, store => store.count(generation, collection, ""));
        ask!(self, "collections", itself, store => store.collections(generation));
    }

    pub(crate) async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) {
        let what = format!("scan of `{prefix}` after {after:?}, {limit}");
        ask!(self, what, itself, store => store.scan(generation, collection, prefix, after, limit));
        let what = format!("count of `{prefix}`");
        ask!(self, what, itself, store => store.count(generation, collection, prefix));
        let what = format!("scan of `{prefix}` back before {after:?}, {limit}");
        ask!(self, what, itself, store => store.scan_back(generation, collection, prefix, after, limit));
    }

    pub(crate) async fn records(&self, components: &[&str]) {
        ask!(self, "plugins", itself, store => store.plugins());
        ask!(self, "revisions", itself, store => store.revisions());
        ask!(self, "generations", itself, store => store.generations());
        ask!(self, "stream configurations", itself, store => store.stream_configs());
        for sha256 in components {
            ask!(self, "component", itself, store => store.component(sha256));
        }
    }
}

/// Every event that a filter finds.
async fn all_pages(
    store: &dyn Store,
    from: u64,
    direction: Direction,
    filter: &Filter,
    limit: PageLimit,
) -> Result<Vec<Event>, StoreError> {
    let (mut events, mut next) = (Vec::new(), Some(Position(from)));
    while let Some(from) = next {
        let read = store.read_log(from, direction, filter, limit).await?;
        events.extend(read.events);
        next = read.next;
    }
    Ok(events)
}

/// For calls that want one type for every store.
trait AsStore {
    fn as_store(&self) -> &dyn Store;
}

impl AsStore for MemoryStore {
    fn as_store(&self) -> &dyn Store {
        self
    }
}

impl AsStore for Box<dyn Store> {
    fn as_store(&self) -> &dyn Store {
        &**self
    }
}
