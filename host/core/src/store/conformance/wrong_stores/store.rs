//! The memory store with one bug.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::Bug;
use crate::clock::Timestamp;
use crate::event::{Event, Offset, Position, PreparedEvent};
use crate::log::filter::{Filter, FilterTerm};
use crate::name::StreamName;
use crate::record::StreamState;
use crate::store::memory::{Inner, MemoryStore};
use crate::store::plan::{Known, Snapshot, UnitPlan};
use crate::store::wrapped::Wrapped;
use crate::store::{
    Change, Committed, Direction, Expected, Head, LogRead, LogStore, PageLimit, Rejection, Store, StoreError, Unit,
};

pub(super) struct Wrong {
    memory: MemoryStore,
    bug: Option<Bug>,
    /// Positions that were handed out.
    promised: AtomicU64,
    /// End of the log before the last commit.
    lagging: AtomicU64,
}

type Outcomes = Vec<Result<Committed, Rejection>>;

impl Wrong {
    pub(super) fn with(bug: Option<Bug>) -> Self {
        Self { memory: MemoryStore::default(), bug, promised: AtomicU64::new(0), lagging: AtomicU64::new(0) }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// A caller with an even number of events takes longer: commits then finish in another order.
    async fn dawdle(units: &[Unit]) {
        let events: usize = units.iter().map(Unit::event_count).sum();
        for _ in 0..if events.is_multiple_of(2) { 9 } else { 2 } {
            tokio::task::yield_now().await;
        }
    }

    fn misread(&self, unit: &mut Unit) {
        for condition in &mut unit.conditions {
            if self.is(Bug::ConditionsFromAfterOn) {
                condition.after = condition.after.and_then(|after| after.0.checked_sub(1)).map(Position);
            }
            if self.is(Bug::AnyTagInConditions) {
                condition.query = any_tag(&condition.query);
            }
        }
        if self.is(Bug::GuardsIgnored) {
            unit.guards.clear();
        }
        if self.is(Bug::ChecksOfOthersIgnored) {
            unit.checks.clear();
        }
    }

    /// Judges expected offsets too early, each unit by the same state or by that of the units before it,
    /// and has them pass from then on.
    fn judged_early(&self, units: &mut [Unit], each_alone: bool) -> Vec<Option<Rejection>> {
        let mut group = self.memory.inner().snapshot(units);
        let judged = |unit: &mut Unit| {
            let before = group.streams.clone();
            let rejection = group.plan(unit, Timestamp(0)).err();
            if each_alone {
                group.streams = before;
            }
            for append in &mut unit.appends {
                append.expected = Expected::Any;
            }
            rejection.filter(|rejection| matches!(rejection, Rejection::ChecksFailed { .. }))
        };
        units.iter_mut().map(judged).collect()
    }

    /// Replaces what is known by what the bug takes for it.
    fn tamper(&self, snapshot: &mut Snapshot, inner: &Inner, early: &Snapshot, unit: &Unit) {
        let streams: HashSet<&str> = unit.appends.iter().map(|append| append.stream.as_str()).collect();
        match self.bug {
            Some(Bug::HoleRefilled) => {
                let newest = inner.events.keys().next_back();
                snapshot.next_position = newest.map_or(Position(0), |newest| Position(newest.0 + 1));
            }
            Some(Bug::OffsetsFromWhatIsLeft) => {
                for (name, head) in &mut snapshot.streams {
                    let stream = inner.streams.get(name).and_then(|stream| stream.positions.back());
                    head.next_offset = stream.map_or(Offset(0), |at| Offset(inner.events[at].offset().0 + 1));
                }
            }
            Some(Bug::TimesStepBack) => snapshot.recorded_at = Timestamp(0),
            Some(Bug::NoDedup) => snapshot.known.clear(),
            Some(Bug::DedupOfOneStream) => {
                snapshot.known = inner.snapshot(slice::from_ref(unit)).known;
                snapshot.known.retain(|_, known| streams.contains(stream_of(known)));
            }
            Some(Bug::DedupOutsideOfTheGroup) => snapshot.known.clone_from(&early.known),
            Some(Bug::DedupWithoutContent) => {
                for event in unit.appends.iter().flat_map(|append| append.events.iter()) {
                    if let Some(Known::Stored(stored)) = snapshot.known.get(&event.id) {
                        let same = with_content_of(stored, event);
                        snapshot.known.insert(event.id, Known::Stored(same));
                    }
                }
            }
            Some(Bug::GuardsBeforeTheGroup) => snapshot.guarded.clone_from(&early.guarded),
            Some(Bug::ConditionsBeforeTheGroup) => snapshot.appended.clear(),
            Some(Bug::DeletedIsNoStream) => snapshot.streams.retain(|_, head| head.state != StreamState::Deleted),
            Some(Bug::StaleRunnerPasses) => {
                for change in &unit.changes {
                    if let Change::Advance { generation, from, .. } = change {
                        snapshot.checkpoints.insert(*generation, *from);
                    }
                }
            }
            _ => {}
        }
    }

    /// What is done with a unit that is turned away.
    fn botch(&self, inner: &mut Inner, snapshot: &mut Snapshot, unit: &Unit, rejection: &mut Rejection) {
        match (self.bug, rejection) {
            (Some(Bug::HoleOfARejectedUnit), _) => snapshot.next_position.0 += unit.event_count() as u64,
            (Some(Bug::HalfAUnit), _) => {
                for append in &unit.appends {
                    let half = Unit::append(append.clone());
                    if let Ok(plan) = snapshot.plan(&half, Timestamp(0)) {
                        inner.store(&half, plan, Timestamp(0));
                    }
                }
            }
            (Some(Bug::DocumentsOfAFencedUnit), Rejection::Fenced { .. }) => {
                let documents = unit.changes.iter().filter(|change| matches!(change, Change::PutDocuments { .. }));
                let half = Unit::change(documents.cloned().collect());
                inner.store(&half, UnitPlan::default(), Timestamp(0));
            }
            (Some(Bug::FirstFailureOnly), Rejection::ChecksFailed { offsets, .. }) => offsets.truncate(1),
            _ => {}
        }
    }

    fn store(&self, inner: &mut Inner, unit: &Unit, plan: UnitPlan, now: Timestamp) -> Committed {
        let mut unit = unit.clone();
        let revision = inner.head.revision;
        let untold = unit.changes.iter().any(|change| match change {
            Change::RemoveEvents { .. } => self.is(Bug::RemovalUntold),
            Change::PutStreamConfig { .. } | Change::Revise => self.is(Bug::ConfigurationUntold),
            Change::SetStream { .. } => self.is(Bug::TruncationUntold),
            _ => false,
        });
        unit.changes.retain(|change| match change {
            Change::Advance { .. } => !self.is(Bug::DocumentsWithoutCheckpoint),
            Change::PutDocuments { .. } => !self.is(Bug::CheckpointWithoutDocuments),
            _ => true,
        });
        for change in &mut unit.changes {
            match change {
                Change::RemoveEvents { limit, .. } if self.is(Bug::RemovalWithoutLimit) => *limit = usize::MAX,
                Change::SetStream { stream, .. } if self.is(Bug::TruncationStepsBack) => {
                    if let Some(stream) = inner.streams.get_mut(stream) {
                        stream.info.truncate_before = Offset(0);
                    }
                }
                _ => {}
            }
        }
        let remembered = (inner.positions.clone(), inner.removed.clone());
        let committed = inner.store(&unit, plan, now);
        for change in &unit.changes {
            match change {
                Change::RemoveEvents { .. } if self.is(Bug::RemovedIdsForgotten) => {
                    let events = &inner.events;
                    inner.positions.retain(|_, position| events.contains_key(position));
                }
                Change::RemoveEvents { stream, .. } if self.is(Bug::RemovalRenumbers) => renumber(inner, stream),
                Change::ForgetRemoved { .. } if self.is(Bug::RemovedIdsKept) => {
                    (inner.positions, inner.removed) = remembered.clone();
                }
                _ => {}
            }
        }
        if untold {
            inner.head.revision = revision;
        }
        committed
    }
}

#[async_trait]
impl Wrapped for Wrong {
    fn wrapped(&self) -> &dyn Store {
        &self.memory
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Outcomes, StoreError> {
        let mut units = units.to_vec();
        units.iter_mut().for_each(|unit| self.misread(unit));
        let early = self.memory.inner().snapshot(&units);
        let judged = match self.bug {
            Some(Bug::OffsetsBeforeTheGroup) => self.judged_early(&mut units, true),
            Some(Bug::OffsetsBeforeTheLock) => self.judged_early(&mut units, false),
            _ => Vec::new(),
        };
        let events = units.iter().map(|unit| unit.event_count() as u64).sum();
        let mut promised = None;
        match self.bug {
            Some(Bug::PositionsBeforeTheLock) => {
                // As many as will be stored: a sequence that is asked within the transaction.
                let mut now_stored = self.memory.inner().snapshot(&units);
                let before = now_stored.next_position;
                units.iter().for_each(|unit| drop(now_stored.plan(unit, now)));
                let count = now_stored.next_position.0 - before.0;
                promised = Some(Position(self.promised.fetch_add(count, Ordering::SeqCst)));
                Self::dawdle(&units).await;
            }
            Some(Bug::HeadBeforeTheEvents) => {
                self.promised.fetch_add(events, Ordering::SeqCst);
                Self::dawdle(&units).await;
            }
            Some(Bug::OffsetsBeforeTheLock | Bug::DedupBeforeTheLock | Bug::ConditionsBeforeTheLock) => {
                Self::dawdle(&units).await;
            }
            _ => {}
        }
        let mut inner = self.memory.inner();
        self.lagging.store(inner.head.next_position.0, Ordering::SeqCst);
        let mut snapshot = inner.snapshot(&units);
        match self.bug {
            Some(Bug::PositionsBeforeTheLock) => snapshot.next_position = promised.unwrap_or_default(),
            Some(Bug::DedupBeforeTheLock) => snapshot.known.clone_from(&early.known),
            Some(Bug::ConditionsBeforeTheLock) => snapshot.matching.clone_from(&early.matching),
            _ => {}
        }
        let mut outcomes = Outcomes::with_capacity(units.len());
        for (n, unit) in units.iter().enumerate() {
            self.tamper(&mut snapshot, &inner, &early, unit);
            let mut rejection = judged.get(n).cloned().flatten();
            if self.is(Bug::ChecksBeforeDedup) {
                let mut unknown = Snapshot { known: HashMap::new(), ..inner.snapshot(slice::from_ref(unit)) };
                rejection = unknown.plan(unit, now).err();
            }
            let planned = rejection.map_or_else(|| snapshot.plan(unit, now), Err);
            outcomes.push(match planned {
                Ok(plan) => Ok(self.store(&mut inner, unit, plan, now)),
                Err(mut rejection) => {
                    self.botch(&mut inner, &mut snapshot, unit, &mut rejection);
                    Err(rejection)
                }
            });
        }
        if self.is(Bug::HeadBeforeTheEvents) {
            self.promised.store(inner.head.next_position.0, Ordering::SeqCst);
        }
        let failure = outcomes.iter().find_map(|outcome| outcome.as_ref().err().cloned());
        if let (true, Some(failure)) = (self.is(Bug::OneFailsAll), failure) {
            outcomes.iter_mut().for_each(|outcome| *outcome = Err(failure.clone()));
        }
        Ok(outcomes)
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let mut head = self.memory.head().await?;
        if self.is(Bug::HeadBeforeTheEvents) {
            head.next_position = head.next_position.max(Position(self.promised.load(Ordering::SeqCst)));
        }
        Ok(head)
    }

    async fn read_log(
        &self,
        mut from: Position,
        direction: Direction,
        filter: &Filter,
        mut limit: PageLimit,
    ) -> Result<LogRead, StoreError> {
        let any_tag = any_tag(filter);
        let filter = if self.is(Bug::AnyTagInReads) { &any_tag } else { filter };
        if self.is(Bug::PageWithoutItsBytesLimit) {
            limit.bytes = usize::MAX;
        }
        if self.is(Bug::BackwardWithoutItsStart) && direction == Direction::Backward {
            from.0 = from.0.saturating_sub(1);
        }
        let mut read = self.memory.read_log(from, direction, filter, limit).await?;
        match (self.bug, &mut read.next) {
            (Some(Bug::ReadsLagBehind), _) => {
                let lagging = self.lagging.load(Ordering::SeqCst);
                read.events.retain(|event| event.position().0 < lagging);
            }
            (Some(Bug::PageSwapped), _) if read.events.len() > 1 => read.events.swap(0, 1),
            (Some(Bug::SkipAtThePageBoundary), Some(next)) if direction == Direction::Forward => next.0 += 1,
            (Some(Bug::RepeatAtThePageBoundary), Some(next)) if direction == Direction::Forward => next.0 -= 1,
            (Some(Bug::FilteredPageEndsEarly), next) if !filter.matches_all() => {
                *next = next.filter(|_| read.events.len() == limit.events);
            }
            _ => {}
        }
        Ok(read)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<Vec<Event>, StoreError> {
        let mut events = self.memory.read_stream(stream, from, direction, limit).await?;
        if self.is(Bug::StreamPageSwapped) && events.len() > 1 {
            events.swap(0, 1);
        }
        Ok(events)
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        let time = if self.is(Bug::PositionAfterTheTime) { Timestamp(time.0 + 1) } else { time };
        self.memory.position_at(time).await
    }
}

fn stream_of(known: &Known) -> &str {
    match known {
        Known::Stored(event) => event.stream(),
        Known::Removed(removed) => removed.stream.as_str(),
    }
}

/// Each tag as a term of its own.
fn any_tag(filter: &Filter) -> Filter {
    let split = |term: &FilterTerm| match term.tags.len() {
        0 => vec![term.clone()],
        _ => term.tags.iter().map(|tag| FilterTerm { tags: vec![tag.clone()], ..term.clone() }).collect(),
    };
    Filter::new(filter.terms().iter().flat_map(split).collect())
}

fn placed(body: Bytes, id: uuid::Uuid, position: Position, offset: Offset, recorded_at: Timestamp) -> Event {
    let mut run = BytesMut::new();
    PreparedEvent { id, body }.place(&mut run, position, offset, recorded_at);
    let mut events = Vec::new();
    crate::event::decode_run(run.freeze(), &mut events).expect("what `place` wrote can be read");
    events.remove(0)
}

/// The stored event, as if it had the new one's content, if they are of one stream.
fn with_content_of(stored: &Event, new: &PreparedEvent) -> Event {
    match new.view() {
        Ok(view) if view.stream() == stored.stream() => {
            placed(new.body.clone(), new.id, stored.position(), stored.offset(), stored.recorded_at())
        }
        _ => stored.clone(),
    }
}

/// What a publisher has encoded of an event: it begins with the stream's name.
fn body(event: &Event) -> Bytes {
    let name = event.stream().as_bytes();
    let field = event.raw().windows(name.len()).position(|window| window == name).expect("it has a stream");
    event.raw().slice(field - 2..)
}

/// Closes the holes of a removal, in the log and in the stream.
fn renumber(inner: &mut Inner, stream: &StreamName) {
    let (mut position, mut offset) = (0, 0);
    for (_, event) in std::mem::take(&mut inner.events) {
        let mut at = event.offset();
        if event.stream() == stream.as_str() {
            at = Offset(offset);
            offset += 1;
        }
        let moved = placed(body(&event), event.id(), Position(position), at, event.recorded_at());
        inner.events.insert(Position(position), moved);
        position += 1;
    }
}
