//! The loop that feeds a projection: read, fold, commit documents and checkpoint in one unit.
//!
//! During catch-up one checkpoint covers several calls of the guest, so that a document that many
//! events touch is written once. When a call fails, everything since the last checkpoint is dropped
//! and done again more carefully: up to the failed call as before, then its events one by one, each
//! with a checkpoint, until the guilty one is found. The projection pauses there.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::generation::{FailureInfo, Generation, Phase, Throttle};
use super::state::{State, StateError};
use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Position};
use crate::guest::{Batch, Disposition, Failure, Guest, GuestEnvironment, GuestError, GuestModule};
use crate::handler::outbox::Outbox;
use crate::limits::plugin as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log::filter::Filter;
use crate::log::read::{LogFollower, Reader};
use crate::log_id;
use crate::metrics::Metrics;
use crate::plugin::descriptor::Collection;
use crate::plugin::log::PluginLog;
use crate::plugin::settings::{Checkpoint, Settings};
use crate::replay::Pacer;
use crate::store::{Change, PageLimit, Rejection, Store, Unit};
use crate::upcast::LiftSet;

/// What every runner is given.
#[derive(Clone)]
pub struct RunnerContext {
    pub store: Arc<dyn Store>,
    pub committer: Committer,
    pub reader: Reader,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

/// Which projection to run.
pub struct Subject {
    pub plugin: String,
    pub module: Arc<dyn GuestModule>,
    pub config: Arc<[(String, String)]>,
    pub filter: Filter,
    /// What it reads through, as long as it lives.
    pub lifts: Arc<LiftSet>,
    pub settings: watch::Receiver<Settings>,
    /// It folds each key by itself.
    pub by_key: bool,
    pub collections: Vec<Collection>,
    pub log: Arc<PluginLog>,
    pub generation: Arc<Generation>,
}

pub struct Runner {
    context: RunnerContext,
    subject: Subject,
    follower: LogFollower,
    guest: Option<Box<dyn Guest>>,
    /// Calls of this instance.
    calls: u32,
    /// `None` only while the guest has it.
    state: Option<State>,
    /// The durable checkpoint.
    committed: Position,
    /// Everything before this is in `state`.
    folded: Position,
    /// Events in `state` that are not committed.
    uncommitted: usize,
    /// Positions of the call that failed: its events are folded one by one.
    suspect: Option<Range<u64>>,
    attempts: u32,
    /// Where a commit would have moved the checkpoint of which the store could not say what became of it.
    unsure: Option<Position>,
    /// When it looks for events again, if it does not do that with every commit.
    poll_after: Option<Timestamp>,
    /// Keeps to what the throttle says.
    pacer: Option<(Throttle, Pacer)>,
}

/// Why a round ended early.
enum Interruption {
    /// The runner has to end.
    Stop,
    /// The guest failed on `events`.
    Guest { error: GuestError, events: Arc<[Event]> },
    /// Something else is out of order; the same again later may work.
    Host { reason: String },
}

impl Runner {
    pub fn new(context: RunnerContext, subject: Subject) -> Self {
        let from = subject.generation.next();
        let store = Arc::clone(&context.store);
        let state = State::indexed(store, subject.generation.id, &subject.collections, from == Position(0));
        Self {
            follower: follow(&context, &subject, from),
            context,
            subject,
            guest: None,
            calls: 0,
            state: Some(state),
            committed: from,
            folded: from,
            uncommitted: 0,
            suspect: None,
            attempts: 0,
            unsure: None,
            poll_after: None,
            pacer: None,
        }
    }

    /// Runs until the generation is stopped.
    pub async fn run(mut self) {
        let stop = self.subject.generation.stop.clone();
        tracing::info!(
            event_id = log_id::PROJECTION_STARTED,
            plugin = self.subject.plugin,
            generation = self.subject.generation.id.0,
            position = self.committed.0,
            "projection started"
        );
        while !stop.is_cancelled() {
            match self.round(&stop).await {
                Ok(()) => {}
                Err(Interruption::Stop) => break,
                Err(interruption) => {
                    if self.recover(interruption, &stop).await.is_err() {
                        break;
                    }
                }
            }
        }
        self.leave().await;
    }

