//! What the members of a group get through a face. A group reads the whole log; what its streams' configurations
//! keep from clients is passed over on the way out.

use std::time::Duration;

use wasmill_core::clock::Timestamp;
use wasmill_core::group::{GroupError, Handing, Membership, Nack};
use wasmill_core::limits::group as limits;
use wasmill_core::name::StreamName;
use wasmill_core::store::PageLimit;
use wasmill_core::stream::Caller;

use crate::app::App;

/// Most deliveries of a pull that does not say how many.
pub(crate) const PULL_DEFAULT: usize = 100;

/// Before the first heartbeat of a member that waits: less than the shortest session.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(limits::TIMEOUT_MS_MIN / 2);

/// What a pull asks for.
pub(crate) struct Wanted {
    pub(crate) events_max: usize,
    /// For the first delivery.
    pub(crate) wait: Duration,
    /// Until the deliveries run out, instead of what the group's configuration says.
    pub(crate) lease_ms: Option<u64>,
}

/// Waits for at least one delivery. Empty when nothing came, and when the host drains.
pub(crate) async fn pull(
    app: &App,
    via: &str,
    member: &GroupMember,
    Wanted { events_max, wait, lease_ms }: Wanted,
) -> Result<Vec<Handing>, GroupError> {
    let wait_us = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    let until = Timestamp(app.host.clock.now().0.saturating_add(wait_us));
    let room = PageLimit { events: events_max, bytes: limits::PULL_BYTES_MAX };
    loop {
        let pulled = tokio::select! {
            // What is handed out already must not be dropped for the drain.
            biased;
            pulled = member.membership.pull_for(room, until, lease_ms) => pulled?,
            () = app.drain.cancelled() => return Ok(Vec::new()),
            error = keep_alive(app, member) => return Err(error),
        };
        let none = pulled.is_empty();
        let readable = keep_readable(app, &member.membership, pulled).await?;
        if none || !readable.is_empty() {
            app.host.metrics.events_delivered.with_label_values(&[via]).inc_by(readable.len() as u64);
            return Ok(readable);
        }
    }
}

/// A member, and the name of its group.
pub(crate) struct GroupMember {
    pub(crate) group: String,
    pub(crate) membership: Membership,
}

/// A member that waits is alive, even when it waits longer than its session lasts. Ends when the session does.
async fn keep_alive(app: &App, member: &GroupMember) -> GroupError {
    tokio::time::sleep(FIRST_HEARTBEAT).await;
    let session_us = match app.host.groups.record(&member.group).await {
        Ok(record) => record.config.session_timeout_us(),
        Err(error) => return error,
    };
    let every = Duration::from_micros(session_us.unsigned_abs() / 3);
    loop {
        if let Err(error) = member.membership.heartbeat().await {
            return error;
        }
        tokio::time::sleep(every).await;
    }
}

/// Settles what clients may not read, so that it does not hold up its key.
async fn keep_readable(app: &App, member: &Membership, pulled: Vec<Handing>) -> Result<Vec<Handing>, GroupError> {
    let configs = &app.host.stream_configs;
    if configs.all_open_to_readers() {
        return Ok(pulled);
    }
    let readable = |one: &Handing| configs.may_read(&StreamName::from_stored(one.event.stream()), Caller::Api);
    let (readable, kept_back): (Vec<_>, Vec<_>) = pulled.into_iter().partition(readable);
    if !kept_back.is_empty() {
        member.nack(kept_back.iter().map(|one| one.token).collect(), Nack::Skip).await?;
    }
    Ok(readable)
}
