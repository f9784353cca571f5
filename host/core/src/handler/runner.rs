//! The loop of a handler: takes events from its group, hands them to the guest, and settles them with what that
//! brought about.
//!
//! When a call fails, nothing of it is kept, and the events are handed over again in halves, until the guilty
//! one is by itself. It is retried or parked, and what comes behind it in its key waits for it; the others go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::group_of;
use super::outbox::{Outbox, OutboxError};
use super::output::{OutputError, output};
use crate::clock::{Clock, Timestamp};
use crate::event::{Event, Position};
use crate::group::{GroupError, Groups, Handing, Membership, Nack};
use crate::guest::{Batch, Disposition, Failure, Guest, GuestEnvironment, GuestError, GuestModule};
use crate::limits::plugin as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log::publish::Publisher;
use crate::log_id;
use crate::metrics::Metrics;
use crate::name::Pattern;
use crate::own::{document, guard, unit};
use crate::plugin::log::PluginLog;
use crate::plugin::settings::{Checkpoint, OnFailure, Settings};
use crate::projection::generation::{FailureInfo, Generation, Phase};
use crate::projection::state::{State, StateError};
use crate::store::{Change, Guard, PageLimit, Rejection, Store, StoreError};
use crate::stream::configs::StreamConfigs;

/// Who runs a handler: a document that each runner replaces when it begins, and guards from then on.
const COLLECTION: &str = "handler";
const MEMBER: &str = "handler";

/// How long it waits for events before it looks at its settings again.
const PULL_US: i64 = 5_000_000;

/// How long it rests when the host itself cannot go on.
const REST: Duration = Duration::from_millis(500);

/// What every runner is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) groups: Groups,
    pub(crate) publisher: Publisher,
    pub(crate) configs: StreamConfigs,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Which handler to run.
pub(crate) struct Subject {
    pub(crate) plugin: String,
    pub(crate) module: Arc<dyn GuestModule>,
    pub(crate) config: Arc<[(String, String)]>,
    pub(crate) appends_to: Arc<[Pattern]>,
    pub(crate) collections: Vec<String>,
    pub(crate) log: Arc<PluginLog>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) settings: watch::Receiver<Settings>,
}

pub(crate) struct Runner {
    context: Context,
    subject: Subject,
    member: Option<Membership>,
    guest: Option<Box<dyn Guest>>,
    calls: u32,
    /// `None` only while the guest has it, and before it was loaded.
    state: Option<State>,
    /// What tells that no other runner has begun since.
    owner: Guard,
    /// Events that the store has refused the output of, and why.
    refused: HashMap<Uuid, String>,
    /// Events that are handed over one by one, since one of them was refused by the store.
    careful: usize,
}

/// Why a round ended early.
enum Interruption {
    Stop,
    /// What was pulled is void, or may be committed or not: it is pulled anew.
    Void,
    /// The plugin waits for a person.
    Halt {
        error: String,
        position: Position,
    },
    /// The host itself cannot go on at the moment.
    Host {
        reason: String,
    },
}

impl Runner {
    pub(crate) fn new(context: Context, subject: Subject) -> Self {
        let mark = Bytes::from(Uuid::new_v4().to_string());
        let owner = guard(COLLECTION, subject.plugin.clone(), Some(mark));
        Self {
            context,
            subject,
            member: None,
            guest: None,
            calls: 0,
            state: None,
            owner,
            refused: HashMap::new(),
            careful: 0,
        }
    }

    /// Runs until its generation is stopped.
    pub(crate) async fn run(mut self) {
        let stop = self.subject.generation.stop.clone();
        let plugin = self.subject.plugin.clone();
        tracing::info!(event_id = log_id::HANDLER_STARTED, plugin, "handler started");
        while !stop.is_cancelled() {
            match self.round(&stop).await {
                Ok(()) => {}
                Err(Interruption::Stop) => break,
                Err(Interruption::Void) => self.begin_anew().await,
                Err(Interruption::Halt { error, position }) => {
                    self.begin_anew().await;
                    self.halt(error, position, &stop).await;
                }
                Err(Interruption::Host { reason }) => {
                    self.begin_anew().await;
                    tracing::warn!(event_id = log_id::HANDLER_RETRIES, plugin, reason, "handler retries");
                    self.fail(Phase::Retrying, reason, None, 0);
                    let _ = stop.run_until_cancelled(tokio::time::sleep(REST)).await;
                }
            }
        }
        if let Some(member) = self.member.take() {
            let _ = member.leave().await;
        }
        tracing::info!(event_id = log_id::HANDLER_STOPPED, plugin, "handler stopped");
        self.subject.generation.progress.send_modify(|progress| progress.phase = Phase::Stopped);
    }

