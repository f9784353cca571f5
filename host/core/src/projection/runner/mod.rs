//! The loop that feeds a projection: read, fold, commit documents and checkpoint in one unit.
//!
//! During catch-up one checkpoint covers several calls of the guest, so that a document that many
//! events touch is written once. When a call fails, everything since the last checkpoint is dropped
//! and done again more carefully: up to the failed call as before, then its events one by one, each
//! with a checkpoint, until the guilty one is found. The projection pauses there.

mod recover;

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use recover::changes_failed;

use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Position};
use crate::guest::{Disposition, Failure, GuestEnvironment, GuestError, GuestModule};
use crate::limits::plugin as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log::filter::Filter;
use crate::log::read::{LogFollower, Reader};
use crate::log_id;
use crate::metrics::Metrics;
use crate::plugin::descriptor::Collection;
use crate::plugin::log::PluginLog;
use crate::plugin::settings::{Checkpoint, Settings};
use crate::projection::generation::{Generation, Phase, Throttle};
use crate::projection::parked::ParkedKeys;
use crate::projection::parts::{Maker, Parts};
use crate::projection::state::State;
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
    /// What folds, and what was folded.
    parts: Parts,
    /// `None` until it was loaded.
    parked: Option<ParkedKeys>,
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
    /// What it has folded cannot be committed, by its own fault.
    Broken { error: GuestError },
    /// Something else is out of order; the same again later may work.
    Host { reason: String },
}

