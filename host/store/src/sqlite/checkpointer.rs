//! Moves what was committed from the write-ahead log into the database file, beside the appends.
//!
//! A commit is durable once it is in the write-ahead log, so nothing waits for this. It runs on a
//! connection of its own, because the one that commits would stall for the time of the copy (20 ms and
//! more were seen). What it copies while appends go on is never quite everything, and SQLite starts the
//! log over only when everything is copied and no read needs it any more; so when the log has grown
//! long, the writer is held for the short rest, and until the reads that are running have ended.

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
/// Until it is tried again after a failure, which is logged each time.
const RETRY: Duration = Duration::from_secs(5);
/// Length from which the log is started over: 64 MiB. Longer logs take longer to recover after a crash
/// (about 1 ms a MiB), shorter ones hold the writer more often.
const RESTART_PAGES: i64 = 16_384;
/// How long the writer is held for reads that are running: a page takes a few milliseconds.
const READS_WAIT: Duration = Duration::from_millis(100);
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
        // What could not be copied at the opening is tried again without waiting for a commit.
        committed.notify_one();
        let task = tokio::spawn(async move {
            let copier = Copier::new(file, RESTART_PAGES);
            let _ = stopped.run_until_cancelled(run(copier, &writer, &committed)).await;
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
async fn run(mut copier: Copier, writer: &Mutex<Writer>, committed: &Notify) {
    loop {
        committed.notified().await;
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = copier.look(writer).await {
            tracing::warn!(
                event_id = log_id::STORE_CHECKPOINT_FAILED,
                file = %copier.file.display(),
                error = %error,
                "the write-ahead log could not be copied into the database; it is tried again"
            );
            copier.connection = None;
            committed.notify_one();
            tokio::time::sleep(RETRY).await;
        }
    }
}

pub(super) struct Copier {
    file: Arc<Path>,
    connection: Option<SqliteConnection>,
    restart_pages: i64,
    /// Length from which the log is started over next.
    restart_at: i64,
}

impl Copier {
    pub(super) fn new(file: Arc<Path>, restart_pages: i64) -> Self {
        Self { file, connection: None, restart_pages, restart_at: restart_pages }
    }

    /// Copies what there is, and starts the log over when it has grown long.
    pub(super) async fn look(&mut self, writer: &Mutex<Writer>) -> sqlx::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let options = connect_options(&self.file, CACHE_BYTES, READS_WAIT, "checkpointer");
                self.connection.insert(options.connect().await?)
            }
        };
        if checkpoint(connection, PASSIVE).await?.pages < self.restart_at {
            return Ok(());
        }
        // Once more without the writer, for what came in while the bulk was copied.
        checkpoint(connection, PASSIVE).await?;
        let held = writer.lock().await;
        let log = checkpoint(connection, RESTART).await?;
        drop(held);
        // A read that takes longer, such as a backup, is not waited for again until the log has grown.
        self.restart_at = if log.busy { log.pages + self.restart_pages } else { self.restart_pages };
        Ok(())
    }
}

const PASSIVE: &str = "pragma wal_checkpoint(passive)";
/// Copies everything, waits for reads of the log, and lets the next commit write from its beginning.
const RESTART: &str = "pragma wal_checkpoint(restart)";

struct WriteAheadLog {
    /// It could not be started over.
    busy: bool,
    pages: i64,
}

async fn checkpoint(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<WriteAheadLog> {
    let (busy, pages, _copied): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok(WriteAheadLog { busy: busy != 0, pages })
}

/// For opening: copies what no reader is in the way of.
pub(super) async fn copy(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    checkpoint(connection, PASSIVE).await.map(drop)
}

/// For closing: copies everything and empties the log.
pub(super) async fn finish(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("pragma wal_checkpoint(truncate)").execute(connection).await.map(drop)
}
