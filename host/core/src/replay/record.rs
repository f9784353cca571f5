//! What is stored of a replay, and what is told of it.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Pace, ReplayError};
use crate::clock::Timestamp;
use crate::event::Position;
use crate::group::{GroupConfig, InvalidGroup, Start};
use crate::log::filter::Filter;
use crate::log_id;
use crate::name::InvalidName;
use crate::own::{self, document};
use crate::projection::generation::Throttle;
use crate::store::{DocumentChange, Store, StoreError};

pub(super) const COLLECTION: &str = "replay";
pub(super) const COLLECTION_PROGRESS: &str = "replay-progress";

/// Which events; all of the log without any. Each list that is not empty must have a match; see [`FilterTerm`](crate::log::filter::FilterTerm).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    pub streams: Vec<String>,
    pub types: Vec<String>,
    pub keys: Vec<String>,
    pub tags: Vec<String>,
    pub correlation_ids: Vec<String>,
}

impl Source {
    /// Names the first entry that cannot be.
    pub(super) fn check(&self) -> Result<(), ReplayError> {
        let first = |broken: InvalidGroup| broken.0.into_iter().next().unwrap_or_default();
        self.as_of_group().check().map_err(first).map_err(|(at, what)| {
            let what = format!("{at}: {what}");
            ReplayError::Invalid { at: "source", what }
        })
    }

    pub(super) fn filter(&self) -> Result<Filter, InvalidName> {
        self.as_of_group().filter()
    }

    /// A group chooses in the same way.
    fn as_of_group(&self) -> GroupConfig {
        let Self { streams, types, keys, tags, correlation_ids } = self.clone();
        GroupConfig { streams, types, keys, tags, correlation_ids, ..GroupConfig::default() }
    }

    /// What is read for a group: where both choose, what is replayed has to satisfy both, and is read by what is
    /// chosen here.
    pub(super) fn within(&self, config: &GroupConfig) -> Self {
        let both = |own: &[String], of_group: &[String]| if own.is_empty() { of_group } else { own }.to_vec();
        Self {
            streams: both(&self.streams, &config.streams),
            types: both(&self.types, &config.types),
            keys: both(&self.keys, &config.keys),
            tags: both(&self.tags, &config.tags),
            correlation_ids: both(&self.correlation_ids, &config.correlation_ids),
        }
    }

    /// The one stream that is replayed, if it is one.
    pub(super) fn only_stream(&self) -> Option<&str> {
        match self.streams.as_slice() {
            [stream] if !stream.contains('*') => Some(stream),
            _ => None,
        }
    }

    /// Whether nothing but the streams chooses.
    pub(super) fn is_whole(&self) -> bool {
        let Self { streams: _, types, keys, tags, correlation_ids } = self;
        types.is_empty() && keys.is_empty() && tags.is_empty() && correlation_ids.is_empty()
    }
}

/// Who gets the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// Its members, beside what is new; of those events that the group wants.
    Group(String),
    /// It is built anew in the shadow.
    Projection(String),
    /// Whoever [receives](super::Replays::receive) it.
    Client,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct NewReplay {
    pub source: Source,
    /// Inclusive.
    pub from: Start,
    /// The first that is not replayed any more; the end of the log as it is now without.
    pub until: Option<Start>,
    pub target: Target,
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Running,
    Paused,
    Cancelled,
    Done,
    /// It cannot go on.
    Failed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Cancelled => "cancelled",
            State::Done => "done",
            State::Failed => "failed",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, State::Cancelled | State::Done | State::Failed)
    }
}

/// What its users have said. Whoever changes it is guarded by what was there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Its key.
    #[serde(skip)]
    pub(super) id: Uuid,
    pub(super) source: Source,
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) target: Target,
    pub(super) pace: Pace,
    /// Events in the range, if that could be told without reading them.
    pub(super) total: Option<u64>,
    /// `Running`, `Paused` or `Cancelled`.
    pub(super) wanted: State,
    pub(super) created_at_us: i64,
    #[serde(default)]
    pub(super) cancelled_at_us: Option<i64>,
    /// Of the projection that is built.
    pub(super) generation: Option<u64>,
}

/// How far it is; written by the one who replays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    pub(super) next: u64,
    pub(super) done: u64,
    /// How long it has run, pauses left out.
    pub(super) ran_us: i64,
    pub(super) ended_at_us: Option<i64>,
    pub(super) error: Option<String>,
    /// When this was written.
    #[serde(default)]
    pub(super) noted_at_us: i64,
}

/// A replay as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    pub id: Uuid,
    pub source: Source,
    pub from: Position,
    pub until: Position,
    pub target: Target,
    pub pace: Pace,
    pub state: State,
    /// Every event before it was handed over.
    pub next: Position,
    /// Events that were handed over.
    pub done: u64,
    /// Events that will have been; told from what is done of the range if they cannot be counted.
    pub total: u64,
    pub total_is_estimate: bool,
    /// Events a second, while it ran.
    pub rate: f64,
    /// When it will be over at this rate, while it runs.
    pub ends_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub error: Option<String>,
}

impl Record {
    pub(super) fn key(&self) -> String {
        key(self.id)
    }