    /// One checkpoint: folds what is there, up to its bounds, and commits it.
    async fn round(&mut self, stop: &CancellationToken) -> Result<(), Interruption> {
        self.settle_checkpoint().await?;
        let events = match stop.run_until_cancelled(self.throttled()).await {
            Some(events) => events,
            None => return Err(Interruption::Stop),
        };
        let limit = PageLimit { events, bytes: limits::CALL_BYTES_MAX };
        let mut page = tokio::select! {
            page = self.follower.next_page(limit) => page,
            () = stop.cancelled() => return Err(Interruption::Stop),
        }
        .map_err(read_failed)?;
        let timer =
            self.context.metrics.projection_batch_seconds.with_label_values(&[&self.subject.plugin]).start_timer();
        loop {
            self.fold(&page.events).await?;
            self.folded = self.follower.next_position();
            if let Some(last) = page.events.last() {
                let seen_at = last.recorded_at();
                self.subject.generation.progress.send_modify(|progress| progress.seen_at = seen_at);
            }
            if let Some((_, pacer)) = &mut self.pacer {
                pacer.take(&page.events, self.context.clock.now());
                break;
            }
            if page.end || self.checkpoint_is_full() || stop.is_cancelled() {
                break;
            }
            page = self.follower.ready_page(limit).await.map_err(read_failed)?;
        }
        self.commit(page.end).await?;
        timer.observe_duration();
        let poll = self.subject.settings.borrow().poll_interval_ms.filter(|_| page.end);
        let now = self.context.clock.now().0;
        self.poll_after = poll.map(|ms| Timestamp(now + i64::try_from(ms).unwrap_or_default() * 1_000));
        Ok(())
    }

    /// Waits until it may go on, and says how many events it may read then.
    async fn throttled(&mut self) -> usize {
        let mut changes = self.subject.generation.throttle.subscribe();
        loop {
            let throttle = *changes.borrow_and_update();
            let now = self.context.clock.now();
            if throttle.cold {
                self.guest = None;
            }
            if throttle == Throttle::default() {
                self.pacer = None;
                if self.poll_after.is_none_or(|after| after <= now) {
                    return limits::CHECKPOINT_EVENTS_MAX;
                }
            }
            if self.pacer.as_ref().is_none_or(|(before, _)| *before != throttle) {
                self.pacer = Some((throttle, Pacer::new(throttle.pace, now)));
            }
            let Some((_, pacer)) = &mut self.pacer else { continue };
            if throttle.held {
                self.subject.generation.progress.send_modify(|progress| progress.phase = Phase::Paused);
            }
            let until = match pacer.room(limits::CALL_EVENTS_MAX, now) {
                _ if throttle.rests() => Timestamp(i64::MAX),
                Ok(_) if self.poll_after.is_some_and(|after| after > now) => self.poll_after.unwrap_or(now),
                Ok(room) => return room,
                Err(until) => until,
            };
            tokio::select! {
                // The generation has the sender.
                _ = changes.changed() => {}
                () = self.context.clock.wait_until(until) => {}
            }
        }
    }

    fn checkpoint_is_full(&self) -> bool {
        let state = self.state.as_ref().expect("no call is under way");
        self.uncommitted >= limits::CHECKPOINT_EVENTS_MAX
            || state.overlay_bytes() > limits::OVERLAY_BYTES_MAX / 4
            || state.overlay_rows() > crate::limits::commit::DOCUMENTS_MAX / 4
    }

    /// Hands events to the guest in calls of bounded size.
    async fn fold(&mut self, mut events: &[Event]) -> Result<(), Interruption> {
        while !events.is_empty() {
            let (call, rest) = events.split_at(self.call_length(events));
            self.call(call.into()).await?;
            self.folded = Position(call[call.len() - 1].position().0 + 1);
            if self.inside_suspect(self.folded) || self.checkpoint_is_full() || self.ends_checkpoint() {
                self.commit(false).await?;
            }
            events = rest;
        }
        Ok(())
    }

