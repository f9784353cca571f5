//! The SQLite store beside the contract, and what only a file can show.

mod contract;
mod crash;
mod damage;
mod dropped;
mod failures;
mod growth;
mod kept;
mod pages;
mod refused;
mod reopening;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Event, NewEvent, Position, PreparedEvent};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::StreamName;
use wasmill_core::record::{GenerationId, GenerationRecord, GenerationState};
use wasmill_core::store::{
    Change, Committed, Direction, DocumentChange, Expected, LogStore, PageLimit, Rejection, Store, StreamAppend, Unit,
};

use super::{SqliteOptions, SqliteStore};

const NOW: Timestamp = Timestamp(1_000_000);
const ALL: PageLimit = PageLimit { events: 100_000, bytes: 1 << 30 };

/// A directory that goes with the test, and the path of a database in it that is not there yet.
fn scratch() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    let path = directory.path().join("wasmill.db");
    (directory, path)
}

/// Locks are not waited for: who holds one in a test holds it until the test says otherwise.
fn options(path: &Path) -> SqliteOptions {
    SqliteOptions { lock_wait: Duration::ZERO, ..SqliteOptions::at(path) }
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(SqliteOptions::at(path)).await.expect("the database opens")
}

/// Another program that opens the file.
async fn stranger(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO).create_if_missing(true);
    options.connect().await.expect("the file opens")
}

/// Runs SQL as another program, which then closes the file.
async fn tamper(path: &Path, sql: impl Into<String>) {
    use sqlx::Connection;
    let mut connection = stranger(path).await;
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut connection).await.expect("the SQL runs");
    connection.close().await.expect("the file closes");
}

/// An event of `id` with `data`.
fn event(stream: &str, id: u128, data: impl Into<Bytes>) -> PreparedEvent {
    let event =
        NewEvent { id: Uuid::from_u128(id), event_type: "tested".into(), data: data.into(), ..NewEvent::default() };
    PreparedEvent::encode(&event, &StreamName::from_stored(stream), NOW)
}

fn append(stream: &str, events: impl Into<Arc<[PreparedEvent]>>) -> Unit {
    Unit::append(StreamAppend {
        stream: StreamName::from_stored(stream),
        expected: Expected::Any,
        events: events.into(),
    })
}

fn generation(id: u64) -> GenerationRecord {
    GenerationRecord {
        id: GenerationId(id),
        plugin: "flights".into(),
        revision: 1,
        state: GenerationState::Building,
        checkpoint: Position(0),
        lifts: 0,
        created_at: NOW,
    }
}

fn put(id: u64, key: &str, value: impl Into<Bytes>) -> Change {
    let document = DocumentChange { collection: "c".into(), key: key.into(), value: Some(value.into()) };
    Change::PutDocuments { generation: GenerationId(id), documents: vec![document] }
}

fn advance(id: u64, from: u64, to: u64) -> Change {
    Change::Advance { generation: GenerationId(id), from: Position(from), to: Position(to) }
}

async fn commit(store: &SqliteStore, unit: Unit) -> Result<Committed, Rejection> {
    store.commit(&[unit], NOW).await.expect("the store answers").remove(0)
}

async fn log(store: &SqliteStore) -> Vec<Event> {
    store.read_log(Position(0), Direction::Forward, &Filter::default(), ALL).await.expect("the log is read").events
}

async fn ids(store: &SqliteStore) -> Vec<u128> {
    log(store).await.iter().map(|event| event.id().as_u128()).collect()
}
