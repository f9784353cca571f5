//! The write-ahead log has a bound.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, append, commit, event, ids, open, scratch, stranger};
use crate::sqlite::checkpointer::Copier;

/// Length at which the log is started over, in pages of 4 KiB.
const RESTART_PAGES: i64 = 50;

/// About 50 pages.
async fn fill(store: &SqliteStore, n: u128) {
    commit(store, append("s", [event("s", n, vec![n as u8; 190_000])])).await.unwrap();
}

fn copier(path: &Path) -> Copier {
    Copier::new(path.into(), RESTART_PAGES)
}

/// Pages of the log that are in use.
async fn pages(connection: &mut SqliteConnection) -> i64 {
    let row = sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(connection);
    let (_busy, pages, _copied): (i64, i64, i64) = row.await.unwrap();
    pages
}

/// SQLite starts the log over at a commit that finds everything copied and nobody reading. While reads
/// overlapped there was no such commit, and the log grew for as long as commits went on.
#[tokio::test]
async fn a_long_log_is_started_over_when_the_reads_that_run_have_ended() {
    let (_directory, path) = scratch();
    let store = Arc::new(open(&path).await);
    store.checkpointer.stop().await;
    let (mut reader, mut observer) = (stranger(&path).await, stranger(&path).await);
    let mut copier = copier(&path);
    copier.look(&store.writer).await.unwrap();
    // Reads are not waited for long, so a slow machine may need more than one of these.
    for n in 0..20 {
        fill(&store, n).await;
        sqlx::raw_sql("begin; select * from log_head").execute(&mut reader).await.unwrap();
        pages(&mut observer).await;
        let look = tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                copier.look(&store.writer).await.unwrap();
                copier
            }
        });
        // Everything is copied already: what it may still wait for is the reader.
        for _ in 0..300 {
            sqlx::raw_sql("select 1").execute(&mut observer).await.unwrap();
        }
        let waits = !look.is_finished();
        sqlx::raw_sql("rollback").execute(&mut reader).await.unwrap();
        copier = look.await.unwrap();
        commit(&store, append("t", [event("t", 100 + n, "small")])).await.unwrap();
        if waits && pages(&mut observer).await < 20 {
            return;
        }
    }
    panic!("the log has {} pages", pages(&mut observer).await);
}

#[tokio::test]
async fn a_read_that_does_not_end_holds_the_log_and_not_the_commits() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    store.checkpointer.stop().await;
    let (mut backup, mut observer) = (stranger(&path).await, stranger(&path).await);
    fill(&store, 0).await;
    sqlx::raw_sql("begin; select * from log_head").execute(&mut backup).await.unwrap();
    let mut copier = copier(&path);
    for n in 1..5 {
        fill(&store, n).await;
        copier.look(&store.writer).await.unwrap();
    }
    let held = pages(&mut observer).await;
    assert!(held > 4 * 190_000 / 4096, "it cannot be started over: {held} pages");
    sqlx::raw_sql("rollback").execute(&mut backup).await.unwrap();
    let mut shortest = held;
    for n in 5..9 {
        fill(&store, n).await;
        copier.look(&store.writer).await.unwrap();
        shortest = shortest.min(pages(&mut observer).await);
    }
    assert!(shortest < held, "once the read has ended, it is: {shortest} pages");
    assert_eq!(ids(&store).await, (0..9).collect::<Vec<_>>());
}