    fn inside_suspect(&self, position: Position) -> bool {
        self.suspect.as_ref().is_some_and(|suspect| position.0 >= suspect.start && position.0 <= suspect.end)
    }

    /// How many of `events` the next call gets: up to the bounds of a call, and not past the start of a
    /// suspected range; inside of that, one.
    fn call_length(&self, events: &[Event]) -> usize {
        let first = events[0].position().0;
        let until = match &self.suspect {
            Some(suspect) if suspect.contains(&first) => return 1,
            Some(suspect) if first < suspect.start => suspect.start,
            Some(_) | None => u64::MAX,
        };
        let mut bytes = 0;
        let most = if self.ends_checkpoint() { 1 } else { self.subject.settings.borrow().call_events_max() };
        let fitting = events.iter().take(most).take_while(|event| {
            bytes += event.raw().len();
            event.position().0 < until && bytes <= limits::CALL_BYTES_MAX
        });
        fitting.count().max(1)
    }

    /// Whether the checkpoint that is being filled ends here.
    fn ends_checkpoint(&self) -> bool {
        self.subject.settings.borrow().checkpoint == Checkpoint::Event
    }

    async fn call(&mut self, events: Arc<[Event]>) -> Result<(), Interruption> {
        if let Some(error) = self.not_lifted(&events) {
            return Err(error);
        }
        if self.calls >= limits::CALLS_OF_INSTANCE_MAX {
            self.guest = None;
        }
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => {
                self.instantiate().await.map_err(|error| Interruption::Guest { error, events: Arc::clone(&events) })?
            }
        };
        self.calls += 1;
        self.subject.log.begin_call(self.context.clock.now());
        let state = self.state.take().expect("no call is under way");
        let batch = Batch { events: Arc::clone(&events), state, outbox: Outbox::default() };
        let (batch, outcome) = guest.call(batch).await;
        self.state = Some(batch.state);
        match outcome {
            Ok(()) => {
                self.uncommitted += events.len();
                self.guest = Some(guest);
                Ok(())
            }
            // Whatever the failure left in the instance goes with it.
            Err(error) => Err(Interruption::Guest { error, events }),
        }
    }

    /// An event that cannot be lifted cannot be folded either, and waits if that may pass.
    fn not_lifted(&self, events: &Arc<[Event]>) -> Option<Interruption> {
        let (event, why) = events.iter().find_map(|event| Some((event, event.upcast_error()?)))?;
        if self.subject.lifts.is_resting(event) {
            return Some(Interruption::Host { reason: why.to_owned() });
        }
        let error = GuestError::Failed(Failure {
            disposition: Disposition::Reject,
            code: "upcast".into(),
            message: why.to_owned(),
            retry_after_ms: None,
            event_index: None,
        });
        Some(Interruption::Guest { error, events: Arc::clone(events) })
    }

    async fn instantiate(&mut self) -> Result<Box<dyn Guest>, GuestError> {
        let log = Arc::clone(&self.subject.log);
        self.calls = 0;
        let config = Arc::clone(&self.subject.config);
        let memory_bytes_max = self.subject.settings.borrow().memory_bytes_max();
        self.subject.module.start(GuestEnvironment { config, log, memory_bytes_max }).await
    }

