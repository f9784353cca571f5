//! The store beside the memory store, which says what each answer has to be.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Chunk, Event, Offset, Position};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::GenerationId;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{
    Appended, Committed, Direction, DocumentStore, LogStore, PageLimit, PluginStore, Rejection, Store, StoreError, Unit,
};

use super::{SqliteStore, open};

pub(super) struct Both {
    path: PathBuf,
    pub(super) memory: MemoryStore,
    sqlite: SqliteStore,
}

fn same<T: PartialEq + Debug>(what: &str, memory: Result<T, StoreError>, sqlite: Result<T, StoreError>) {
    let (memory, sqlite) = (memory.expect("memory answers"), sqlite.expect("SQLite answers"));
    assert!(sqlite == memory, "{what}: memory says\n{memory:?}\nand SQLite\n{sqlite:?}");
}

/// Events are the same when every byte is.
fn raw(events: Result<Vec<Event>, StoreError>) -> Result<Vec<Bytes>, StoreError> {
    events.map(|events| events.iter().map(|event| event.raw().clone()).collect())
}

type Told = Result<(Vec<Appended>, Vec<(Position, Offset, Bytes)>, u64), Rejection>;

fn told(outcome: Result<Committed, Rejection>) -> Told {
    let chunk = |chunk: Chunk| (chunk.first_position, chunk.first_offset, chunk.run);
    outcome.map(|c| (c.appends, c.chunks.into_iter().map(chunk).collect(), c.removed))
}

impl Both {
    pub(super) async fn at(path: &Path) -> Self {
        Self { path: path.into(), memory: MemoryStore::default(), sqlite: open(path).await }
    }

    /// Half of the times without a farewell.
    pub(super) async fn reopen(&mut self, close: bool) {
        if close {
            self.sqlite.close().await;
        }
        self.sqlite = open(&self.path).await;
    }

    pub(super) async fn commit(&self, units: &[Unit], now: Timestamp) {
        let told_all = |outcomes: Vec<_>| outcomes.into_iter().map(told).collect::<Vec<Told>>();
        let memory = self.memory.commit(units, now).await.map(told_all);
        same("commit", memory, self.sqlite.commit(units, now).await.map(told_all));
    }

    pub(super) async fn next_position(&self) -> u64 {
        let (memory, sqlite) = (self.memory.head().await, self.sqlite.head().await);
        same("head", memory.map(|head| head.next_position), sqlite.map(|head| head.next_position));
        self.memory.head().await.expect("memory answers").next_position.0
    }

    pub(super) async fn read_log(&self, from: u64, direction: Direction, limit: PageLimit) {
        let memory = self.memory.read_log(Position(from), direction, limit).await;
        let sqlite = self.sqlite.read_log(Position(from), direction, limit).await;
        same(&format!("log from {from} {direction:?} {limit:?}"), raw(memory), raw(sqlite));
    }

    pub(super) async fn read_stream(&self, stream: &str, from: u64, direction: Direction, limit: PageLimit) {
        let name = StreamName::from_stored(stream);
        let memory = self.memory.read_stream(&name, Offset(from), direction, limit).await;
        let sqlite = self.sqlite.read_stream(&name, Offset(from), direction, limit).await;
        same(&format!("stream `{stream}` from {from} {direction:?} {limit:?}"), raw(memory), raw(sqlite));
    }

    pub(super) async fn find_events(&self, ids: &[Uuid]) {
        let sorted = |events: Result<Vec<Event>, _>| {
            events.map(|mut events| {
                events.sort_by_key(Event::position);
                events
            })
        };
        let (memory, sqlite) = (self.memory.find_events(ids).await, self.sqlite.find_events(ids).await);
        same("events by id", raw(sorted(memory)), raw(sorted(sqlite)));
    }

    pub(super) async fn stream(&self, stream: &str) {
        let name = StreamName::from_stored(stream);
        same(&format!("stream `{stream}`"), self.memory.stream(&name).await, self.sqlite.stream(&name).await);
    }

    pub(super) async fn streams(&self, pattern: Option<&Pattern>, after: Option<&str>, limit: usize) {
        let memory = self.memory.streams(pattern, after, limit).await;
        let sqlite = self.sqlite.streams(pattern, after, limit).await;
        same(&format!("streams {pattern:?} after {after:?}, {limit}"), memory, sqlite);
    }

    pub(super) async fn documents(&self, generation: GenerationId, collection: &str, keys: &[String]) {
        let memory = self.memory.documents(generation, collection, keys).await;
        same("documents", memory, self.sqlite.documents(generation, collection, keys).await);
        for key in keys {
            let memory = self.memory.document(generation, collection, key).await;
            same("document", memory, self.sqlite.document(generation, collection, key).await);
        }
        let memory = self.memory.count(generation, collection).await;
        same("count", memory, self.sqlite.count(generation, collection).await);
    }

    pub(super) async fn scan(
        &self,
        generation: GenerationId,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) {
        let memory = self.memory.scan(generation, collection, prefix, after, limit).await;
        let sqlite = self.sqlite.scan(generation, collection, prefix, after, limit).await;
        same(&format!("scan of `{prefix}` after {after:?}, {limit}"), memory, sqlite);
    }

    pub(super) async fn records(&self, components: &[&str]) {
        same("plugins", self.memory.plugins().await, self.sqlite.plugins().await);
        same("revisions", self.memory.revisions().await, self.sqlite.revisions().await);
        same("generations", self.memory.generations().await, self.sqlite.generations().await);
        for sha256 in components {
            same("component", self.memory.component(sha256).await, self.sqlite.component(sha256).await);
        }
    }
}
