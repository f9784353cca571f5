//! Commit units: all that is ever written, and why one may be turned away.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::code::{Code, Detail, Problem};
use crate::event::{Chunk, Offset, Position, PreparedEvent};
use crate::log::filter::Filter;
use crate::name::StreamName;
use crate::record::{GenerationId, GenerationRecord, GenerationState, RevisionRecord, StreamState};

/// Appends and row changes that are committed together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    pub appends: Vec<StreamAppend>,
    /// What must hold of streams that are not written. Not looked at when every append is repeated.
    pub checks: Vec<StreamCheck>,
    /// What must hold of the whole log. Not looked at when every append is repeated.
    pub conditions: Vec<AppendCondition>,
    /// What must be the values of documents of the host's own. Always looked at.
    pub guards: Vec<Guard>,
    pub changes: Vec<Change>,
}

impl Unit {
    pub fn append(append: StreamAppend) -> Self {
        Self { appends: vec![append], ..Self::default() }
    }

    pub fn change(changes: Vec<Change>) -> Self {
        Self { changes, ..Self::default() }
    }

    pub fn event_count(&self) -> usize {
        self.appends.iter().map(|append| append.events.len()).sum()
    }

    /// Every stream that it names, be it written, checked or changed.
    pub fn streams(&self) -> impl Iterator<Item = &StreamName> {
        let changed = self.changes.iter().filter_map(|change| match change {
            Change::SetStream { stream, .. } => Some(stream),
            _ => None,
        });
        let written = self.appends.iter().map(|append| &append.stream);
        written.chain(self.checks.iter().map(|check| &check.stream)).chain(changed)
    }

    /// Whether it changes what the units beside it rely on, and so is committed by itself.
    pub fn stands_alone(&self) -> bool {
        self.changes.iter().any(|change| {
            matches!(change, Change::SetStream { .. } | Change::RemoveEvents { .. } | Change::ForgetRemoved { .. })
        })
    }

    /// Roughly what it occupies in memory and in the transaction.
    pub fn bytes(&self) -> usize {
        let events = self.appends.iter().flat_map(|append| append.events.iter());
        let events: usize = events.map(|event| event.body.len()).sum();
        events + self.changes.iter().map(Change::bytes).sum::<usize>()
    }
}

/// Events for one stream, in order.
#[derive(Clone, Debug)]
pub struct StreamAppend {
    pub stream: StreamName,
    pub expected: Expected,
    pub events: Arc<[PreparedEvent]>,
}

/// What a publisher believes of a stream that it does not append to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamCheck {
    pub stream: StreamName,
    pub expected: Expected,
}

/// Fails if an event matches `query` at a position after `after`, or anywhere: a dynamic consistency
/// boundary, see <https://dcb.events/specification>.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendCondition {
    pub query: Filter,
    /// The last position that the publisher knew of when it decided.
    pub after: Option<Position>,
}

/// The value that one of the [host's own](GenerationId::HOST) documents must have, so that of two hosts
/// that believe to own it only one can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pub collection: Arc<str>,
    pub key: String,
    /// `None`: there is no such document.
    pub value: Option<Bytes>,
}

/// What a publisher believes of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    #[default]
    Any,
    /// Nothing was ever appended to it.
    NoStream,
    Exists,
    /// The last event ever appended has this offset.
    Exactly(Offset),
}

