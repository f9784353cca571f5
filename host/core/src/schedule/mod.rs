//! Schedules: events that are published at a time, once or again and again.
//!
//! A schedule is a document, and its next time a [timer](crate::timer). Publishing, moving on to the next
//! time and counting are one unit, so that an event is published once for each time, whatever happens to the
//! host in between. Its id follows from the schedule and the time.

mod fire;
mod when;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Clock, Timestamp};
use crate::code::{Code, Problem};
use crate::event::{Event, NewEvent, PreparedEvent};
use crate::limits::{read, schedule as limits};
use crate::log::commit::{CommitError, Committer};
use crate::log::publish::{Append, AppendError, Publisher};
use crate::log_id;
use crate::metrics::Metrics;
use crate::name::{self, StreamName};
use crate::own::{self, document, guard, unit};
use crate::store::{DocumentChange, Rejection, Store, StoreError};
use crate::stream::configs::StreamConfigs;
use crate::timer::{Kind, Timer, Wake};

pub(crate) use fire::Firing;
pub use when::{Missed, When};

const COLLECTION: &str = "schedule";

/// What is to be published, and when.
#[derive(Clone, Debug)]
pub struct ScheduleConfig {
    pub stream: String,
    /// Its id is not looked at: each time has its own. Without a time of its own it gets that of the schedule.
    pub event: NewEvent,
    pub when: When,
    pub missed: Missed,
}

/// A schedule as it stands.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub state: ScheduleState,
    /// What is published, but for its id and time.
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleState {
    pub name: String,
    pub when: When,
    pub missed: Missed,
    pub paused: bool,
    /// Whether the event has a time of its own.
    pub own_time: bool,
    pub created_at_us: i64,
    /// When it publishes next; `None` when it is paused.
    pub next_us: Option<i64>,
    /// The time for which it published last.
    pub last_us: Option<i64>,
    pub published: u64,
    pub failed: u64,
    /// Why it could not publish for the last time that was due.
    pub last_error: Option<String>,
}

impl ScheduleState {
    fn next(&self) -> Option<Timestamp> {
        self.next_us.map(Timestamp)
    }

    fn timer(&self) -> Option<Timer> {
        self.next().map(|due| timer(&self.name, due))
    }

    /// Of the event for a time.
    fn event_id(&self, due: Timestamp) -> Uuid {
        let text = format!("{}\u{1}{}\u{1}{}", self.name, self.created_at_us, due.0);
        Uuid::new_v5(&NAMESPACE, text.as_bytes())
    }
}

/// Under which the ids of published events are made.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_3a5e_6a5b_4e0b_9a53_6d1b_8f0e_52c1);

