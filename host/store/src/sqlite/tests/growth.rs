//! The write-ahead log has a bound.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmill_core::event::Position;
use wasmill_core::store::{Direction, LogStore, Store};

use super::{ALL, SqliteStore, append, commit, event, ids, open, scratch, stranger};
use crate::sqlite::checkpointer::Copier;

/// Length at which the log is started over, in pages of 4 KiB.
const RESTART_PAGES: i64 = 50;

fn log_bytes(path: &Path) -> u64 {
    path.with_extension("db-wal").metadata().unwrap().len()
}

/// About 50 pages.
async fn fill(store: &SqliteStore, n: u128) {
    commit(store, append("s", [event("s", n, vec![n as u8; 190_000])])).await.unwrap();
}

/// A reader that always comes before the last one has gone keeps SQLite from starting the log over by
/// itself; it then grows for as long as both go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_write_ahead_log_is_bounded_while_reads_never_stop() {
    let (_directory, path) = scratch();
    let store = Arc::new(open(&path).await);
    store.checkpointer.stop().await;
    fill(&store, 0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = |store: Arc<SqliteStore>, stop: Arc<AtomicBool>| async move {
        while !stop.load(Ordering::Relaxed) {
            store.read_log(Position(0), Direction::Forward, ALL).await.unwrap();
        }
    };
    let readers = [(); 3].map(|()| tokio::spawn(reader(Arc::clone(&store), Arc::clone(&stop))));
    let mut copier = Copier::new(path.as_path().into(), RESTART_PAGES);
    for n in 1..60 {
        fill(&store, n).await;
        copier.look(&store.writer).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    let written = 60 * 190_000;
    assert!(log_bytes(&path) < written / 2, "{} of {written} bytes were kept", log_bytes(&path));
    store.close().await;
    assert_eq!(ids(&open(&path).await).await, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_that_does_not_end_holds_the_log_and_not_the_commits() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    store.checkpointer.stop().await;
    fill(&store, 0).await;
    let mut backup = stranger(&path).await;
    sqlx::raw_sql("begin; select * from log_head").execute(&mut backup).await.unwrap();
    let mut copier = Copier::new(path.as_path().into(), RESTART_PAGES);
    for n in 1..5 {
        fill(&store, n).await;
        copier.look(&store.writer).await.unwrap();
    }
    let held = log_bytes(&path);
    assert!(held > 4 * 190_000, "it cannot be started over: {held} bytes");
    sqlx::raw_sql("rollback").execute(&mut backup).await.unwrap();
    for n in 5..9 {
        fill(&store, n).await;
        copier.look(&store.writer).await.unwrap();
    }
    assert!(log_bytes(&path) < held + 4 * 190_000, "once the read has ended, it is");
    assert_eq!(ids(&store).await, (0..9).collect::<Vec<_>>());
}
