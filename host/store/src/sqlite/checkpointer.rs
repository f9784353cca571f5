//! Moves what was committed from the write-ahead log into the database file, beside the appends.
//!
//! A commit is durable once it is in the write-ahead log, so nothing waits for this. It runs on a
//! connection of its own, because the one that commits would stall for the time of the copy (20 ms and
//! more were seen). What it copies while appends go on is never quite everything, and only when
//! everything is copied can SQLite start the log over; so when the log has grown long, the writer is
//! held for the short rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmill_core::log_id;

use super::commit::Writer;
use super::open::connect_options;

/// Between two looks at the log while commits come in, and from the last commit to the copy.
const INTERVAL: Duration = Duration::from_millis(250);
/// Length from which the log is started over: 64 MiB. Longer logs take longer to recover after a crash
/// (about 1 ms a MiB), shorter ones hold the writer more often.
const RESTART_PAGES: i64 = 16_384;
/// Page cache of its connection, which only copies.
const CACHE_BYTES: usize = 256 << 10;

pub(super) struct Checkpointer {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpointer {
    pub(super) fn start(file: Arc<Path>, writer: Arc<Mutex<Writer>>, committed: Arc<Notify>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let _ = stopped.run_until_cancelled(run(&file, &writer, &committed)).await;
        });
        Self { stop, task: Mutex::new(Some(task)) }
    }

    pub(super) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            // It is cancelled: how it ended does not matter.
            let _ = task.await;
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A failure is logged and tried again: the log grows meanwhile, and a disk that has failed for good
/// fails the next commit, which stops the host.
async fn run(file: &Path, writer: &Mutex<Writer>, committed: &Notify) {
    let mut connection = None;
    loop {
        committed.notified().await;
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = checkpoint(file, writer, &mut connection).await {
            tracing::warn!(
                event_id = log_id::STORE_CHECKPOINT_FAILED,
                file = %file.display(),
                error = %error,
                "the write-ahead log could not be copied into the database; it is tried again"
            );
            connection = None;
            committed.notify_one();
        }
    }
}

async fn checkpoint(
    file: &Path,
    writer: &Mutex<Writer>,
    connection: &mut Option<SqliteConnection>,
) -> sqlx::Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect_options(file, CACHE_BYTES, "checkpointer").connect().await?),
    };
    let log = copy(connection).await?;
    if log.pages >= RESTART_PAGES {
        // Once more without the writer, for what came in while the bulk was copied.
        copy(connection).await?;
        let writer = writer.lock().await;
        copy(connection).await?;
        drop(writer);
    }
    Ok(())
}

struct WriteAheadLog {
    pages: i64,
}

async fn copy(connection: &mut SqliteConnection) -> sqlx::Result<WriteAheadLog> {
    let (_busy, pages, _copied): (i64, i64, i64) =
        sqlx::query_as("pragma wal_checkpoint(passive)").fetch_one(connection).await?;
    Ok(WriteAheadLog { pages })
}

/// For closing: copies everything and empties the log.
pub(super) async fn finish(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("pragma wal_checkpoint(truncate)").execute(connection).await.map(drop)
}
