//! Commits that do not succeed: what the caller is told, and what can be done afterwards.

use sqlx::sqlite::SqliteConnection;
use wasmill_core::event::Position;
use wasmill_core::store::{Change, LogStore, PluginStore, Store, StoreError, Unit};

use super::{NOW, SqliteStore, advance, append, commit, event, generation, ids, open, options, put, scratch, stranger};

/// Runs SQL on the connection that commits.
async fn on_writer(store: &SqliteStore, sql: &'static str) {
    let mut writer = store.writer.lock().await;
    let connection: &mut SqliteConnection = writer.connection.as_mut().unwrap();
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

fn large(n: u128) -> Unit {
    append("s", [event("s", n, vec![7; 50_000])])
}

#[tokio::test]
async fn a_commit_is_on_the_disk_before_it_is_answered() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    let mut writer = store.writer.lock().await;
    let connection = writer.connection.as_mut().unwrap();
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *connection).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *connection).await.unwrap();
    let full_fsync: i64 = sqlx::query_scalar("pragma fullfsync").fetch_one(&mut *connection).await.unwrap();
    assert_eq!((mode.as_str(), synchronous, full_fsync), ("wal", 2, 1), "synchronous 2 is `full`");
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_does_no_harm() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    commit(&store, Unit::change(vec![Change::CreateGeneration(generation(1))])).await.unwrap();
    on_writer(&store, "pragma max_page_count = 60").await;
    let mut stored = 0;
    let error = loop {
        let unit = Unit { changes: vec![put(1, "k", "v"), advance(1, 0, 0)], ..large(stored) };
        match store.commit(&[unit], NOW).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert!(matches!(store.commit(&[large(77)], NOW).await, Err(StoreError::Full(_))), "also in one hop");
    assert_eq!(ids(&store).await, (0..stored).collect::<Vec<_>>(), "reads go on, and see nothing of it");
    on_writer(&store, "pragma max_page_count = 100000").await;
    let next = commit(&store, large(stored)).await.unwrap();
    assert_eq!(next.appends[0].first_position.0 as u128, stored, "it uses no position");
}

#[tokio::test]
async fn a_lock_of_another_process_stores_nothing_and_is_waited_for() {
    let (_directory, path) = scratch();
    let store = SqliteStore::open(options(&path)).await.unwrap();
    let mut other = stranger(&path).await;
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
    let changes = Unit::change(vec![Change::CreateGeneration(generation(1))]);
    for unit in [large(1), changes] {
        let answer = store.commit(&[unit], NOW).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(ids(&store).await.is_empty() && store.generations().await.unwrap().is_empty());
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    assert_eq!(commit(&store, large(1)).await.unwrap().appends[0].first_position, Position(0));
}

/// An error that this store does not know may have left anything behind: the host has to stop.
#[tokio::test]
async fn after_an_unknown_outcome_nothing_is_committed_until_it_is_opened_again() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    commit(&store, large(1)).await.unwrap();
    on_writer(&store, "create trigger broken before insert on chunk begin select raise(abort, 'no idea'); end").await;
    let failed = store.commit(&[large(2)], NOW).await;
    assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
    for unit in [large(3), Unit::change(vec![Change::CreateGeneration(generation(1))])] {
        let Err(StoreError::Failed(why)) = store.commit(&[unit], NOW).await else { panic!("it is committed") };
        assert_eq!(why.to_string(), "what an earlier commit wrote is not known");
    }
    store.close().await;
    super::tamper(&path, "drop trigger broken").await;

    let store = open(&path).await;
    assert_eq!(ids(&store).await, [1]);
    assert_eq!(commit(&store, large(2)).await.unwrap().appends[0].first_position, Position(1));
}

#[tokio::test]
async fn a_closed_store_says_that_it_is_closed() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    commit(&store, large(1)).await.unwrap();
    store.close().await;
    store.close().await;
    let Err(StoreError::Unavailable(why)) = store.commit(&[large(2)], NOW).await else { panic!("it commits") };
    assert_eq!(why.to_string(), "the store is closed");
    assert!(matches!(store.head().await, Err(StoreError::Unavailable(_))));
    let directory = path.parent().unwrap().read_dir().unwrap();
    assert_eq!(directory.count(), 1, "only the database is left, with everything in it");
}

#[tokio::test]
async fn a_reader_that_cannot_be_connected_may_be_later() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    let moved = path.with_extension("moved");
    std::fs::rename(&path, &moved).unwrap();
    assert!(matches!(store.head().await, Err(StoreError::Unavailable(_))));
    std::fs::rename(&moved, &path).unwrap();
    store.head().await.unwrap();
}