fn timer(name: &str, due: Timestamp) -> Timer {
    Timer { due, kind: Kind::Schedule, id: name.to_owned() }
}

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("schedule `{0}` does not exist")]
    NotFound(String),
    #[error("the schedule is refused: {at}: {what}")]
    Invalid { at: &'static str, what: String },
    #[error("its event is refused")]
    Event(#[from] AppendError),
    #[error("it could not be committed")]
    Commit(#[from] CommitError),
    #[error("the store could not be read")]
    Store(#[from] StoreError),
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let text = error.to_string();
        match error {
            ScheduleError::NotFound(_) => Problem::new(Code::ScheduleNotFound, text),
            ScheduleError::Invalid { at, what } => Problem::new(Code::InvalidArgument, text).with(at, what),
            ScheduleError::Event(append) => append.into(),
            ScheduleError::Commit(commit) => commit.into(),
            ScheduleError::Store(store) => Problem::from(&store),
        }
    }
}

/// A page of schedules, in byte order of their names.
#[derive(Clone, Debug, Default)]
pub struct SchedulePage {
    pub schedules: Vec<Schedule>,
    pub more: bool,
}

/// The door to the schedules. Cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    configs: StreamConfigs,
    wake: Wake,
    metrics: Arc<Metrics>,
}

impl Schedules {
    pub(crate) fn new(
        publisher: Publisher,
        configs: StreamConfigs,
        (store, committer, clock, wake): (Arc<dyn Store>, Committer, Arc<dyn Clock>, Wake),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { store, committer, clock, publisher, configs, wake, metrics }
    }

    /// Makes a schedule, or replaces the one of that name, whose counts it keeps.
    pub async fn put(&self, name: &str, config: ScheduleConfig) -> Result<Schedule, ScheduleError> {
        name::check(name).map_err(|error| ScheduleError::Invalid { at: "name", what: error.to_string() })?;
        config.when.check().map_err(|(at, what)| ScheduleError::Invalid { at, what })?;
        let event = self.check(&config).await?;
        for _ in 0..limits::TRIES_MAX {
            let now = self.clock.now();
            let before = self.stored(name).await?;
            let counts = before.as_ref().map(|(_, before)| &before.state);
            let mut state = ScheduleState {
                name: name.to_owned(),
                when: config.when.clone(),
                missed: config.missed,
                paused: false,
                own_time: config.event.time.is_some(),
                created_at_us: now.0,
                next_us: None,
                last_us: counts.and_then(|counts| counts.last_us),
                published: counts.map_or(0, |counts| counts.published),
                failed: counts.map_or(0, |counts| counts.failed),
                last_error: None,
            };
            state.next_us = first(&state, now)?;
            if self.replace(name, before, Some((&state, &event))).await? {
                tracing::info!(event_id = log_id::SCHEDULE_CHANGED, schedule = name, "a schedule was set");
                return Ok(Schedule { state, event });
            }
        }
        Err(CommitError::Overloaded.into())
    }

    pub async fn get(&self, name: &str) -> Result<Schedule, ScheduleError> {
        let found = self.stored(name).await?;
        found.map(|(_, schedule)| schedule).ok_or_else(|| ScheduleError::NotFound(name.to_owned()))
    }

    /// Those after `after`, at most `limit` of them.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<SchedulePage, ScheduleError> {
        let limit = limit.clamp(1, read::LIST_DOCUMENTS_MAX);
        let page = own::page(&*self.store, COLLECTION, "", after, limit).await?;
        let schedules = page.documents.iter().map(|document| decode(&document.key, &document.value));
        Ok(SchedulePage { schedules: schedules.collect::<Result<_, _>>()?, more: page.more })
    }

    pub async fn remove(&self, name: &str) -> Result<(), ScheduleError> {
        self.change(name, |_, _| Ok(None)).await?;
        tracing::info!(event_id = log_id::SCHEDULE_CHANGED, schedule = name, "a schedule was removed");
        Ok(())
    }

    /// Nothing is published until it is resumed, and nothing is made up for then.
    pub async fn pause(&self, name: &str) -> Result<(), ScheduleError> {
        self.change(name, |state, _| Ok(Some(ScheduleState { paused: true, next_us: None, ..state }))).await
    }

    /// Goes on with the next time; one of a single time that has passed publishes now.
    pub async fn resume(&self, name: &str) -> Result<(), ScheduleError> {
        let resumed = |state: ScheduleState, now| {
            let next_us = if state.paused { first(&state, now)? } else { state.next_us };
            Ok(Some(ScheduleState { paused: false, next_us, ..state }))
        };
        self.change(name, resumed).await
    }

    async fn change(
        &self,
        name: &str,
        change: impl Fn(ScheduleState, Timestamp) -> Result<Option<ScheduleState>, ScheduleError>,
    ) -> Result<(), ScheduleError> {
        for _ in 0..limits::TRIES_MAX {
            let Some((stored, before)) = self.stored(name).await? else {
                return Err(ScheduleError::NotFound(name.to_owned()));
            };
            let event = before.event.clone();
            let after = change(before.state.clone(), self.clock.now())?;
            if after.as_ref() == Some(&before.state) {
                return Ok(());
            }
            if self.replace(name, Some((stored, before)), after.as_ref().map(|state| (state, &event))).await? {
                return Ok(());
            }
        }
        Err(CommitError::Overloaded.into())
    }

    /// `false` if it is no longer as it was read.
    async fn replace(
        &self,
        name: &str,
        before: Option<(Bytes, Schedule)>,
        after: Option<(&ScheduleState, &Event)>,
    ) -> Result<bool, ScheduleError> {
        let (stored, before) = before.unzip();
        let guards = vec![guard(COLLECTION, name.to_owned(), stored)];
        let documents = moved(name, before.as_ref().map(|before| &before.state), after);
        match self.committer.commit(unit(guards, documents)).await {
            Ok(_) => {
                self.wake.wake();
                Ok(true)
            }
            Err(CommitError::Rejected(Rejection::Overtaken { .. })) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn stored(&self, name: &str) -> Result<Option<(Bytes, Schedule)>, StoreError> {
        let stored = own::read(&*self.store, COLLECTION, name).await?;
        stored.map(|stored| Ok((stored.clone(), decode(name, &stored)?))).transpose()
    }

    /// The event, encoded, if it could be published now.
    async fn check(&self, config: &ScheduleConfig) -> Result<Event, ScheduleError> {
        // Any id that is not nil will do.
        let event = NewEvent { id: NAMESPACE, ..config.event.clone() };
        let append = Append { stream: config.stream.clone(), events: vec![event.clone()], ..Append::default() };
        self.publisher.unit(append).await?;
        let stream = StreamName::new(&config.stream).map_err(AppendError::StreamName)?;
        let encoded = PreparedEvent::encode(&event, &stream, Timestamp(0)).view();
        Ok(encoded.expect("what was encoded can be decoded"))
    }
}

/// When a schedule that begins now publishes first.
fn first(state: &ScheduleState, now: Timestamp) -> Result<Option<i64>, ScheduleError> {
    if let When::At(us) = state.when {
        return Ok(Some(us));
    }
    let next = state.when.next(now, Timestamp(state.created_at_us));
    let never = || ScheduleError::Invalid { at: "when", what: "it never comes".into() };
    Ok(Some(next.ok_or_else(never)?.0))
}

/// The documents of a schedule that changes, its timer included.
fn moved(name: &str, before: Option<&ScheduleState>, after: Option<(&ScheduleState, &Event)>) -> Vec<DocumentChange> {
    let value = after.map(|(state, event)| own::encode_with(state, event.raw()));
    let (old, new) = (before.and_then(ScheduleState::timer), after.and_then(|(state, _)| state.timer()));
    let mut documents = vec![document(COLLECTION, name.to_owned(), value)];
    if old != new {
        documents.extend(old.map(|timer| timer.remove()));
        documents.extend(new.map(|timer| timer.set()));
    }
    documents
}

fn decode(name: &str, stored: &Bytes) -> Result<Schedule, StoreError> {
    let what = || format!("schedule `{name}`");
    let (state, event) = own::decode_with(&what, stored)?;
    let event = Event::decode(event).map_err(|_| StoreError::Damaged { what: what() })?;
    Ok(Schedule { state, event })
}