impl Runner {
    pub fn new(context: RunnerContext, subject: Subject) -> Self {
        let from = subject.generation.next();
        let parts = parts(&context, &subject, from == Position(0));
        Self {
            follower: follow(&context, &subject, from),
            context,
            subject,
            parts,
            parked: None,
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
        // Taken before they are looked at: what changes while it waits for events is heard of.
        let mut throttle = self.subject.generation.throttle.subscribe();
        let mut settings = self.subject.settings.clone();
        settings.mark_unchanged();
        if self.parked.is_none() {
            let parked = ParkedKeys::load(&*self.context.store, self.subject.generation.id).await;
            self.parked = Some(parked.map_err(|error| Interruption::Host { reason: error.to_string() })?);
        }
        let partitions = if self.subject.by_key { self.subject.settings.borrow().partitions() } else { 1 };
        if partitions != self.parts.count() && self.parts.is_clean() {
            self.parts = parts(&self.context, &self.subject, false);
        }
        let events = match stop.run_until_cancelled(self.throttled()).await {
            Some(events) => events,
            None => return Err(Interruption::Stop),
        };
        let limit = PageLimit { events, bytes: limits::CALL_BYTES_MAX };
        let mut page = tokio::select! {
            page = self.follower.next_page(limit) => page,
            Ok(()) = throttle.changed() => return Ok(()),
            Ok(()) = settings.changed() => return Ok(()),
            () = stop.cancelled() => return Err(Interruption::Stop),
        }
        .map_err(read_failed)?;
        let timer =
            self.context.metrics.projection_batch_seconds.with_label_values(&[&self.subject.plugin]).start_timer();
        loop {
            let behind = self.follower.next_position();
            if !page.end && self.pacer.is_none() && self.suspect.is_none() {
                self.follower.read_ahead(limit);
            }
            self.fold(&page.events).await?;
            self.folded = behind;
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
                self.parts.drop_instances();
            }
            if !throttle.held {
                self.subject.generation.progress.send_if_modified(|progress| {
                    let resumed = progress.phase == Phase::Paused;
                    if resumed {
                        progress.phase = Phase::CatchingUp;
                    }
                    resumed
                });
            }
            if throttle == Throttle::default() {
                self.pacer = None;
                if self.poll_after.is_none_or(|after| after <= now) {
                    return limits::CHECKPOINT_EVENTS_MAX;
                }
            }
            if self.pacer.as_ref().is_none_or(|(before, _)| *before != throttle) {
                self.pacer = Some((throttle, Pacer::new(throttle.pace(), now)));
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
        self.uncommitted >= limits::CHECKPOINT_EVENTS_MAX
            || self.parts.overlay_bytes() > limits::OVERLAY_BYTES_MAX / 4
            || self.parts.overlay_rows() > crate::limits::commit::DOCUMENTS_MAX / 4
    }

    /// Hands events to the guest in calls of bounded size.
    async fn fold(&mut self, events: &[Event]) -> Result<(), Interruption> {
        match &mut self.parked {
            Some(parked) if !parked.is_empty() => {
                let others: Vec<Event> = events.iter().filter(|event| !parked.passes_over(event)).cloned().collect();
                self.fold_all(&others).await
            }
            _ => self.fold_all(events).await,
        }
    }

    async fn fold_all(&mut self, mut events: &[Event]) -> Result<(), Interruption> {
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
        let log = Arc::clone(&self.subject.log);
        let config = Arc::clone(&self.subject.config);
        let memory_bytes_max = self.subject.settings.borrow().memory_bytes_max();
        let environment = GuestEnvironment { config, log, memory_bytes_max };
        let maker = Maker { module: Arc::clone(&self.subject.module), environment };
        let now = self.context.clock.now();
        match self.parts.fold(&maker, now, &events).await {
            Ok(()) => {
                self.uncommitted += events.len();
                self.context.metrics.plugins.called(&self.subject.plugin, self.parts.call_time());
                Ok(())
            }
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

    /// Commits documents and checkpoint in one unit. Without documents the checkpoint may stay behind
    /// in memory for a while: reading the same events again would change nothing.
    async fn commit(&mut self, at_end: bool) -> Result<(), Interruption> {
        self.context.metrics.plugins.changes(&self.subject.plugin, self.parts.overlay_bytes());
        let mut documents = self.parts.changes().await.map_err(changes_failed)?;
        let told = self.subject.generation.feed.take_note(&documents);
        documents.extend(self.parked.iter().flat_map(ParkedKeys::changes));
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
        self.parts.settle();
        if let Some(parked) = &mut self.parked {
            parked.settle();
        }
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
                self.parts = parts(&self.context, &self.subject, false);
                self.parked = None;
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
        if let Some(bytes) = self.parts.memory_bytes() {
            metrics.plugins.uses_memory(&self.subject.plugin, bytes);
        }
        let passed = self.suspect.as_ref().is_none_or(|suspect| self.folded.0 >= suspect.end);
        if passed {
            (self.suspect, self.attempts) = (None, 0);
        }
        let phase = if at_end { Phase::Live } else { Phase::CatchingUp };
        let mut became_live = false;
        let now = self.context.clock.now();
        let parked = self.parked.as_ref().map(ParkedKeys::events);
        self.subject.generation.progress.send_modify(|progress| {
            became_live = phase == Phase::Live && progress.phase != Phase::Live;
            progress.next = self.folded;
            progress.phase = phase;
            progress.count(events, now);
            progress.parked_events = parked;
            if passed {
                progress.failure = None;
            }
        });
        if became_live {
            let (plugin, position) = (&self.subject.plugin, self.folded.0);
            tracing::info!(event_id = log_id::PROJECTION_LIVE, plugin, position, "projection is at the end of the log");
        }
    }

    /// Makes the checkpoint durable that was only in memory, as far as the store still takes it.
    async fn leave(&mut self) {
        let parked = self.parked.iter().flat_map(ParkedKeys::changes).next().is_some();
        if self.parts.is_clean() && !parked && self.folded > self.committed {
            let generation = self.subject.generation.id;
            let change = Change::Advance { generation, from: self.committed, to: self.folded };
            let _ = self.context.committer.commit(Unit::change(vec![change])).await;
        }
        tracing::info!(event_id = log_id::PROJECTION_STOPPED, plugin = self.subject.plugin, "projection stopped");
        self.subject.generation.progress.send_modify(|progress| progress.phase = Phase::Stopped);
    }
}

fn parts(context: &RunnerContext, subject: &Subject, empty: bool) -> Parts {
    let partitions = if subject.by_key { subject.settings.borrow().partitions() } else { 1 };
    let (store, generation) = (&context.store, subject.generation.id);
    Parts::new(partitions, || State::indexed(Arc::clone(store), generation, &subject.collections, empty))
}

fn follow(context: &RunnerContext, subject: &Subject, from: Position) -> LogFollower {
    context.reader.by(Arc::clone(&subject.lifts)).follow_log(from, subject.filter.clone())
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
