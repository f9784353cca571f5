//! Sagas at rest: what would make each of them go on. It is made from their heads when the host begins to drive
//! them, so it needs no table of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::fact::Awaited;
use super::model::{Phase, Saga};
use crate::clock::Timestamp;
use crate::event::{Event, Position};

/// What a saga at rest waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) saga_type: String,
    pub(super) due: Option<Timestamp>,
    /// By the clock of events.
    pub(super) event_due: Option<Timestamp>,
    pub(super) awaited: Option<Awaited>,
    /// The first event that it can be woken by.
    pub(super) from: Position,
    /// It is paused, or its compensation has given up.
    pub(super) needs_person: bool,
}

impl Resting {
    pub(super) fn of(saga: &Saga) -> Self {
        let (due, event_due) = saga.timers();
        let needs_person = saga.paused.is_some() || saga.phase == Phase::Stuck;
        let (saga_type, awaited) = (saga.saga_type.clone(), saga.awaited().cloned());
        Self { saga_type, due, event_due, awaited, from: saga.from, needs_person }
    }

    fn is_empty(&self) -> bool {
        self.due.is_none() && self.event_due.is_none() && self.awaited.is_none()
    }
}

#[derive(Default)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
    /// There is a timer that is due before all others.
    earlier: Notify,
}

#[derive(Default)]
struct Inner {
    resting: HashMap<Uuid, Resting>,
    due: BTreeSet<(Timestamp, Uuid)>,
    /// By the type of the sagas.
    clocks: BTreeMap<String, EventClock>,
    by_key: HashMap<String, Vec<Uuid>>,
    need_person: HashSet<Uuid>,
    /// Events before it were looked at: those that are waited for are told of the later ones.
    examined: Position,
}

/// The time of events, for the sagas of one type.
#[derive(Default)]
struct EventClock {
    /// The latest time of an event that moves it.
    time: Timestamp,
    due: BTreeSet<(Timestamp, Uuid)>,
}

impl EventClock {
    fn take_due(&mut self, time: Timestamp) -> Vec<Uuid> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= time) {
            self.due.remove(&(at, id));
            due.push(id);
        }
        due
    }
}

impl Registry {
    /// Puts a saga to rest, and says which events were looked at by then.
    pub(super) fn put(&self, id: Uuid, resting: Resting) -> Position {
        let mut inner = self.inner();
        inner.remove(id);
        let first = inner.due.first().copied();
        if let Some(due) = resting.due {
            inner.due.insert((due, id));
        }
        if let Some(due) = resting.event_due {
            inner.clocks.entry(resting.saga_type.clone()).or_default().due.insert((due, id));
        }
        if let Some(awaited) = &resting.awaited {
            inner.by_key.entry(awaited.key.clone()).or_default().push(id);
        }
        if resting.needs_person {
            inner.need_person.insert(id);
        }
        if !resting.is_empty() {
            inner.resting.insert(id, resting);
        }
        if inner.due.first().copied() != first {
            self.earlier.notify_one();
        }
        inner.examined
    }

    pub(super) fn remove(&self, id: Uuid) {
        self.inner().remove(id);
    }

    /// Takes out up to `limit` of those whose timers are due at `now`, by the host's clock.
    pub(super) fn take_due(&self, now: Timestamp, limit: usize) -> Vec<Uuid> {
        let mut inner = self.inner();
        let due: Vec<_> = inner.due.iter().take_while(|(due, _)| *due <= now).take(limit).copied().collect();
        for entry in &due {
            inner.due.remove(entry);
        }
        due.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.inner().due.first().map(|(due, _)| *due)
    }

    /// Resolves when another timer has become the next one.
    pub(super) async fn earlier(&self) {
        self.earlier.notified().await;
    }

    /// Looks at an event, which moves the clocks of the sagas of these types: the sagas whose time had come before
    /// it, and those that wait for it.
    pub(super) fn examine<'a>(&self, event: &Event, moves: impl Iterator<Item = &'a str>) -> (Vec<Uuid>, Vec<Uuid>) {
        let mut inner = self.inner();
        inner.examined = Position(event.position().0 + 1);
        let mut overdue = Vec::new();
        for saga_type in moves {
            let clock = inner.clocks.entry(saga_type.to_owned()).or_default();
            // The time of an event has passed when a later one is there.
            overdue.extend(clock.take_due(Timestamp(event.time().0.saturating_sub(1))));
            clock.time = clock.time.max(event.time());
        }
        let key = event.key().unwrap_or(event.stream());
        let waits = |id: &&Uuid| {
            let resting = inner.resting.get(*id);
            resting.is_some_and(|resting| {
                resting.from <= event.position() && resting.awaited.as_ref().is_some_and(|a| is_awaited(a, event))
            })
        };
        let woken: Vec<Uuid> = inner.by_key.get(key).into_iter().flatten().filter(waits).copied().collect();
        (overdue, woken)
    }

    /// Every event before `position` was looked at: those whose time has come.
    pub(super) fn examined(&self, position: Position) -> Vec<Uuid> {
        let mut inner = self.inner();
        inner.examined = inner.examined.max(position);
        inner.clocks.values_mut().flat_map(|clock| clock.take_due(clock.time)).collect()
    }

    /// The latest time of an event that moves the clock of sagas of a type.
    pub(super) fn event_time(&self, saga_type: &str) -> Timestamp {
        self.inner().clocks.get(saga_type).map_or(Timestamp(0), |clock| clock.time)
    }

    pub(super) fn event_times(&self) -> BTreeMap<String, i64> {
        self.inner().clocks.iter().map(|(saga_type, clock)| (saga_type.clone(), clock.time.0)).collect()
    }

    /// Where looking at events begins, and how late they were by then.
    pub(super) fn begin(&self, examined: Position, event_times: BTreeMap<String, i64>) {
        let clock = |time| EventClock { time: Timestamp(time), due: BTreeSet::new() };
        let clocks = event_times.into_iter().map(|(saga_type, time)| (saga_type, clock(time))).collect();
        *self.inner() = Inner { examined, clocks, ..Inner::default() };
    }

    pub(super) fn position(&self) -> Position {
        self.inner().examined
    }

    /// Sagas at rest that something would wake.
    pub(super) fn len(&self) -> usize {
        self.inner().resting.len()
    }

    /// Sagas that go no further without a person.
    pub(super) fn need_person(&self) -> usize {
        self.inner().need_person.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, id: Uuid) {
        self.need_person.remove(&id);
        let Some(resting) = self.resting.remove(&id) else { return };
        if let Some(due) = resting.due {
            self.due.remove(&(due, id));
        }
        if let Some(due) = resting.event_due {
            self.clocks.entry(resting.saga_type.clone()).or_default().due.remove(&(due, id));
        }
        if let Some(awaited) = &resting.awaited
            && let Some(ids) = self.by_key.get_mut(&awaited.key)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&awaited.key);
            }
        }
    }
}

/// Whether an event is the one that is waited for. An event without a key has its stream's name as key.
pub(super) fn is_awaited(awaited: &Awaited, event: &Event) -> bool {
    awaited.event_type.as_deref().is_none_or(|wanted| wanted == event.event_type())
        && awaited.key == event.key().unwrap_or(event.stream())
}