    /// One pull, and what is made of it.
    async fn round(&mut self, stop: &CancellationToken) -> Result<(), Interruption> {
        self.wait_while_paused(stop).await?;
        let member = self.member().await?;
        let settings = self.subject.settings.borrow().clone();
        let single = self.careful > 0 || settings.checkpoint == Checkpoint::Event;
        let events = if single { 1 } else { settings.call_events_max() };
        let room = PageLimit { events, bytes: limits::CALL_BYTES_MAX };
        let until = Timestamp(self.context.clock.now().0.saturating_add(PULL_US));
        let mut throttle = self.subject.generation.throttle.subscribe();
        let pulled = tokio::select! {
            pulled = member.pull(room, until) => pulled.map_err(group_failed)?,
            // What was pulled by then comes back when the member leaves.
            _ = throttle.changed() => return Err(Interruption::Void),
            () = stop.cancelled() => return Err(Interruption::Stop),
        };
        if pulled.is_empty() {
            self.report(0, Phase::Live);
            return Ok(());
        }
        self.careful = self.careful.saturating_sub(pulled.len());
        self.work_through(&member, pulled).await
    }

    /// Handles events in as few calls as it can; those of a key that one was refused of are left out.
    async fn work_through(&mut self, member: &Membership, pulled: Vec<Handing>) -> Result<(), Interruption> {
        let mut parts = vec![pulled];
        let mut held: Vec<String> = Vec::new();
        while let Some(mut part) = parts.pop() {
            // Their deliveries are void already.
            part.retain(|one| !held.iter().any(|key| key == key_of(&one.event)));
            if part.is_empty() {
                continue;
            }
            let known = part.iter().find_map(|one| self.refused.remove(&one.event.id()).map(|why| (one.token, why)));
            let outcome = match (&known, part.len()) {
                (Some((_, why)), 1) => Err(GuestError::Outbox(OutboxError::Refused { why: why.clone() })),
                (Some((token, why)), _) => {
                    let guilty = part.iter().find(|one| one.token == *token).map(|one| one.event.id());
                    self.refused.extend(guilty.map(|id| (id, why.clone())));
                    Err(GuestError::Outbox(OutboxError::Refused { why: why.clone() }))
                }
                (None, _) => self.handle(member, &part).await?,
            };
            match outcome {
                Ok(()) => {}
                Err(_) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
                Err(error) => {
                    let one = part.remove(0);
                    held.push(key_of(&one.event).to_owned());
                    self.give_back(member, one, &error).await?;
                }
            }
        }
        Ok(())
    }

    /// One call, and its commit. An error of the guest leaves nothing behind.
    async fn handle(&mut self, member: &Membership, part: &[Handing]) -> Result<Result<(), GuestError>, Interruption> {
        let events: Arc<[Event]> = part.iter().map(|one| one.event.clone()).collect();
        let mut batch = match self.call(Arc::clone(&events)).await? {
            Ok(batch) => batch,
            Err(error) => return Ok(Err(error)),
        };
        let emitted = batch.outbox.len() as u64;
        let appends = batch.outbox.take(&self.subject.plugin, &events);
        let state = batch.state;
        let mut effects = match output(&self.context.publisher, &self.context.configs, appends).await {
            Ok(unit) => unit,
            Err(error) => {
                self.state = Some(state);
                self.discard();
                return match error {
                    OutputError::Guest(error) => Ok(Err(error.into())),
                    OutputError::Host(reason) => Err(Interruption::Host { reason }),
                };
            }
        };
        let documents = state.changes().await.map_err(|error| Interruption::Host { reason: error.to_string() })?;
        if !documents.is_empty() {
            effects.changes.push(Change::PutDocuments { generation: self.subject.generation.id, documents });
        }
        self.state = Some(state);
        effects.guards.push(self.owner.clone());
        let tokens = part.iter().map(|one| one.token).collect();
        match member.settle(tokens, effects).await {
            Ok(true) => {
                self.settled(&events, emitted);
                Ok(Ok(()))
            }
            Ok(false) | Err(GroupError::SessionEnded) => Err(Interruption::Void),
            Err(GroupError::Commit(CommitError::Rejected(rejection))) => Err(self.rejected(rejection, &events)),
            Err(error) => {
                // It may be committed or not: what is known of documents is out of date.
                self.state = None;
                Err(group_failed(error))
            }
        }
    }

