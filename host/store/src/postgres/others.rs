//! The other hosts on the same database: they wake this one when they append.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener, PgPool};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// A look at the head is due at least this often: a notification may be lost with its connection, and
/// connection poolers do not pass any on.
const POLL: Duration = Duration::from_secs(1);
/// How often a host says that it is there, and after how long a silent one is forgotten.
const SEEN: Duration = Duration::from_secs(10);
const FORGOTTEN_SECONDS: f64 = 60.0;
/// How long the database may take to say whether a host has the lead.
const LEAD_ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Others {
    host: Uuid,
    pool: PgPool,
    state: Mutex<State>,
    lead: Mutex<Lead>,
}

#[derive(Default)]
struct Lead {
    /// The connection that holds the lead: the lock is its session's.
    session: Option<PgConnection>,
    /// How often this host has taken it.
    term: u64,
}

#[derive(Default)]
struct State {
    listener: Option<PgListener>,
    seen_at: Option<Instant>,
}

impl Others {
    pub(super) fn new(host: Uuid, pool: PgPool) -> Self {
        Self { host, pool, state: Mutex::default(), lead: Mutex::default() }
    }

    /// Resolves when another host has told of an append, or a look is due anyway.
    pub(super) async fn changed(&self) {
        let mut state = self.state.lock().await;
        let due = Instant::now() + POLL;
        if let Err(error) = self.say_here(&mut state).await {
            tracing::debug!(error = %error, "the other hosts could not be told of this one");
        }
        match tokio::time::timeout_at(due, self.heard(&mut state)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::debug!(error = %error, "notifications of other hosts are not heard");
                state.listener = None;
                tokio::time::sleep_until(due).await;
            }
        }
    }

    async fn say_here(&self, state: &mut State) -> sqlx::Result<()> {
        const HERE: &str = "
            insert into host_seen (id) values ($1) on conflict (id) do update set seen_at = now()";
        const FORGET: &str = "
            with gone as (delete from host_seen where seen_at < now() - make_interval(secs => $1) returning id)
            delete from host where id in (select id from gone)";
        if state.seen_at.is_some_and(|at| at.elapsed() < SEEN) {
            return Ok(());
        }
        sqlx::query(HERE).bind(self.host).execute(&self.pool).await?;
        sqlx::query(FORGET).bind(FORGOTTEN_SECONDS).execute(&self.pool).await?;
        state.seen_at = Some(Instant::now());
        Ok(())
    }

    async fn heard(&self, state: &mut State) -> sqlx::Result<()> {
        let listener = match &mut state.listener {
            Some(listener) => listener,
            none => {
                let mut listener = PgListener::connect_with(&self.pool).await?;
                listener.listen("wasmill").await?;
                // What was told before it listened is looked for.
                *none = Some(listener);
                return Ok(());
            }
        };
        loop {
            let told = listener.recv().await?;
            if told.payload() != self.host.to_string() {
                return Ok(());
            }
        }
    }

    /// Takes the lead if no other host has it, and says how often it has taken it.
    pub(super) async fn try_lead(&self) -> sqlx::Result<Option<u64>> {
        /// "WSML", so that other programs on the same database are not in the way.
        const LOCK: &str = "select pg_try_advisory_lock(1465077068)";
        let mut lead = self.lead.lock().await;
        if let Some(mut session) = lead.session.take()
            && matches!(timeout(LEAD_ANSWER, session.ping()).await, Ok(Ok(())))
        {
            lead.session = Some(session);
            return Ok(Some(lead.term));
        }
        let taken = timeout(LEAD_ANSWER, async {
            let mut session = self.pool.connect_options().connect().await?;
            let leads: bool = sqlx::query_scalar(LOCK).fetch_one(&mut session).await?;
            Ok::<_, sqlx::Error>(leads.then_some(session))
        });
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        let Some(session) = taken.await.map_err(late)?? else { return Ok(None) };
        lead.session = Some(session);
        lead.term += 1;
        Ok(Some(lead.term))
    }

    pub(super) async fn leave(&self) {
        if let Some(session) = self.lead.lock().await.session.take() {
            // The lock ends with the session, however that ends.
            let _ = session.close().await;
        }
        if let Ok(mut state) = self.state.try_lock() {
            state.listener = None;
        }
        let left = sqlx::query("delete from host_seen where id = $1").bind(self.host).execute(&self.pool).await;
        if let Err(error) = left {
            tracing::debug!(error = %error, "the other hosts could not be told that this one leaves");
        }
    }
}