    /// Commits documents and checkpoint in one unit. Without documents the checkpoint may stay behind
    /// in memory for a while: reading the same events again would change nothing.
    async fn commit(&mut self, at_end: bool) -> Result<(), Interruption> {
        let state = self.state.as_mut().expect("no call is under way");
        let documents = state.changes().await.map_err(state_failed)?;
        let told = self.subject.generation.feed.take_note(&documents);
        let (generation, count) = (self.subject.generation.id, documents.len());
        let lag = self.folded.0 - self.committed.0;
        if count > 0 || lag > limits::CHECKPOINT_LAG_MAX {
            let mut changes = Vec::with_capacity(2);
            if count > 0 {
                changes.push(Change::PutDocuments { generation, documents });
            }
            changes.push(Change::Advance { generation, from: self.committed, to: self.folded });
            self.unsure = Some(self.folded);
            self.write(changes).await.map_err(commit_failed)?;
            self.committed = self.folded;
        }
        self.state.as_mut().expect("no call is under way").settle();
        let before = self.subject.generation.next();
        self.subject.generation.feed.publish(told, before, self.folded, self.context.clock.now());
        self.report(count, at_end);
        Ok(())
    }

    /// Commits changes; what became of them is left unsure only when the store does not know.
    async fn write(&mut self, changes: Vec<Change>) -> Result<(), CommitError> {
        let outcome = self.context.committer.commit(Unit::change(changes)).await;
        if !outcome.as_ref().is_err_and(CommitError::is_unknown) {
            self.unsure = None;
        }
        outcome.map(drop)
    }

    /// Finds out about a commit whose outcome was not known, through the writer: whatever it had under way
    /// is over by then. If it was committed, everything that is known of documents is out of date.
    async fn settle_checkpoint(&mut self) -> Result<(), Interruption> {
        let Some(moved_to) = self.unsure else { return Ok(()) };
        let generation = self.subject.generation.id;
        let stay = Change::Advance { generation, from: self.committed, to: self.committed };
        match self.write(vec![stay]).await {
            Ok(()) => {}
            Err(CommitError::Rejected(Rejection::Fenced { actual, .. })) if actual == moved_to => {
                let store = Arc::clone(&self.context.store);
                self.state = Some(State::indexed(store, generation, &self.subject.collections, false));
                // Nobody knows any more what was changed.
                self.subject.generation.feed.publish(None, self.committed, actual, self.context.clock.now());
                self.committed = actual;
                self.back_to_checkpoint();
                // There may be nothing more to fold for a while.
                self.report(0, self.context.reader.tail().next() <= actual);
            }
            Err(error) => {
                self.unsure = Some(moved_to);
                return Err(commit_failed(error));
            }
        }
        Ok(())
    }

    fn report(&mut self, documents: usize, at_end: bool) {
        let (metrics, name) = (&self.context.metrics, &[self.subject.plugin.as_str()]);
        let events = std::mem::take(&mut self.uncommitted) as u64;
        metrics.projection_events.with_label_values(name).inc_by(events);
        metrics.projection_documents.with_label_values(name).inc_by(documents as u64);
        if let Some(guest) = &self.guest {
            let bytes = i64::try_from(guest.memory_bytes()).unwrap_or(i64::MAX);
            metrics.plugin_memory_bytes.with_label_values(name).set(bytes);
        }
        let passed = self.suspect.as_ref().is_none_or(|suspect| self.folded.0 >= suspect.end);
        if passed {
            (self.suspect, self.attempts) = (None, 0);
        }
        let phase = if at_end { Phase::Live } else { Phase::CatchingUp };
        let mut became_live = false;
        let now = self.context.clock.now();
        self.subject.generation.progress.send_modify(|progress| {
            became_live = phase == Phase::Live && progress.phase != Phase::Live;
            progress.next = self.folded;
            progress.phase = phase;
            progress.count(events, now);
            if passed {
                progress.failure = None;
            }
        });
        if became_live {
            let (plugin, position) = (&self.subject.plugin, self.folded.0);
            tracing::info!(event_id = log_id::PROJECTION_LIVE, plugin, position, "projection is at the end of the log");
        }
    }

