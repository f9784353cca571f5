//! How sagas are stored: for each its head, which is replaced by every commit, and rows of facts, which are
//! only ever added to. The head is what commits are guarded by, what lists show, and what is loaded at the start
//! of a host; the rows are what a saga is replayed from.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::definition::Definition;
use super::fact::{Awaited, Cause, Fact};
use super::model::{Phase, Saga, State};
use crate::clock::Timestamp;
use crate::own::{self, SEPARATOR, document, guard};
use crate::store::{DocumentChange, Store, StoreError, Unit};

/// Heads of sagas that have not ended, by their ids.
pub(super) const OPEN: &str = "saga-open";
/// Heads of those that have.
pub(super) const ENDED: &str = "saga-ended";
/// Facts, by saga and number.
pub(super) const ROWS: &str = "saga-row";
/// Ids, by type and correlation id.
pub(super) const IDS: &str = "saga-id";
/// What the engine itself knows.
pub(super) const ENGINE: &str = "saga-engine";
/// Sagas that another host has changed, for the host that drives them.
pub(super) const TODO: &str = "saga-todo";

/// What holds a saga, as lists show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Activity {
    /// It waits for its turn.
    Ready,
    /// A step of it is being called.
    Calling,
    /// It waits for its next attempt.
    Retrying,
    /// It waits for a time or an event.
    Waiting,
    /// It waits for a person.
    Paused,
    Ended,
}

impl Activity {
    pub const ALL: [Activity; 6] =
        [Activity::Ready, Activity::Calling, Activity::Retrying, Activity::Waiting, Activity::Paused, Activity::Ended];

    pub fn as_str(self) -> &'static str {
        match self {
            Activity::Ready => "ready",
            Activity::Calling => "calling",
            Activity::Retrying => "retrying",
            Activity::Waiting => "waiting",
            Activity::Paused => "paused",
            Activity::Ended => "ended",
        }
    }

    pub(super) fn of(saga: &Saga) -> Self {
        match saga.phase {
            Phase::Ended => Activity::Ended,
            Phase::Calling => Activity::Calling,
            _ if saga.paused.is_some() => Activity::Paused,
            Phase::Stuck => Activity::Paused,
            Phase::Ready => Activity::Ready,
            Phase::Retry { .. } => Activity::Retrying,
            Phase::Waiting { .. } => Activity::Waiting,
        }
    }
}

/// What is known of a saga without its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Rows that it has.
    pub rows: u32,
    pub saga_type: String,
    pub revision: u32,
    pub correlation_id: String,
    pub state: State,
    pub activity: Activity,
    /// Name of the present step.
    pub step: String,
    pub attempt: u32,
    /// Steps that are completed, and all.
    pub progress: u32,
    pub total_steps: u32,
    pub started_at_us: i64,
    pub updated_at_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_us: Option<i64>,
    /// By the clock of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_due_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Awaited>,
    pub from: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

impl Head {
    fn of(saga: &Saga, definition: &Definition, rows: u32) -> Self {
        let (due, event_due) = saga.timers();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            rows,
            saga_type: saga.saga_type.clone(),
            revision: saga.revision,
            correlation_id: saga.correlation_id.clone(),
            state: saga.state,
            activity: Activity::of(saga),
            step: definition.steps.get(saga.at).map(|step| step.name.clone()).unwrap_or_default(),
            attempt: saga.attempt,
            progress: count(saga.progress()),
            total_steps: count(saga.steps.len()),
            started_at_us: saga.started_at.0,
            updated_at_us: saga.updated_at.0,
            due_us: due.map(|time| time.0),
            event_due_us: event_due.map(|time| time.0),
            awaits: saga.awaited().cloned(),
            from: saga.from.0,
            paused: saga.paused.clone(),
            cause: saga.cause.clone(),
        }
    }

    pub(super) fn decode(id: &str, stored: &[u8]) -> Result<Self, StoreError> {
        own::decode_json(&|| format!("saga {id}"), stored)
    }

    pub fn started_at(&self) -> Timestamp {
        Timestamp(self.started_at_us)
    }

    pub fn updated_at(&self) -> Timestamp {
        Timestamp(self.updated_at_us)
    }
}