#[derive(Clone, Debug)]
pub enum Change {
    PutDocuments {
        generation: GenerationId,
        documents: Vec<DocumentChange>,
    },
    /// Moves a generation's checkpoint; refused when it is not at `from`, so that of two runners of
    /// one generation only one can go on.
    Advance {
        generation: GenerationId,
        from: Position,
        to: Position,
    },
    /// Makes `revision` the plugin's current one, and the plugin if it is new.
    Deploy {
        revision: RevisionRecord,
        component: Bytes,
    },
    CreateGeneration(GenerationRecord),
    SetGenerationState {
        generation: GenerationId,
        state: GenerationState,
    },
    /// Removes up to `limit` documents of a generation that nobody serves any more.
    DropDocuments {
        generation: GenerationId,
        limit: usize,
    },
    /// Forgets a generation whose documents are gone.
    DropGeneration {
        generation: GenerationId,
    },
    /// Removes the plugin, its revisions and its components; its generations are dropped one by one.
    RemovePlugin {
        name: String,
    },
    /// Replaces a stream configuration, or removes it.
    PutStreamConfig {
        pattern: String,
        exact: bool,
        config: Option<String>,
    },
    /// Raises the [revision](crate::store::Head::revision): what hosts remember of documents that this unit
    /// changes is stale.
    Revise,
    /// Hides the stream's events below `truncate_before`, which never steps back, and may delete it. Only
    /// an append makes a deleted stream live again.
    SetStream {
        stream: StreamName,
        truncate_before: Offset,
        state: StreamState,
    },
    /// Removes up to `limit` of the stream's hidden events, the oldest first.
    RemoveEvents {
        stream: StreamName,
        limit: usize,
    },
    /// Forgets up to `limit` events that were removed before `before`: their ids are then new again.
    ForgetRemoved {
        before: Timestamp,
        limit: usize,
    },
}

impl Change {
    fn bytes(&self) -> usize {
        const ROW: usize = 128;
        match self {
            Change::PutDocuments { documents, .. } => {
                documents.iter().map(|d| ROW + d.key.len() + d.value.as_ref().map_or(0, Bytes::len)).sum()
            }
            Change::Deploy { component, .. } => component.len(),
            Change::DropDocuments { limit, .. }
            | Change::RemoveEvents { limit, .. }
            | Change::ForgetRemoved { limit, .. } => ROW * limit,
            Change::PutStreamConfig { config, .. } => ROW + config.as_ref().map_or(0, String::len),
            Change::SetStream { .. }
            | Change::Advance { .. }
            | Change::CreateGeneration(_)
            | Change::SetGenerationState { .. }
            | Change::DropGeneration { .. }
            | Change::RemovePlugin { .. }
            | Change::Revise => ROW,
        }
    }
}

/// A new value for one document, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentChange {
    pub collection: Arc<str>,
    pub key: String,
    pub value: Option<Bytes>,
}

/// What became of a unit that passed.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// One for each append of the unit.
    pub appends: Vec<Appended>,
    /// What was newly stored, in position order: for the tail cache.
    pub chunks: Vec<Chunk>,
    /// Events or documents that bounded removals took away; fewer than the limit means that it is done.
    pub removed: u64,
}

/// Where an append's events stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub stream: StreamName,
    pub first_position: Position,
    pub first_offset: Offset,
    pub count: u32,
    pub recorded_at: Timestamp,
    /// The events were known already: this is the answer to their first append.
    pub duplicate: bool,
}

impl Appended {
    pub fn last_offset(&self) -> Offset {
        Offset(self.first_offset.0 + u64::from(self.count) - 1)
    }

    pub fn last_position(&self) -> Position {
        Position(self.first_position.0 + u64::from(self.count) - 1)
    }
}

/// Why a unit was turned away. Nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Every check that does not hold.
    #[error("a check does not hold")]
    ChecksFailed { offsets: Vec<WrongOffset>, conditions: Vec<FailedCondition> },
    #[error("an event id is already used for something else")]
    IdConflicts(Vec<IdConflict>),
    #[error("the checkpoint of generation {generation} is {actual}, not {expected}")]
    Fenced { generation: GenerationId, expected: Position, actual: Position },
    /// A document of the host's own is not what it was expected to be.
    #[error("another host has changed {collection}/{key}")]
    Overtaken { collection: Arc<str>, key: String },
    #[error("generation {generation} does not exist")]
    NoGeneration { generation: GenerationId },
    #[error("stream `{stream}` does not exist")]
    NoStream { stream: StreamName },
    /// Truncating it would bring it back.
    #[error("stream `{stream}` was deleted")]
    StreamDeleted { stream: StreamName },
    #[error("stream `{stream}` was deleted for good")]
    StreamTombstoned { stream: StreamName },
}

