//! One saga: what its rows come to. Everything it does next follows from this, and from nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::call::Direction;
use super::definition::{Definition, SagaClock};
use super::fact::{Awaited, Cause, Fact, Origin, What};
use crate::clock::Timestamp;
use crate::event::Position;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// No attempt was begun yet.
    NotStarted,
    Running,
    Completed,
    Compensating,
    Compensated,
    /// A compensation has given up and waits for a person, or somebody has killed it.
    Failed,
}

impl State {
    pub const ALL: [State; 6] =
        [State::NotStarted, State::Running, State::Completed, State::Compensating, State::Compensated, State::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            State::NotStarted => "notStarted",
            State::Running => "running",
            State::Completed => "completed",
            State::Compensating => "compensating",
            State::Compensated => "compensated",
            State::Failed => "failed",
        }
    }
}

/// What the present step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The next attempt can begin.
    Ready,
    /// An attempt was begun, and its end is not stored.
    Calling,
    /// The next attempt begins at this time, by the host's clock.
    Retry {
        at: Timestamp,
    },
    Waiting {
        until: Option<Timestamp>,
        event: Option<Awaited>,
    },
    /// Its compensation has given up: a person says how it goes on.
    Stuck,
    Ended,
}

/// What is known of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepRun {
    pub completed: bool,
    /// An attempt may have done something: it failed in the middle, or is suspended.
    pub uncertain: bool,
    pub output: Option<Bytes>,
    pub undone: bool,
    /// By a person's order, be it forwards or backwards.
    pub skipped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saga {
    pub id: Uuid,
    pub saga_type: String,
    pub revision: u32,
    pub correlation_id: String,
    pub input: Bytes,
    pub origin: Origin,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    pub state: State,
    pub phase: Phase,
    /// Index of the present step.
    pub at: usize,
    /// Attempts begun at the present step, since it was entered or woken.
    pub attempt: u32,
    /// Those of them that have failed and count.
    pub failed: u32,
    pub steps: Vec<StepRun>,
    pub data: Arc<BTreeMap<String, Bytes>>,
    /// Why somebody has to look at it.
    pub paused: Option<String>,
    /// Why it is to be compensated as soon as the present attempt has ended.
    pub wish: Option<Cause>,
    /// Why it is compensated, or has failed.
    pub cause: Option<Cause>,
    pub clock: SagaClock,
    /// Its own time.
    pub time: Timestamp,
    pub deadline: Option<Timestamp>,
    pub step_deadline: Option<Timestamp>,
    /// The first event that it can be woken by.
    pub from: Position,
    /// Position of the event that has woken the present step.
    pub woken_by: Option<Position>,
    /// Times that the present step was suspended.
    pub wakes: u32,
    pub killed: bool,
}

/// What is to be done with a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Begin an attempt at the present step.
    Begin,
    /// An attempt is under way.
    Await,
    /// Nothing, until something happens.
    Rest,
}

impl Saga {
    /// What its rows come to, and the definition that holds for it then. The first fact of all is that it was
    /// started; `definitions` has those of all revisions that the facts name.
    pub fn replay(
        id: Uuid,
        facts: &[Fact],
        definitions: &HashMap<u32, Arc<Definition>>,
    ) -> Option<(Self, Arc<Definition>)> {
        let (first, later) = facts.split_first()?;
        let mut definition = definitions.get(&first.what.revision()?)?;
        let mut saga = Self::begin(id, first, definition)?;
        for fact in later {
            if let Some(revision) = fact.what.revision() {
                definition = definitions.get(&revision)?;
            }
            // Each was checked before it was stored.
            let _ = saga.apply(fact, definition);
        }
        Some((saga, Arc::clone(definition)))
    }

    /// A saga of which nothing is known but that it was started.
    pub fn begin(id: Uuid, fact: &Fact, definition: &Definition) -> Option<Self> {
        let What::Started { saga_type, revision, correlation_id, input, time_us, from, by } = &fact.what else {
            return None;
        };
        let time = Timestamp(*time_us);
        Some(Self {
            id,
            saga_type: saga_type.clone(),
            revision: *revision,
            correlation_id: correlation_id.clone(),
            input: input.0.clone(),
            origin: by.clone(),
            started_at: Timestamp(fact.at_us),
            updated_at: Timestamp(fact.at_us),
            state: State::NotStarted,
            phase: Phase::Ready,
            at: 0,
            attempt: 0,
            failed: 0,
            steps: vec![StepRun::default(); definition.steps.len()],
            data: Arc::default(),
            paused: None,
            wish: None,
            cause: None,
            clock: definition.options.clock,
            time,
            deadline: definition.options.timeout_ms.map(|ms| after(time, ms)),
            step_deadline: None,
            from: Position(*from),
            woken_by: None,
            wakes: 0,
            killed: false,
        })
    }

    pub fn direction(&self) -> Direction {
        match self.state {
            State::NotStarted | State::Running | State::Completed => Direction::Execute,
            State::Compensating | State::Compensated | State::Failed => Direction::Compensate,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether its pivot is behind it.
    pub fn only_forward(&self, definition: &Definition) -> bool {
        self.steps.iter().zip(&definition.steps).any(|(run, step)| step.pivot && run.completed)
    }

    /// What the host does next, at `now` by its clock.
    pub fn todo(&self, now: Timestamp) -> Todo {
        match self.phase {
            Phase::Calling => Todo::Await,
            _ if self.paused.is_some() => Todo::Rest,
            Phase::Ready => Todo::Begin,
            Phase::Retry { at } if at <= now => Todo::Begin,
            Phase::Retry { .. } | Phase::Waiting { .. } | Phase::Stuck | Phase::Ended => Todo::Rest,
        }
    }

    /// The next time that concerns it, by the host's clock and by that of events.
    pub fn timers(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let retry = match self.phase {
            Phase::Retry { at } if self.paused.is_none() => Some(at),
            _ => None,
        };
        let own = self.own_timer();
        match self.clock {
            SagaClock::Host => (own.into_iter().chain(retry).min(), None),
            SagaClock::Event => (retry, own),
        }
    }

    fn own_timer(&self) -> Option<Timestamp> {
        if self.has_ended() {
            return None;
        }
        let until = match self.phase {
            Phase::Waiting { until, .. } => until,
            _ => None,
        };
        // The end of an attempt is waited for anyway.
        let step = self.step_deadline.filter(|_| self.phase != Phase::Calling || self.wish.is_none());
        let saga = self.deadline.filter(|_| self.direction() == Direction::Execute && self.wish.is_none());
        [until, step, saga].into_iter().flatten().min()
    }

    /// The event that it waits for.
    pub fn awaited(&self) -> Option<&Awaited> {
        match &self.phase {
            Phase::Waiting { event, .. } => event.as_ref(),
            _ => None,
        }
    }

    /// Outputs of the steps that are completed, by their names.
    pub fn outputs(&self, definition: &Definition) -> BTreeMap<String, Bytes> {
        let named = definition.steps.iter().zip(&self.steps);
        named.filter_map(|(step, run)| Some((step.name.clone(), run.output.clone()?))).collect()
    }

    /// Steps that are behind it: completed, or to be undone no more.
    pub fn progress(&self) -> usize {
        self.steps.iter().filter(|run| run.completed || run.skipped).count()
    }

    /// The same for every attempt of the present step in the present direction.
    pub fn idempotency_key(&self, definition: &Definition) -> String {
        let step = definition.steps.get(self.at).map_or("", |step| step.name.as_str());
        format!("{}:{step}:{}", self.id, self.direction().as_str())
    }
}

pub(super) fn after(time: Timestamp, ms: u64) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)))
}