/// What makes one of several commits of a saga pass: the head that it was read with.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) head: Option<Bytes>,
    pub(super) rows: u32,
}

/// The unit that adds facts to a saga, which `saga` is after them; and the mark of the next one.
pub(super) fn add(mark: &Mark, saga: &Saga, definition: &Definition, facts: &[Fact]) -> (Unit, Mark) {
    let id = saga.id.to_string();
    let rows = mark.rows + 1;
    let head: Bytes = encode(&Head::of(saga, definition, rows));
    let mut documents = vec![document(ROWS, row_key(&id, mark.rows), Some(encode(&facts)))];
    let mut guards = vec![guard(OPEN, id.clone(), mark.head.clone())];
    if mark.head.is_none() {
        let key = id_key(&saga.saga_type, &saga.correlation_id);
        guards = vec![guard(IDS, key.clone(), None)];
        documents.push(document(IDS, key, Some(id.clone().into())));
    }
    if saga.has_ended() {
        documents.push(document(OPEN, id.clone(), None));
        documents.push(document(ENDED, id, Some(head.clone())));
    } else {
        documents.push(document(OPEN, id, Some(head.clone())));
    }
    (own::unit(guards, documents), Mark { head: Some(head), rows })
}

fn encode(value: &(impl Serialize + ?Sized)) -> Bytes {
    serde_json::to_vec(value).expect("it has only texts, numbers and flags").into()
}

fn row_key(id: &str, number: u32) -> String {
    format!("{id}{SEPARATOR}{number:08}")
}

fn id_key(saga_type: &str, correlation_id: &str) -> String {
    format!("{saga_type}{SEPARATOR}{correlation_id}")
}

/// Tells the host that drives sagas that this one was changed elsewhere.
pub(super) fn todo(id: Uuid) -> DocumentChange {
    document(TODO, id.to_string(), Some(Bytes::from_static(b"1")))
}

/// Removes all of a saga that has ended but its head.
pub(super) fn removal(id: Uuid, head: &Head) -> Vec<DocumentChange> {
    let key = id.to_string();
    let rows = (0..head.rows).map(|number| document(ROWS, row_key(&key, number), None));
    let id = document(IDS, id_key(&head.saga_type, &head.correlation_id), None);
    rows.chain([id]).collect()
}

pub(super) async fn find(store: &dyn Store, saga_type: &str, correlation_id: &str) -> Result<Option<Uuid>, StoreError> {
    let key = id_key(saga_type, correlation_id);
    let Some(stored) = own::read(store, IDS, &key).await? else { return Ok(None) };
    let damaged = || StoreError::Damaged { what: format!("the id of saga {saga_type} {correlation_id}") };
    Uuid::try_parse_ascii(&stored).map(Some).map_err(|_| damaged())
}

/// The head of a saga, and whether it is open.
pub(super) async fn head(store: &dyn Store, id: Uuid) -> Result<Option<(Bytes, Head)>, StoreError> {
    let id = id.to_string();
    for collection in [OPEN, ENDED, OPEN] {
        // It may end between the two looks.
        if let Some(stored) = own::read(store, collection, &id).await? {
            let head = Head::decode(&id, &stored)?;
            return Ok(Some((stored, head)));
        }
    }
    Ok(None)
}

/// Rows of a saga from number `from` on, up to `limit`: the facts of each.
pub(super) async fn rows(
    store: &dyn Store,
    id: Uuid,
    from: u32,
    limit: usize,
) -> Result<Vec<(u32, Vec<Fact>)>, StoreError> {
    let id = id.to_string();
    let prefix = format!("{id}{SEPARATOR}");
    let mut after = from.checked_sub(1).map(|number| row_key(&id, number));
    let mut rows = Vec::new();
    loop {
        let page = own::page(store, ROWS, &prefix, after.as_deref(), (limit - rows.len()).min(1_000)).await?;
        for document in &page.documents {
            let what = || format!("row {} of saga {id}", document.key.escape_debug());
            let number = document.key.rsplit(SEPARATOR).next().and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| StoreError::Damaged { what: what() })?;
            rows.push((number, own::decode_json(&what, &document.value)?));
        }
        after = page.documents.last().map(|document| document.key.clone());
        if !page.more || rows.len() >= limit {
            return Ok(rows);
        }
    }
}
