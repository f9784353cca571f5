//! What is shown of sagas.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::SagaError;
use super::call::Direction;
use super::definition::{Definition, SagaClock};
use super::fact::{Awaited, Cause, Fact, Origin, What};
use super::model::{Phase, Saga, State};
use super::rows::{self, Activity, ENDED, Head, OPEN};
use crate::clock::Timestamp;
use crate::limits::saga as limits;
use crate::own;
use crate::store::{Store, StoreError};

/// A saga as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaStatus {
    pub id: Uuid,
    pub saga_type: String,
    pub revision: u32,
    pub correlation_id: String,
    pub state: State,
    pub activity: Activity,
    /// Completed steps, and all of them: `2/3`.
    pub progress: usize,
    pub total_steps: usize,
    pub current_step: String,
    pub direction: Direction,
    pub attempt: u32,
    pub failed_attempts: u32,
    pub steps: Vec<StepStatus>,
    pub input: Bytes,
    pub data: BTreeMap<String, Bytes>,
    pub origin: Origin,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// When it goes on by itself, by its own clock; the next attempt by the host's.
    pub due: Option<Timestamp>,
    pub clock: SagaClock,
    pub awaits: Option<Awaited>,
    pub paused: Option<String>,
    /// Why it is compensated, or has failed.
    pub cause: Option<Cause>,
    /// Why it will be compensated when the attempt that is under way has ended.
    pub turns_round: Option<Cause>,
    /// The pivot is behind it.
    pub only_forward: bool,
    pub killed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepStatus {
    pub name: String,
    pub state: StepState,
    pub output: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    Pending,
    /// The saga is at it.
    Current,
    Completed,
    /// It was left out by a person.
    Skipped,
    /// It has begun, and what it did is not known.
    Uncertain,
    Compensated,
}

impl StepState {
    pub fn as_str(self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Current => "current",
            StepState::Completed => "completed",
            StepState::Skipped => "skipped",
            StepState::Uncertain => "uncertain",
            StepState::Compensated => "compensated",
        }
    }
}

impl SagaStatus {
    pub(super) fn of(saga: &Saga, definition: &Definition) -> Self {
        let (due, event_due) = saga.timers();
        let step = |(at, (step, run)): (usize, (&super::definition::Step, &super::model::StepRun))| StepStatus {
            name: step.name.clone(),
            state: match () {
                () if run.skipped => StepState::Skipped,
                () if run.undone => StepState::Compensated,
                () if at == saga.at && !saga.has_ended() => StepState::Current,
                () if run.completed => StepState::Completed,
                () if run.uncertain => StepState::Uncertain,
                () => StepState::Pending,
            },
            output: run.output.clone(),
        };
        Self {
            id: saga.id,
            saga_type: saga.saga_type.clone(),
            revision: saga.revision,
            correlation_id: saga.correlation_id.clone(),
            state: saga.state,
            activity: Activity::of(saga),
            progress: saga.progress(),
            total_steps: saga.steps.len(),
            current_step: definition.steps.get(saga.at).map(|step| step.name.clone()).unwrap_or_default(),
            direction: saga.direction(),
            attempt: saga.attempt,
            failed_attempts: saga.failed,
            steps: definition.steps.iter().zip(&saga.steps).enumerate().map(step).collect(),
            input: saga.input.clone(),
            data: (*saga.data).clone(),
            origin: saga.origin.clone(),
            started_at: saga.started_at,
            updated_at: saga.updated_at,
            due: due.or(event_due),
            clock: saga.clock,
            awaits: saga.awaited().cloned(),
            paused: saga.paused.clone(),
            cause: saga.cause.clone(),
            turns_round: saga.wish.clone(),
            only_forward: saga.only_forward(definition),
            killed: saga.killed,
        }
    }

    /// It has ended, or goes no further without a person.
    pub fn rests_for_good(&self) -> bool {
        matches!(self.activity, Activity::Ended | Activity::Paused)
    }
}

