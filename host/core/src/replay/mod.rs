//! Replays: the past once more, at a pace, beside what is new.
//!
//! A replay is two documents: what its users want of it, and how far it is. For a group or a projection the
//! host with the lead runs it ([`run`]); how far it is stands in the same commit as what was handed over. A client
//! receives its replay itself ([`receive`]), and says where it was if it wants to be exact.

mod pace;
mod receive;
mod record;
mod run;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::code::{Code, Problem};
use crate::event::{Event, Offset, Position};
use crate::group::{GroupError, Groups, Start};
use crate::limits::replay as limits;
use crate::log::commit::{CommitError, Committer};
use crate::log::filter::Filter;
use crate::log::read::{ReadError, Reader};
use crate::log_id;
use crate::metrics::Metrics;
use crate::name::StreamName;
use crate::own::{document, guard, unit};
use crate::plugin::registry::Plugins;
use crate::plugin::swap::RebuildError;
use crate::store::{Direction, PageLimit, Rejection, Store, StoreError};
use crate::stream::configs::StreamConfigs;

pub use pace::Pace;
pub(crate) use pace::Pacer;
pub use receive::Received;
pub(crate) use record::throttles;
pub use record::{NewReplay, Replay, Source, State, Target};

use record::{COLLECTION, COLLECTION_PROGRESS, Record, key, load, load_all, shown};

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("replay {0} does not exist")]
    NotFound(Uuid),
    #[error("the replay is refused: {at}: {what}")]
    Invalid { at: &'static str, what: String },
    #[error("replay {id} is {}: {what}", .state.as_str())]
    State { id: Uuid, state: State, what: &'static str },
    #[error("there are as many replays as there can be; those that are over are forgotten a day later")]
    TooMany,
    #[error("projection `{0}` does not exist")]
    NoProjection(String),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("it could not be committed")]
    Commit(#[from] CommitError),
    #[error("the log could not be read")]
    Read(#[from] ReadError),
    #[error("another client receives the replay now")]
    Overtaken,
}

impl From<StoreError> for ReplayError {
    fn from(error: StoreError) -> Self {
        ReplayError::Read(error.into())
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        let text = error.to_string();
        match error {
            ReplayError::NotFound(_) => Problem::new(Code::ReplayNotFound, text),
            ReplayError::Invalid { at, what } => Problem::new(Code::InvalidArgument, text).with(at, what),
            ReplayError::State { .. } | ReplayError::Overtaken => Problem::new(Code::ReplayState, text),
            ReplayError::TooMany => Problem::new(Code::LimitReached, text),
            ReplayError::NoProjection(_) => Problem::new(Code::ProjectionNotFound, text),
            ReplayError::Rebuild(rebuild) => rebuild.into(),
            ReplayError::Group(group) => group.into(),
            ReplayError::Commit(commit) => commit.into(),
            ReplayError::Read(read) => read.into(),
        }
    }
}

/// The door to the replays. Cheap to clone.
#[derive(Clone)]
pub struct Replays(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    committer: Committer,
    reader: Reader,
    clock: Arc<dyn Clock>,
    groups: Groups,
    plugins: Plugins,
    configs: StreamConfigs,
    metrics: Arc<Metrics>,
    /// Something was changed on this host.
    changed: Notify,
    /// Who receives which one.
    receiving: Mutex<HashMap<Uuid, CancellationToken>>,
}

impl Replays {
    pub(crate) fn new(
        (store, committer, clock): (Arc<dyn Store>, Committer, Arc<dyn Clock>),
        reader: Reader,
        groups: Groups,
        plugins: Plugins,
        configs: StreamConfigs,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (changed, receiving) = (Notify::new(), Mutex::default());
        Self(Arc::new(Shared {
            store,
            committer,
            reader,
            clock,
            groups,
            plugins,
            configs,
            metrics,
            changed,
            receiving,
        }))
    }

    /// Begins a replay.
    pub async fn start(&self, new: NewReplay) -> Result<Replay, ReplayError> {
        new.pace.check().map_err(|(at, what)| ReplayError::Invalid { at, what })?;
        let invalid = |at: &'static str| move |what: String| ReplayError::Invalid { at, what };
        new.source.check()?;
        let source = self.check_target(&new).await?;
        self.forget_old().await?;
        let tail = self.0.reader.tail().next();
        let from = self.position_of(&source, new.from).await.map_err(named("from"))?;
        let until = match new.until {
            None => tail,
            Some(until) => self.position_of(&source, until).await.map_err(named("until"))?.min(tail),
        };
        if until < from {
            return Err(invalid("until")(format!("it lies at position {until}, before the beginning at {from}")));
        }
        let record = Record {
            id: Uuid::now_v7(),
            total: self.count(&source, from, until).await?,
            source: new.source,
            from: from.0,
            until: until.0,
            target: new.target,
            pace: new.pace,
            wanted: State::Running,
            created_at_us: self.0.clock.now().0,
            cancelled_at_us: None,
            generation: None,
        };
        let guards = vec![guard(COLLECTION, record.key(), None)];
        self.0.committer.commit(unit(guards, vec![record.put()])).await?;
        self.0.changed.notify_waiters();
        tracing::info!(event_id = log_id::REPLAY_CHANGED, replay = %record.id, "a replay was begun");
        let progress = record.beginning();
        Ok(shown(record, &progress, self.0.clock.now()))
    }

    pub async fn get(&self, id: Uuid) -> Result<Replay, ReplayError> {
        let (_, record, progress) = load(&*self.0.store, id).await?.ok_or(ReplayError::NotFound(id))?;
        Ok(shown(record, &progress, self.0.clock.now()))
    }

    /// All that are known, the oldest first.
    pub async fn list(&self) -> Result<Vec<Replay>, ReplayError> {
        let now = self.0.clock.now();
        let all = load_all(&*self.0.store).await?;
        Ok(all.into_iter().map(|(record, progress)| shown(record, &progress, now)).collect())
    }

    pub async fn pause(&self, id: Uuid) -> Result<Replay, ReplayError> {
        self.want(id, State::Paused).await
    }

    pub async fn resume(&self, id: Uuid) -> Result<Replay, ReplayError> {
        self.want(id, State::Running).await
    }

    /// Ends it where it is. What a group was handed it keeps; a projection goes on as it was before.
    pub async fn cancel(&self, id: Uuid) -> Result<Replay, ReplayError> {
        self.want(id, State::Cancelled).await
    }

    async fn want(&self, id: Uuid, wanted: State) -> Result<Replay, ReplayError> {
        for _ in 0..limits::TRIES_MAX {
            let (stored, record, progress) = load(&*self.0.store, id).await?.ok_or(ReplayError::NotFound(id))?;
            let now = shown(record.clone(), &progress, self.0.clock.now());
            if now.state == wanted {
                return Ok(now);
            }
            if now.state.is_over() {
                let what = "it does not change any more; begin another";
                return Err(ReplayError::State { id, state: now.state, what });
            }
            let guards = vec![guard(COLLECTION, key(id), Some(stored))];
            let cancelled_at_us = (wanted == State::Cancelled).then(|| self.0.clock.now().0);
            let documents = vec![Record { wanted, cancelled_at_us, ..record.clone() }.put()];
            match self.0.committer.commit(unit(guards, documents)).await {
                Ok(_) => {
                    self.0.changed.notify_waiters();
                    let wanted = wanted.as_str();
                    tracing::info!(event_id = log_id::REPLAY_CHANGED, replay = %id, wanted, "a replay was changed");
                    return self.get(id).await;
                }
                Err(CommitError::Rejected(Rejection::Overtaken { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Overloaded.into())
    }

    /// Checks who gets it, and says what is read for that: what places are counted in.
    async fn check_target(&self, new: &NewReplay) -> Result<Source, ReplayError> {
        let invalid = |at, what: &str| Err(ReplayError::Invalid { at, what: what.into() });
        match &new.target {
            Target::Client => Ok(new.source.clone()),
            Target::Group(group) => {
                let record = self.0.groups.record(group).await?;
                if record.queue {
                    return invalid("group", "a queue has no past to replay: what is settled is gone");
                }
                Ok(new.source.within(&record.config))
            }
            Target::Projection(projection) => {
                // Another host that has the lead knows better.
                if self.0.plugins.leads() && self.0.plugins.deployment(projection).is_none() {
                    return Err(ReplayError::NoProjection(projection.clone()));
                }
                if new.source != Source::default() || new.from != Start::First || new.until.is_some() {
                    let what = "a read model is made of all its events, so it is built anew from the first: leave \
                                out where to begin and end, and what to choose";
                    return invalid("target", what);
                }
                if new.pace.speed.is_some() {
                    return invalid("speed", "a read model does not know when events arrive: give `eventsPerSecond`");
                }
                Ok(Source::default())
            }
        }
    }

    async fn position_of(&self, source: &Source, start: Start) -> Result<Position, ReplayError> {
        let reader = &self.0.reader;
        let tail = reader.tail().next();
        Ok(match start {
            Start::First => Position(0),
            Start::Last => tail,
            Start::Position(position) => Position(position).min(tail),
            Start::Time(us) => reader.position_at(crate::clock::Timestamp(us)).await?,
            Start::Offset(offset) => {
                let Some(stream) = source.only_stream() else {
                    let what = "an offset is a place in one stream: name one, or give a position or a time";
                    return Err(ReplayError::Invalid { at: "offset", what: what.into() });
                };
                self.first_of(stream, Offset(offset)).await?.map_or(tail, |event| event.position()).min(tail)
            }
        })
    }

    async fn first_of(&self, stream: &str, from: Offset) -> Result<Option<Event>, ReplayError> {
        let one = PageLimit { events: 1, bytes: 1 };
        let stream = StreamName::from_stored(stream);
        let found = self.0.store.read_stream(&stream, from, Direction::Forward, one).await?;
        Ok(found.into_iter().next())
    }

    /// Events in a range, if that can be told without reading them all.
    async fn count(&self, source: &Source, from: Position, until: Position) -> Result<Option<u64>, ReplayError> {
        if !source.is_whole() {
            return Ok(None);
        }
        let Some(stream) = source.only_stream() else {
            return Ok((source.streams.is_empty()).then_some(until.0 - from.0));
        };
        let filter = Source { streams: vec![stream.to_owned()], ..Source::default() }.filter().unwrap_or_default();
        let Some(info) = self.0.store.stream(&StreamName::from_stored(stream)).await? else { return Ok(Some(0)) };
        let first = self.offset_from(&filter, from, info.next_offset).await?;
        let last = self.offset_from(&filter, until, info.next_offset).await?;
        Ok(Some(last.0.saturating_sub(first.0.max(info.oldest().0))))
    }

    /// The offset of the first event of a stream at a position or behind it.
    async fn offset_from(&self, filter: &Filter, from: Position, end: Offset) -> Result<Offset, ReplayError> {
        let one = PageLimit { events: 1, bytes: 1 };
        let mut from = from;
        loop {
            let page = self.0.reader.log_page(from, Direction::Forward, filter, one).await?;
            match (page.events.first(), page.end) {
                (Some(event), _) => return Ok(event.offset()),
                (None, true) => return Ok(end),
                (None, false) => from = page.next.unwrap_or(from),
            }
        }
    }

    /// Those that were over long ago make room.
    async fn forget_old(&self) -> Result<(), ReplayError> {
        let all = load_all(&*self.0.store).await?;
        let (count, before) = (all.len(), self.0.clock.now().0 - limits::KEPT_US);
        let old = all.into_iter().filter(|(record, progress)| {
            // A projection's build is given up first.
            let rests = record.generation.is_none() || progress.ended_at_us.is_some();
            rests && record.over_since(progress).is_some_and(|over| over < before)
        });
        let documents: Vec<_> = old
            .flat_map(|(record, _)| [COLLECTION, COLLECTION_PROGRESS].map(|of| document(of, record.key(), None)))
            .collect();
        if count - documents.len() / 2 >= limits::REPLAYS_MAX {
            return Err(ReplayError::TooMany);
        }
        if !documents.is_empty() {
            self.0.committer.commit(unit(Vec::new(), documents)).await?;
        }
        Ok(())
    }

    fn receiving(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, CancellationToken>> {
        self.0.receiving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names the bound that a wrong place stands for.
fn named(bound: &'static str) -> impl Fn(ReplayError) -> ReplayError {
    move |error| match error {
        ReplayError::Invalid { what, .. } => ReplayError::Invalid { at: bound, what },
        other => other,
    }
}
