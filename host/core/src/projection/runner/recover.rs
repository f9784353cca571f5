//! What a projection does when something fails: go back, look closer, wait, park or pause.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Interruption, Runner, follow};
use crate::event::Position;
use crate::guest::{Disposition, Failure, GuestError};
use crate::limits::plugin as limits;
use crate::log_id;
use crate::plugin::settings::OnFailure;
use crate::projection::generation::{FailureInfo, Phase};
use crate::projection::parts::is_hosts;
use crate::projection::state::StateError;

impl Runner {
    /// Goes back to the last checkpoint and decides how to go on. `Err` ends the runner.
    pub(super) async fn recover(&mut self, interruption: Interruption, stop: &CancellationToken) -> Result<(), ()> {
        self.back_to_checkpoint();
        match interruption {
            Interruption::Stop => Err(()),
            Interruption::Host { reason } => {
                self.attempts = (self.attempts + 1).min(limits::ATTEMPTS);
                self.retry_later(reason, None, None, stop).await
            }
            Interruption::Broken { error } => self.pause(&error, self.committed, stop).await,
            Interruption::Guest { error, events } => {
                self.count_failure(&error);
                if events.len() > 1 {
                    let (first, last) = (events[0].position().0, events[events.len() - 1].position().0);
                    self.suspect = Some(first..last + 1);
                    return Ok(());
                }
                self.attempts += 1;
                let position = events[0].position();
                self.suspect = Some(position.0..position.0 + 1);
                let most = self.subject.settings.borrow().attempts();
                let (again, after) = worth_repeating(&error, self.attempts, most);
                let parks = self.subject.by_key
                    && self.subject.settings.borrow().on_failure == Some(OnFailure::Park)
                    && !matches!(&error, GuestError::Failed(Failure { disposition: Disposition::Halt, .. }));
                match (again, &mut self.parked) {
                    (true, _) => self.retry_later(error.to_string(), Some(position), after, stop).await,
                    (false, Some(parked)) if parks => {
                        let (plugin, reason) = (&self.subject.plugin, error.to_string());
                        let event_id = log_id::PROJECTION_PARKED;
                        tracing::warn!(event_id, plugin, position = position.0, reason, "projection parks a key");
                        parked.park(&events[0], &reason);
                        self.fail(Phase::CatchingUp, reason, Some(position));
                        self.attempts = 0;
                        Ok(())
                    }
                    (false, _) => self.pause(&error, position, stop).await,
                }
            }
        }
    }

    pub(super) fn back_to_checkpoint(&mut self) {
        self.parts.begin_anew();
        self.uncommitted = 0;
        if let Some(parked) = &mut self.parked {
            parked.discard();
        }
        self.folded = self.committed;
        self.follower = follow(&self.context, &self.subject, self.committed);
    }

    fn count_failure(&self, error: &GuestError) {
        self.context.metrics.plugins.failed(&self.subject.plugin, error);
    }

    async fn retry_later(
        &mut self,
        reason: String,
        position: Option<Position>,
        after: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<(), ()> {
        let delay = after.unwrap_or_else(|| self.subject.settings.borrow().back_off(self.attempts));
        let (plugin, attempts) = (&self.subject.plugin, self.attempts);
        tracing::warn!(event_id = log_id::PROJECTION_RETRIES, plugin, attempts, reason, "projection retries");
        self.context.metrics.plugins.retries.with_label_values(&[plugin.as_str()]).inc();
        self.fail(Phase::Retrying, reason, position);
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = stop.cancelled() => Err(()),
        }
    }

    /// Waits until it is stopped (a rebuild, a new revision or a removal does that) or a person has it try again.
    async fn pause(&mut self, error: &GuestError, position: Position, stop: &CancellationToken) -> Result<(), ()> {
        let (plugin, reason) = (&self.subject.plugin, error.to_string());
        tracing::error!(
            event_id = log_id::PROJECTION_PAUSED,
            plugin,
            position = position.0,
            reason,
            "projection paused"
        );
        self.context.metrics.projection_state.with_label_values(&[plugin.as_str()]).set(1);
        self.fail(Phase::Paused, reason, Some(position));
        let mut throttle = self.subject.generation.throttle.subscribe();
        let again = tokio::select! {
            Ok(()) = throttle.changed() => true,
            () = stop.cancelled() => false,
        };
        self.context.metrics.projection_state.with_label_values(&[self.subject.plugin.as_str()]).set(0);
        self.attempts = 0;
        if again { Ok(()) } else { Err(()) }
    }

    fn fail(&self, phase: Phase, reason: String, position: Option<Position>) {
        let failure = FailureInfo { reason, position, time: self.context.clock.now(), attempts: self.attempts };
        self.subject.generation.progress.send_modify(|progress| {
            progress.phase = phase;
            progress.last_failure = Some(failure.clone());
            progress.failure = Some(failure);
        });
    }
}

/// Whether a single event's failure may go away, and the guest's own wish for the delay.
fn worth_repeating(error: &GuestError, attempts: u32, most: u32) -> (bool, Option<Duration>) {
    match error {
        GuestError::Failed(Failure { disposition: Disposition::Retry, retry_after_ms, .. }) => {
            (attempts < most, retry_after_ms.map(|ms| Duration::from_millis(ms.into())))
        }
        GuestError::State(error) => (matches!(**error, StateError::Store(_)), None),
        // The next instance may fare better.
        GuestError::Trapped { .. }
        | GuestError::Exhausted { .. }
        | GuestError::DeadlineExceeded { .. }
        | GuestError::OutOfMemory { .. } => (attempts < most, None),
        GuestError::Failed(_) | GuestError::Outbox(_) | GuestError::Data(_) | GuestError::Contract { .. } => {
            (false, None)
        }
    }
}

/// Why what was folded could not be put together.
pub(super) fn changes_failed(error: GuestError) -> Interruption {
    match error {
        error if is_hosts(&error) => Interruption::Host { reason: error.to_string() },
        error => Interruption::Broken { error },
    }
}