/// Which sagas to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub saga_type: Option<String>,
    pub state: Option<State>,
    pub activity: Option<Activity>,
    pub correlation_id: Option<String>,
    /// The name of the step that they are at.
    pub step: Option<String>,
    /// That were started so long ago.
    pub older_than_ms: Option<u64>,
    /// Those behind this one.
    pub after: Option<Uuid>,
    pub limit: usize,
}

/// A saga of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub id: Uuid,
    pub head: Head,
}

/// Sagas in the order of their starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SagaPage {
    pub sagas: Vec<Listed>,
    /// Where looking goes on, if there may be more.
    pub next: Option<Uuid>,
}

pub(super) async fn list(store: &dyn Store, query: &Query, now: Timestamp) -> Result<SagaPage, SagaError> {
    let limit = query.limit.clamp(1, limits::PAGE);
    if let (Some(saga_type), Some(correlation_id)) = (&query.saga_type, &query.correlation_id) {
        let Some(id) = rows::find(store, saga_type, correlation_id).await? else { return Ok(SagaPage::default()) };
        let found = rows::head(store, id).await?.map(|(_, head)| Listed { id, head });
        let sagas = found.into_iter().filter(|listed| matches(query, listed, now)).collect();
        return Ok(SagaPage { sagas, next: None });
    }
    let mut page = SagaPage::default();
    let mut after = query.after.map(|id| id.to_string());
    let mut looked_at = 0;
    loop {
        let room = limits::PAGE;
        let (open, more_open) = heads(store, OPEN, after.as_deref(), room).await?;
        let (ended, more_ended) = heads(store, ENDED, after.as_deref(), room).await?;
        // Beyond the end of a page that is not the last one there may be others in between.
        let end_of = |found: &[Listed], more: bool| found.last().filter(|_| more).map(|last| last.id);
        let end = [end_of(&open, more_open), end_of(&ended, more_ended)].into_iter().flatten().min();
        let mut found: BTreeMap<Uuid, Listed> = ended.into_iter().map(|listed| (listed.id, listed)).collect();
        // One that has just ended may stand in both.
        for listed in open {
            found.entry(listed.id).or_insert(listed);
        }
        for (id, listed) in found.into_iter().filter(|(id, _)| end.is_none_or(|end| *id <= end)) {
            looked_at += 1;
            after = Some(id.to_string());
            if matches(query, &listed, now) {
                page.sagas.push(listed);
            }
            if page.sagas.len() == limit || looked_at == limits::LOOKED_AT_MAX {
                page.next = Some(id);
                return Ok(page);
            }
        }
        if end.is_none() {
            return Ok(page);
        }
    }
}

async fn heads(
    store: &dyn Store,
    collection: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Listed>, bool), StoreError> {
    let page = own::page(store, collection, "", after, limit).await?;
    let listed = page.documents.iter().map(|found| {
        let damaged = || StoreError::Damaged { what: format!("the id of saga {}", found.key.escape_debug()) };
        let id = Uuid::try_parse(&found.key).map_err(|_| damaged())?;
        Ok(Listed { id, head: Head::decode(&found.key, &found.value)? })
    });
    Ok((listed.collect::<Result<_, StoreError>>()?, page.more))
}

fn matches(query: &Query, listed: &Listed, now: Timestamp) -> bool {
    let head = &listed.head;
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let age_us = now.0.saturating_sub(head.started_at_us).max(0).unsigned_abs();
    is(&query.saga_type, &head.saga_type)
        && query.state.is_none_or(|state| state == head.state)
        && query.activity.is_none_or(|activity| activity == head.activity)
        && is(&query.correlation_id, &head.correlation_id)
        && is(&query.step, &head.step)
        && query.older_than_ms.is_none_or(|ms| age_us >= ms.saturating_mul(1_000))
}

/// Sagas of one type that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenSagas {
    pub by_revision: BTreeMap<u32, u64>,
    /// There may be more: not all open sagas were looked at.
    pub more: bool,
}