    /// When it was over, or when its client was heard of last.
    pub(super) fn over_since(&self, progress: &Progress) -> Option<i64> {
        let client = (self.target == Target::Client).then(|| progress.noted_at_us.max(self.created_at_us));
        self.cancelled_at_us.or(progress.ended_at_us).or(client)
    }

    pub(super) fn put(&self) -> DocumentChange {
        let value = serde_json::to_vec(self).expect("it has only texts and numbers");
        document(COLLECTION, self.key(), Some(value.into()))
    }

    /// How far one is that has just begun.
    pub(super) fn beginning(&self) -> Progress {
        Progress { next: self.from, done: 0, ran_us: 0, ended_at_us: None, error: None, noted_at_us: 0 }
    }
}

impl Progress {
    pub(super) fn put(&self, id: Uuid) -> DocumentChange {
        let value = serde_json::to_vec(self).expect("it has only texts and numbers");
        document(COLLECTION_PROGRESS, key(id), Some(value.into()))
    }
}

pub(super) fn key(id: Uuid) -> String {
    id.to_string()
}

pub(super) fn shown(record: Record, progress: &Progress, now: Timestamp) -> Replay {
    let state = match (record.wanted, progress.ended_at_us, &progress.error) {
        (State::Cancelled, ..) => State::Cancelled,
        (_, Some(_), Some(_)) => State::Failed,
        (_, Some(_), None) => State::Done,
        (wanted, None, _) => wanted,
    };
    let (gone, range) = (progress.next.saturating_sub(record.from), record.until.saturating_sub(record.from));
    let guess = || if gone == 0 { range } else { (progress.done as f64 * range as f64 / gone as f64).round() as u64 };
    let total = if state == State::Done { progress.done } else { record.total.unwrap_or_else(guess) };
    let rate = if progress.ran_us > 0 { progress.done as f64 * 1e6 / progress.ran_us as f64 } else { 0.0 };
    let left = total.saturating_sub(progress.done);
    let ends = || Timestamp(now.0.saturating_add((left as f64 * 1e6 / rate) as i64));
    Replay {
        id: record.id,
        source: record.source,
        from: Position(record.from),
        until: Position(record.until),
        target: record.target,
        pace: record.pace,
        state,
        next: Position(progress.next),
        done: progress.done,
        total,
        total_is_estimate: state != State::Done && record.total.is_none(),
        rate,
        ends_at: (state == State::Running && rate > 0.0).then(ends),
        created_at: Timestamp(record.created_at_us),
        ended_at: record.cancelled_at_us.or(progress.ended_at_us).map(Timestamp),
        error: progress.error.clone(),
    }
}

/// What is stored of a replay, raw and read.
pub(super) async fn load(store: &dyn Store, id: Uuid) -> Result<Option<(Bytes, Record, Progress)>, StoreError> {
    let key = key(id);
    let Some(stored) = own::read(store, COLLECTION, &key).await? else { return Ok(None) };
    let progress = own::read(store, COLLECTION_PROGRESS, &key).await?;
    let (record, progress) = decode(id, &stored, progress.as_ref())?;
    Ok(Some((stored, record, progress)))
}

fn decode(id: Uuid, stored: &Bytes, progress: Option<&Bytes>) -> Result<(Record, Progress), StoreError> {
    let record: Record = own::decode_json(&|| format!("replay {id}"), stored)?;
    let record = Record { id, ..record };
    let progress = progress.map(|progress| own::decode_json(&|| format!("progress of replay {id}"), progress));
    let progress = progress.transpose()?.unwrap_or_else(|| record.beginning());
    Ok((record, progress))
}

/// How fast projections may be built of which a replay is under way, by generation. One that is to be given up
/// rests until then.
pub(crate) async fn throttles(store: &dyn Store) -> Result<HashMap<u64, Throttle>, StoreError> {
    let all = load_all(store).await?;
    let under_way = all.into_iter().filter(|(_, progress)| progress.ended_at_us.is_none());
    let throttle = |record: &Record| Throttle {
        paused: record.wanted != State::Running,
        pace: record.pace,
        ..Throttle::default()
    };
    Ok(under_way.filter_map(|(record, _)| Some((record.generation?, throttle(&record)))).collect())
}

/// Every replay that is known. One that cannot be read does not keep the others from it.
pub(super) async fn load_all(store: &dyn Store) -> Result<Vec<(Record, Progress)>, StoreError> {
    let page = own::page(store, COLLECTION, "", None, crate::limits::replay::REPLAYS_MAX).await?;
    let keys: Vec<String> = page.documents.iter().map(|document| document.key.clone()).collect();
    let progress = own::read_many(store, COLLECTION_PROGRESS, &keys).await?;
    let mut found = Vec::with_capacity(keys.len());
    for (document, progress) in page.documents.iter().zip(&progress) {
        let Ok(id) = Uuid::try_parse(&document.key) else { continue };
        match decode(id, &document.value, progress.as_ref()) {
            Ok(read) => found.push(read),
            Err(error) => {
                let event_id = log_id::REPLAY_FAILED;
                tracing::error!(event_id, replay = %id, error = %error, "a replay cannot be read and is passed over");
            }
        }
    }
    Ok(found)
}