/// An append condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCondition {
    /// Index among the unit's conditions.
    pub index: usize,
    /// Of an event that matches.
    pub position: Position,
}

/// One expected offset that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongOffset {
    pub stream: StreamName,
    pub expected: Expected,
    /// Offset of the stream's last event; `None` if nothing was ever appended to it.
    pub actual: Option<Offset>,
}

/// One event whose id is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdConflict {
    pub id: Uuid,
    /// Index of its append in the unit; `None` when there is only one.
    pub append: Option<usize>,
    /// Index in its append.
    pub index: usize,
    /// Where the id stands already; `None` when it stands twice in this very unit.
    pub stored: Option<(StreamName, Offset)>,
}

impl IdConflict {
    fn add_to(problem: Problem, conflict: &Self) -> Problem {
        let stored = match &conflict.stored {
            Some((stream, offset)) => format!("{} is stored at {stream}/{offset}", conflict.id),
            None => format!("{} stands twice in this append", conflict.id),
        };
        let append = conflict.append.map_or_else(String::new, |append| format!("appends[{append}]."));
        problem.with(format!("{append}events[{}].id", conflict.index), stored)
    }
}

impl Expected {
    fn describe(self) -> String {
        match self {
            Expected::Any => "any".into(),
            Expected::NoStream => "no_stream".into(),
            Expected::Exists => "exists".into(),
            Expected::Exactly(offset) => offset.to_string(),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::ChecksFailed { offsets, conditions } => checks_failed(&offsets, &conditions),
            Rejection::IdConflicts(conflicts) => {
                let message = "event ids are used once; these are taken by events of other content or place";
                conflicts.iter().fold(Problem::new(Code::EventIdConflict, message), IdConflict::add_to)
            }
            Rejection::Fenced { .. } | Rejection::NoGeneration { .. } => {
                Problem::new(Code::PluginConflict, rejection.to_string())
            }
            Rejection::Overtaken { .. } => Problem::new(Code::Overloaded, rejection.to_string()),
            Rejection::NoStream { .. } => Problem::new(Code::StreamNotFound, rejection.to_string()),
            Rejection::StreamDeleted { .. } | Rejection::StreamTombstoned { .. } => {
                Problem::new(Code::StreamDeleted, rejection.to_string())
            }
        }
    }
}

/// One detail for each check, so that a publisher sees at once all that has changed.
fn checks_failed(offsets: &[WrongOffset], conditions: &[FailedCondition]) -> Problem {
    let offsets = offsets.iter().map(|wrong| {
        let (expected, actual) = (wrong.expected.describe(), describe_actual(wrong.actual));
        Detail {
            at: wrong.stream.to_string(),
            message: format!("stream `{}` was expected at {expected} but is at {actual}", wrong.stream),
            facts: vec![("expected_offset", expected), ("actual_offset", actual)],
        }
    });
    let conditions = conditions.iter().map(|failed| Detail {
        at: format!("conditions[{}]", failed.index),
        message: format!("the event at position {} matches the query of conditions[{}]", failed.position, failed.index),
        facts: vec![("position", failed.position.to_string())],
    });
    let code = if offsets.len() > 0 { Code::WrongExpectedOffset } else { Code::AppendConditionFailed };
    let details: Vec<Detail> = offsets.chain(conditions).collect();
    let message = details.iter().map(|detail| detail.message.as_str()).collect::<Vec<_>>().join("; ");
    Problem { code, message, details }
}

fn describe_actual(actual: Option<Offset>) -> String {
    actual.map_or_else(|| "no_stream".into(), |offset| offset.to_string())
}