/// Looks at up to `limit` sagas of all types.
pub(super) async fn open_by_revision(
    store: &dyn Store,
    saga_type: &str,
    limit: usize,
) -> Result<OpenSagas, StoreError> {
    let mut open = OpenSagas::default();
    let mut after: Option<String> = None;
    let mut looked_at = 0;
    loop {
        let (found, more) = heads(store, OPEN, after.as_deref(), limits::PAGE).await?;
        looked_at += found.len();
        for listed in found.iter().filter(|listed| listed.head.saga_type == saga_type) {
            *open.by_revision.entry(listed.head.revision).or_default() += 1;
        }
        after = found.last().map(|last| last.id.to_string());
        if !more || looked_at >= limit {
            open.more = more;
            return Ok(open);
        }
    }
}

pub(super) async fn has_open(store: &dyn Store, saga_type: &str) -> Result<bool, StoreError> {
    let mut after: Option<String> = None;
    loop {
        let (found, more) = heads(store, OPEN, after.as_deref(), limits::PAGE).await?;
        let is_there = found.iter().any(|listed| listed.head.saga_type == saga_type);
        if is_there || !more {
            return Ok(is_there);
        }
        after = found.last().map(|last| last.id.to_string());
    }
}

/// What has happened to a saga, commit by commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    pub rows: Vec<TimelineRow>,
    /// The number of the next row, if there are more.
    pub next: Option<u32>,
    /// Names of the steps, by the numbers that facts have.
    pub steps: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineRow {
    pub number: u32,
    pub facts: Vec<TimelineFact>,
}

/// A fact, and where the saga was: most facts do not name their step themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineFact {
    pub at_us: i64,
    pub what: What,
    /// Index of the step that it is about; none for the start.
    pub step: Option<usize>,
    pub direction: Direction,
    /// The attempt that is under way, or was the last one; 0 before the first.
    pub attempt: u32,
    /// What the saga is after it.
    pub state: State,
    /// When the next attempt begins, if this one has failed and there is a next one.
    pub retry_at_us: Option<i64>,
}

/// What all rows up to some number come to, from row `from` on. The saga is replayed: what a fact is about follows
/// from those before it. `definitions` has those of all revisions that the facts name.
pub(super) fn timeline(
    id: Uuid,
    rows: Vec<(u32, Vec<Fact>)>,
    from: u32,
    definitions: &HashMap<u32, Arc<Definition>>,
) -> Option<Timeline> {
    let mut timeline = Timeline::default();
    let mut known: Option<(Saga, &Arc<Definition>)> = None;
    for (number, facts) in rows {
        let mut told = Vec::with_capacity(facts.len());
        for fact in facts {
            if let Some(revision) = fact.what.revision() {
                let definition = definitions.get(&revision)?;
                known = match known.take() {
                    Some((saga, _)) => Some((saga, definition)),
                    None => Saga::begin(id, &fact, definition).map(|saga| (saga, definition)),
                };
            }
            let (saga, definition) = known.as_mut()?;
            told.push(TimelineFact::of(fact, saga, definition));
        }
        if number >= from {
            timeline.rows.push(TimelineRow { number, facts: told });
        }
    }
    let (_, definition) = known?;
    timeline.steps = definition.steps.iter().map(|step| step.name.clone()).collect();
    Some(timeline)
}

impl TimelineFact {
    /// Moves the saga on by the fact.
    fn of(fact: Fact, saga: &mut Saga, definition: &Definition) -> Self {
        let before = (saga.at, saga.direction(), saga.attempt);
        // Each was checked before it was stored; that it was started is known already.
        let _ = saga.apply(&fact, definition);
        let (step, direction, attempt) = match &fact.what {
            What::Started { .. } => (None, Direction::Execute, 0),
            What::AttemptStarted { step, direction, attempt } | What::Late { step, direction, attempt, .. } => {
                (usize::try_from(*step).ok(), *direction, *attempt)
            }
            _ => (Some(before.0), before.1, before.2),
        };
        let retry_at_us = match (&fact.what, &saga.phase) {
            (What::Failed { .. }, Phase::Retry { at }) => Some(at.0),
            _ => None,
        };
        Self { at_us: fact.at_us, what: fact.what, step, direction, attempt, state: saga.state, retry_at_us }
    }
}