    /// Goes back to the last checkpoint and decides how to go on. `Err` ends the runner.
    async fn recover(&mut self, interruption: Interruption, stop: &CancellationToken) -> Result<(), ()> {
        self.back_to_checkpoint();
        match interruption {
            Interruption::Stop => Err(()),
            Interruption::Host { reason } => {
                self.attempts = (self.attempts + 1).min(limits::ATTEMPTS);
                self.retry_later(reason, None, None, stop).await
            }
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
                if again {
                    self.retry_later(error.to_string(), Some(position), after, stop).await
                } else {
                    self.pause(&error, position, stop).await
                }
            }
        }
    }

    fn back_to_checkpoint(&mut self) {
        self.guest = None;
        self.uncommitted = 0;
        if let Some(state) = &mut self.state {
            state.discard();
        }
        self.folded = self.committed;
        self.follower = follow(&self.context, &self.subject, self.committed);
    }

    fn count_failure(&self, error: &GuestError) {
        self.context.metrics.plugin_failures.with_label_values(&[self.subject.plugin.as_str(), error.reason()]).inc();
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
        self.context.metrics.plugin_retries.with_label_values(&[plugin.as_str()]).inc();
        self.fail(Phase::Retrying, reason, position);
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = stop.cancelled() => Err(()),
        }
    }

    /// Waits until it is stopped: a rebuild, a new revision or a removal does that.
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
        stop.cancelled().await;
        self.context.metrics.projection_state.with_label_values(&[self.subject.plugin.as_str()]).set(0);
        Err(())
    }

    fn fail(&self, phase: Phase, reason: String, position: Option<Position>) {
        let failure = FailureInfo { reason, position, time: self.context.clock.now(), attempts: self.attempts };
        self.subject.generation.progress.send_modify(|progress| {
            progress.phase = phase;
            progress.last_failure = Some(failure.clone());
            progress.failure = Some(failure);
        });
    }

    /// Makes the checkpoint durable that was only in memory, as far as the store still takes it.
    async fn leave(&mut self) {
        let clean = self.state.as_ref().is_some_and(State::is_clean);
        if clean && self.folded > self.committed {
            let generation = self.subject.generation.id;
            let change = Change::Advance { generation, from: self.committed, to: self.folded };
            let _ = self.context.committer.commit(Unit::change(vec![change])).await;
        }
        tracing::info!(event_id = log_id::PROJECTION_STOPPED, plugin = self.subject.plugin, "projection stopped");
        self.subject.generation.progress.send_modify(|progress| progress.phase = Phase::Stopped);
    }
}

fn follow(context: &RunnerContext, subject: &Subject, from: Position) -> LogFollower {
    context.reader.by(Arc::clone(&subject.lifts)).follow_log(from, subject.filter.clone())
}

/// Whether a single event's failure may go away, and the guest's own wish for the delay.
fn worth_repeating(error: &GuestError, attempts: u32, most: u32) -> (bool, Option<Duration>) {
    match error {
        GuestError::Failed(Failure { disposition: Disposition::Retry, retry_after_ms, .. }) => {
            (attempts < most, retry_after_ms.map(|ms| Duration::from_millis(ms.into())))
        }
        GuestError::State(error) => (matches!(**error, StateError::Store(_)), None),
        // The next instance may fare better.
        GuestError::Trapped { .. } | GuestError::DeadlineExceeded { .. } | GuestError::OutOfMemory { .. } => {
            (attempts < most, None)
        }
        GuestError::Failed(_) | GuestError::Outbox(_) | GuestError::Contract { .. } => (false, None),
    }
}

fn state_failed(error: StateError) -> Interruption {
    Interruption::Host { reason: crate::tasks::chain(&error) }
}

fn read_failed(error: crate::log::read::ReadError) -> Interruption {
    match error {
        crate::log::read::ReadError::Stopped => Interruption::Stop,
        error => Interruption::Host { reason: crate::tasks::chain(&error) },
    }
}

fn commit_failed(error: CommitError) -> Interruption {
    match error {
        // Another runner has this generation, or it is gone.
        CommitError::Rejected(_) | CommitError::Stopped => Interruption::Stop,
        CommitError::Overloaded | CommitError::Store(_) => Interruption::Host { reason: crate::tasks::chain(&error) },
    }
}
