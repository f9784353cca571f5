//! What the members of a group get through the faces that answer single calls.

use std::time::Duration;

use wasmill_core::clock::Timestamp;
use wasmill_core::group::{GroupError, Handing, Membership};
use wasmill_core::limits::group as limits;
use wasmill_core::store::PageLimit;

use crate::app::App;

/// Most deliveries of a pull that does not say how many.
pub(crate) const PULL_DEFAULT: usize = 100;

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
    member: &Membership,
    Wanted { events_max, wait, lease_ms }: Wanted,
) -> Result<Vec<Handing>, GroupError> {
    let room = PageLimit { events: events_max, bytes: limits::PULL_BYTES_MAX };
    let handed = tokio::select! {
        // What is handed out already must not be dropped for the drain.
        biased;
        handed = member.pull_for(room, until(app, wait), lease_ms) => handed?,
        () = app.drain.cancelled() => Vec::new(),
    };
    app.host.metrics.events_delivered.with_label_values(&[via]).inc_by(handed.len() as u64);
    Ok(handed)
}

/// The host's time so long from now.
pub(crate) fn until(app: &App, wait: Duration) -> Timestamp {
    let us = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp(app.host.clock.now().0.saturating_add(us))
}
