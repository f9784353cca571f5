//! The writer's connection: how it is made, lost, made anew and left.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wasmill_core::store::StoreError;

use super::commit::Writer;

/// Between two tries to connect: from the first, doubled each time, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How long a writer waits; see [`super::PostgresOptions`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) answer: Duration,
    pub(super) reconnect: Duration,
}

/// Sleeps under a second timer: with tokio 1.54.1 a writer that waited here was seen to sleep for ever, in one of ten
/// runs of the test of two hosts, and a writer that sleeps holds up its whole host.
async fn rest(time: Duration) {
    const SPARE: Duration = Duration::from_millis(200);
    let _ = timeout(time + SPARE, sleep(time)).await;
}

/// What the database says of the groups that this host has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastCommit {
    /// The last one that was committed.
    Number(i64),
    /// Other hosts have taken this one for gone and forgotten it.
    Forgotten,
}

impl Writer {
    /// For whoever is about to write: there is a connection, and nothing of earlier runs on it.
    pub(super) async fn ready(&mut self) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Unavailable("the store is closed".into()));
        }
        if self.connection.is_some() && !self.busy {
            return Ok(());
        }
        self.reconnect().await.map(drop)
    }

    /// Gives up the connection, if there is one, and connects, trying again for a while.
    pub(super) async fn reconnect(&mut self) -> Result<LastCommit, StoreError> {
        self.connection = None;
        let (mut pause, pause_max) = PAUSE;
        let until = Instant::now() + self.waits.reconnect;
        let mut last = None;
        loop {
            match timeout_at(until, self.connect()).await {
                Ok(Ok(last_commit)) => return Ok(last_commit),
                Ok(Err(error)) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(StoreError::Unavailable(error.into()));
                    }
                    tracing::warn!(error = %error, "the database cannot be reached; it is tried again");
                    last = Some(error);
                    rest(pause.min(left)).await;
                    pause = (pause * 2).min(pause_max);
                }
                Err(elapsed) => {
                    return Err(StoreError::Unavailable(last.map_or_else(|| elapsed.into(), Into::into)));
                }
            }
        }
    }

    /// Connects, and ends what an earlier connection of this host still runs: its backend is told to stop,
    /// and what it does before it has is fenced off by the epoch. Waits for a transaction that is being
    /// committed at this moment.
    pub(super) async fn connect(&mut self) -> sqlx::Result<LastCommit> {
        const END: &str = "
            select pg_terminate_backend(pid) from pg_stat_activity
            where application_name = current_setting('application_name') and pid <> pg_backend_pid()
                and usesysid = (select usesysid from pg_stat_activity where pid = pg_backend_pid())";
        const ENTER: &str = "
            insert into host (id, epoch, last_commit) values ($1, $2, $3)
            on conflict (id) do update set epoch = host.epoch + 1 returning epoch, last_commit";
        const SYNC: &str = "
            select set_config('synchronous_commit', 'on', false)
            where current_setting('synchronous_commit') in ('off', 'local')";
        let mut connection = self.options.connect().await?;
        sqlx::query(END).execute(&mut connection).await?;
        sqlx::query(SYNC).execute(&mut connection).await?;
        // A row that is made anew says so: below zero stands up to which group it knows of none.
        let enter = sqlx::query_as(ENTER).bind(self.host).bind(self.epoch + 1).bind(-self.commit);
        let (epoch, last_commit): (i64, i64) = enter.fetch_one(&mut connection).await?;
        (self.epoch, self.stale, self.begun) = (epoch, true, false);
        self.connection = Some(connection);
        let forgotten = last_commit < 0 && -last_commit >= self.commit;
        Ok(if forgotten { LastCommit::Forgotten } else { LastCommit::Number(last_commit) })
    }

    /// Ends a transaction that failed. If that fails too, the connection is given up, which ends it as well.
    pub(super) async fn roll_back(&mut self) {
        if let Some(connection) = &mut self.connection
            && self.begun
        {
            match sqlx::query("rollback").execute(connection).await {
                Ok(_) => self.begun = false,
                Err(_) => self.connection = None,
            }
        }
    }

    pub(super) async fn close(&mut self) {
        self.closed = true;
        if let Some(mut connection) = self.connection.take() {
            let leave = sqlx::query("delete from host where id = $1").bind(self.host).execute(&mut connection).await;
            if let Err(error) = leave.map(drop).and(connection.close().await) {
                tracing::warn!(error = %error, "the database was not left cleanly");
            }
        }
    }
}