    async fn call(&mut self, events: Arc<[Event]>) -> Result<Result<Batch, GuestError>, Interruption> {
        if self.calls >= limits::CALLS_OF_INSTANCE_MAX {
            self.guest = None;
        }
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => match self.instantiate().await {
                Ok(guest) => guest,
                Err(error) => return Ok(self.failed_call(error)),
            },
        };
        self.calls += 1;
        self.subject.log.begin_call(self.context.clock.now());
        let state = match self.state.take() {
            Some(state) => state,
            None => self.load().await?,
        };
        let batch = Batch { events, state, outbox: Outbox::new(Arc::clone(&self.subject.appends_to)) };
        let (batch, outcome) = guest.call(batch).await;
        match outcome {
            Ok(()) => {
                self.context.metrics.plugins.handled(&self.subject.plugin, &*guest, &batch);
                self.guest = Some(guest);
                Ok(Ok(batch))
            }
            Err(error) => {
                if matches!(error, GuestError::Failed(_)) {
                    self.guest = Some(guest);
                }
                self.state = Some(batch.state);
                self.discard();
                Ok(self.failed_call(error))
            }
        }
    }

    fn failed_call(&self, error: GuestError) -> Result<Batch, GuestError> {
        self.context.metrics.plugins.failed(&self.subject.plugin, &error);
        Err(error)
    }

    async fn instantiate(&mut self) -> Result<Box<dyn Guest>, GuestError> {
        self.calls = 0;
        let (config, log) = (Arc::clone(&self.subject.config), Arc::clone(&self.subject.log));
        let memory_bytes_max = self.subject.settings.borrow().memory_bytes_max();
        self.subject.module.start(GuestEnvironment { config, log, memory_bytes_max }).await
    }

    /// Its documents, and the mark that it is the one that writes them now.
    async fn load(&mut self) -> Result<State, Interruption> {
        let store = Arc::clone(&self.context.store);
        let generation = self.subject.generation.id;
        let mut empty = true;
        for collection in &self.subject.collections {
            let page = store.scan(generation, collection, "", None, 1).await;
            empty &= page.map_err(|error| Interruption::Host { reason: error.to_string() })?.documents.is_empty();
        }
        Ok(State::new(store, generation, &self.subject.collections, empty))
    }

    fn settled(&mut self, events: &[Event], emitted: u64) {
        if let Some(state) = &mut self.state {
            state.settle();
        }
        let (metrics, name) = (&self.context.metrics, &[self.subject.plugin.as_str()]);
        metrics.handler_events.with_label_values(name).inc_by(events.len() as u64);
        metrics.handler_emitted.with_label_values(name).inc_by(emitted);
        let now = self.context.clock.now();
        self.subject.generation.progress.send_modify(|progress| {
            if let Some(last) = events.iter().max_by_key(|event| event.position()) {
                progress.next = progress.next.max(Position(last.position().0 + 1));
                progress.seen_at = last.recorded_at();
            }
            progress.count(events.len() as u64, now);
            progress.phase = Phase::CatchingUp;
            progress.failure = None;
        });
    }

    /// The store has refused the unit. The group begins anew, and so does this.
    fn rejected(&mut self, rejection: Rejection, events: &[Event]) -> Interruption {
        self.discard();
        match &rejection {
            Rejection::Overtaken { collection, .. } if **collection == *COLLECTION => return Interruption::Stop,
            // Another host has taken shares over.
            Rejection::Overtaken { .. } => return Interruption::Void,
            _ => {}
        }
        if let [event] = events {
            if self.refused.len() >= limits::CALL_EVENTS_MAX {
                self.refused.clear();
            }
            self.refused.insert(event.id(), crate::code::Problem::from(rejection).message);
        } else {
            self.careful = events.len();
        }
        Interruption::Void
    }

    /// An event that fails by itself goes back to the group, to be retried or parked.
    async fn give_back(&mut self, member: &Membership, one: Handing, error: &GuestError) -> Result<(), Interruption> {
        let position = one.event.position();
        let settings = self.subject.settings.borrow().clone();
        let attempts = one.tries.count() + 1;
        let text = error.to_string();
        let again = match error {
            GuestError::Failed(Failure { disposition: Disposition::Halt, .. }) => {
                return Err(Interruption::Halt { error: text, position });
            }
            GuestError::State(error) if matches!(**error, StateError::Store(_)) => {
                return Err(Interruption::Host { reason: text });
            }
            GuestError::Failed(Failure { disposition: Disposition::Retry, retry_after_ms, .. }) => {
                Some(retry_after_ms.map(u64::from))
            }
            // The next instance may fare better.
            GuestError::Trapped { .. }
            | GuestError::Exhausted { .. }
            | GuestError::DeadlineExceeded { .. }
            | GuestError::OutOfMemory { .. } => Some(None),
            GuestError::Failed(_)
            | GuestError::State(_)
            | GuestError::Outbox(_)
            | GuestError::Data(_)
            | GuestError::Contract { .. } => None,
        };
        let is_last = again.is_none() || attempts >= settings.attempts();
        if is_last && settings.on_failure == Some(OnFailure::Pause) {
            return Err(Interruption::Halt { error: text, position });
        }
        let (plugin, position_, reason) = (&self.subject.plugin, position.0, &text);
        tracing::warn!(event_id = log_id::HANDLER_RETRIES, plugin, position = position_, reason, "an event failed");
        let nack = match again {
            Some(after_ms) => {
                self.fail(Phase::Retrying, text.clone(), Some(position), attempts);
                self.context.metrics.plugins.retries.with_label_values(&[plugin.as_str()]).inc();
                Nack::Retry { error: text, after_ms }
            }
            None => {
                let failure = FailureInfo {
                    reason: text.clone(),
                    position: Some(position),
                    time: self.context.clock.now(),
                    attempts,
                };
                self.subject.generation.progress.send_modify(|progress| progress.last_failure = Some(failure));
                Nack::Park { error: text }
            }
        };
        member.nack(vec![one.token], nack).await.map_err(group_failed)?;
        Ok(())
    }

    /// The membership, made and marked as the handler's if there is none.
    async fn member(&mut self) -> Result<Membership, Interruption> {
        if let Some(member) = &self.member {
            return Ok(member.clone());
        }
        let Guard { key, value, .. } = self.owner.clone();
        let mark = unit(Vec::new(), vec![document(COLLECTION, key, value)]);
        self.context.committer.commit(mark).await.map_err(|error| group_failed(error.into()))?;
        let group = group_of(&self.subject.plugin);
        let member = self.context.groups.join_own(&group, MEMBER).await.map_err(group_failed)?;
        self.member = Some(member.clone());
        Ok(member)
    }

    /// Gives back what it has.
    async fn begin_anew(&mut self) {
        self.discard();
        if let Some(member) = self.member.take() {
            let _ = member.leave().await;
        }
    }

    fn discard(&mut self) {
        if let Some(state) = &mut self.state {
            state.discard();
        }
    }

    async fn wait_while_paused(&mut self, stop: &CancellationToken) -> Result<(), Interruption> {
        let mut throttle = self.subject.generation.throttle.subscribe();
        if !throttle.borrow_and_update().rests() {
            return Ok(());
        }
        self.begin_anew().await;
        if throttle.borrow().cold {
            (self.guest, self.state) = (None, None);
        }
        self.subject.generation.progress.send_modify(|progress| progress.phase = Phase::Paused);
        let resumed = throttle.wait_for(|throttle| !throttle.rests());
        // The generation has the sender.
        match stop.run_until_cancelled(resumed).await {
            Some(_) => Ok(()),
            None => Err(Interruption::Stop),
        }
    }

    /// Waits until someone resumes or stops it.
    async fn halt(&mut self, error: String, position: Position, stop: &CancellationToken) {
        let (plugin, reason) = (&self.subject.plugin, &error);
        tracing::error!(event_id = log_id::HANDLER_PAUSED, plugin, position = position.0, reason, "handler paused");
        self.guest = None;
        self.fail(Phase::Paused, error, Some(position), 1);
        let mut throttle = self.subject.generation.throttle.subscribe();
        throttle.borrow_and_update();
        let _ = stop.run_until_cancelled(throttle.changed()).await;
    }

    fn fail(&self, phase: Phase, reason: String, position: Option<Position>, attempts: u32) {
        let failure = FailureInfo { reason, position, time: self.context.clock.now(), attempts };
        self.subject.generation.progress.send_modify(|progress| {
            progress.phase = phase;
            progress.last_failure = Some(failure.clone());
            progress.failure = Some(failure);
        });
    }

    fn report(&self, events: u64, phase: Phase) {
        let now = self.context.clock.now();
        self.subject.generation.progress.send_modify(|progress| {
            progress.phase = phase;
            progress.count(events, now);
        });
    }
}

/// What orders events in a group.
fn key_of(event: &Event) -> &str {
    event.key().unwrap_or(event.stream())
}

fn group_failed(error: GroupError) -> Interruption {
    match error {
        GroupError::SessionEnded => Interruption::Void,
        GroupError::Stopped | GroupError::NotFound(_) | GroupError::Commit(CommitError::Stopped) => Interruption::Stop,
        GroupError::Commit(CommitError::Rejected(_)) => Interruption::Void,
        error => Interruption::Host { reason: crate::tasks::chain(&error) },
    }
}

impl From<StoreError> for Interruption {
    fn from(error: StoreError) -> Self {
        Interruption::Host { reason: error.to_string() }
    }
}
