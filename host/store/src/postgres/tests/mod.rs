//! The PostgreSQL store beside the contract, and what only a server can show.

mod contract;
mod dropped;
mod hosts;
mod lost;
mod opening;
mod proxy;
mod several;
mod stopped;
mod view;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Event, NewEvent, Position, PreparedEvent};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::StreamName;
use wasmill_core::record::{GenerationId, GenerationRecord, GenerationState};
use wasmill_core::store::{
    Appended, Change, Direction, DocumentChange, Expected, LogStore, PageLimit, Store, StoreError, StreamAppend, Unit,
};
use wasmill_test_postgres::shared;

use super::{PostgresOptions, PostgresStore};

const NOW: Timestamp = Timestamp(1_000_000);
const ALL: PageLimit = PageLimit { events: 100_000, bytes: 1 << 30 };

async fn fresh_url() -> String {
    tokio::task::spawn_blocking(|| shared().create_database()).await.expect("a database is made")
}

/// A store in a database of its own.
async fn fresh() -> PostgresStore {
    open(&fresh_url().await).await
}

async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(PostgresOptions::at(url)).await.expect("the database opens")
}

/// Runs SQL as somebody else, in the database of a URL.
async fn sql(url: &str, sql: &str) -> String {
    let (database, sql) = (url.rsplit('/').next().expect("it has one").to_owned(), sql.to_owned());
    tokio::task::spawn_blocking(move || shared().psql(&database, &sql)).await.expect("psql runs")
}

/// An append of `count` events, whose ids follow from `id`.
fn append(stream: &str, id: u128, count: u128) -> Unit {
    let stream = StreamName::from_stored(stream);
    let event = |n| {
        let (id, data) = (Uuid::from_u128((id << 16) + n), b"{}"[..].into());
        let event = NewEvent { id, event_type: "tested".into(), data, ..NewEvent::default() };
        PreparedEvent::encode(&event, &stream, NOW)
    };
    let events: Arc<[PreparedEvent]> = (0..count).map(event).collect();
    Unit::append(StreamAppend { stream, expected: Expected::Any, events })
}

fn expecting(mut unit: Unit, expected: Expected) -> Unit {
    unit.appends[0].expected = expected;
    unit
}

fn generation(id: u64) -> Change {
    Change::CreateGeneration(GenerationRecord {
        id: GenerationId(id),
        plugin: "flights".into(),
        revision: 1,
        state: GenerationState::Building,
        checkpoint: Position(0),
        lifts: 0,
        created_at: NOW,
    })
}

/// A document and a checkpoint that moves by one: it passes only once.
fn step(id: u64, from: u64) -> Vec<Change> {
    let generation = GenerationId(id);
    let document = DocumentChange { collection: "c".into(), key: from.to_string(), value: Some("v".into()) };
    let advance = Change::Advance { generation, from: Position(from), to: Position(from + 1) };
    vec![Change::PutDocuments { generation, documents: vec![document] }, advance]
}

/// Where the unit's one append stands.
async fn place(store: &PostgresStore, unit: &Unit) -> Result<Appended, StoreError> {
    let outcome = store.commit(std::slice::from_ref(unit), NOW).await?.remove(0);
    Ok(outcome.expect("the unit passes").appends.remove(0))
}

async fn log(store: &impl LogStore) -> Vec<Event> {
    store.read_log(Position(0), Direction::Forward, &Filter::default(), ALL).await.expect("the log is read").events
}

/// The log has these appends, in any order, each once and where it was answered, and nothing else.
async fn assert_log_is(store: &impl LogStore, answered: &[(Unit, Appended)]) {
    let log = log(store).await;
    assert!(log.iter().zip(0..).all(|(event, n)| event.position().0 == n), "there is no gap");
    let mut found = 0;
    for (unit, at) in answered {
        for (event, n) in unit.appends[0].events.iter().zip(0..) {
            let stored = &log[(at.first_position.0 + n) as usize];
            let place = (stored.id(), stored.stream(), stored.offset().0);
            assert_eq!(place, (event.id, at.stream.as_str(), at.first_offset.0 + n), "it stands where it was answered");
            found += 1;
        }
    }
    assert_eq!(log.len(), found, "nothing is there twice, and nothing else");
}

/// Repeats what could not be answered; the same unit may be sent any number of times.
async fn until_answered(store: &PostgresStore, unit: &Unit) -> Appended {
    let tries = async {
        loop {
            match place(store, unit).await {
                Ok(at) => return at,
                Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tries).await.expect("it is answered in time")
}
