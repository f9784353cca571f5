//! Decides, for a group of units in queue order, which pass and what places their events get.
//!
//! Pure: a store loads a [`Snapshot`] of all that the units name, asks for the plan of each unit, and
//! writes what the plans say. Each plan sees what the units before it will have done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::unit::{
    AppendCondition, Appended, Change, Expected, FailedCondition, IdConflict, Rejection, StreamAppend, Unit,
    WrongOffset,
};
use crate::clock::Timestamp;
use crate::event::{Chunk, Event, Offset, Position, decode_run};
use crate::name::StreamName;
use crate::record::{GenerationId, RemovedEvent, StreamState};

/// What is committed, as far as the units of a group can see it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub next_position: Position,
    /// `recorded_at` of the newest event: times never step back.
    pub recorded_at: Timestamp,
    /// Each stream that is named and exists.
    pub streams: HashMap<StreamName, StreamHead>,
    /// Stored events whose ids are among the units', and those that the group itself will store.
    pub known: HashMap<Uuid, Known>,
    /// For each append condition of the units, the position of a stored event that matches, if one does.
    pub matching: HashMap<AppendCondition, Option<Position>>,
    /// What the units so far will append, if there are conditions that have to see it.
    pub appended: Vec<Event>,
    /// Checkpoints of the generations that are named and exist.
    pub checkpoints: HashMap<GenerationId, Position>,
    /// Value of each document that a guard names, by collection and key.
    pub guarded: HashMap<(Arc<str>, String), Option<Bytes>>,
}

/// What the units have to know of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamHead {
    pub next_offset: Offset,
    pub state: StreamState,
}

/// An event that has an id already.
#[derive(Clone, Debug)]
pub enum Known {
    Stored(Event),
    /// Its content is gone.
    Removed(RemovedEvent),
}

impl Known {
    fn stream(&self) -> &str {
        match self {
            Known::Stored(event) => event.stream(),
            Known::Removed(removed) => removed.stream.as_str(),
        }
    }

    fn position(&self) -> Position {
        match self {
            Known::Stored(event) => event.position(),
            Known::Removed(removed) => removed.position,
        }
    }

    fn offset(&self) -> Offset {
        match self {
            Known::Stored(event) => event.offset(),
            Known::Removed(removed) => removed.offset,
        }
    }

    fn recorded_at(&self) -> Timestamp {
        match self {
            Known::Stored(event) => event.recorded_at(),
            Known::Removed(removed) => removed.recorded_at,
        }
    }

    /// As far as it can be told: the content of a removed event is taken to be the same.
    fn is_same(&self, append: &StreamAppend, index: usize) -> bool {
        match self {
            Known::Stored(event) => append.events[index].view().is_ok_and(|new| new.same_content(event)),
            Known::Removed(removed) => removed.stream == append.stream,
        }
    }
}

/// What a unit that passes will store.
#[derive(Debug, Default)]
pub struct UnitPlan {
    pub appends: Vec<Appended>,
    pub chunks: Vec<Chunk>,
}

impl Snapshot {
    /// Moves on as if the unit were committed, unless it is rejected.
    pub fn plan(&mut self, unit: &Unit, now: Timestamp) -> Result<UnitPlan, Rejection> {
        self.check_guards(unit)?;
        let repeated = self.repeated(unit)?;
        self.check(unit, &repeated)?;
        self.check_changes(unit)?;
        let recorded_at = now.max(self.recorded_at);
        let mut plan = UnitPlan::default();
        for (append, repeated) in unit.appends.iter().zip(repeated) {
            let answer = match repeated {
                Some(first_answer) => first_answer,
                None => self.place(append, recorded_at, &mut plan),
            };
            plan.appends.push(answer);
        }
        self.apply_changes(unit);
        Ok(plan)
    }

    /// For each append the first answer, if all its events are known with the same content.
    fn repeated(&self, unit: &Unit) -> Result<Vec<Option<Appended>>, Rejection> {
        let mut conflicts = Vec::new();
        let mut answers = Vec::with_capacity(unit.appends.len());
        find_doubled(unit, &mut conflicts);
        for index in 0..unit.appends.len() {
            answers.push(self.first_answer(unit, index, &mut conflicts));
        }
        let repeated = answers.iter().filter(|answer| answer.is_some()).count();
        if conflicts.is_empty() && repeated > 0 && repeated < answers.len() {
            // Appended together, or not at all: what was stored earlier was another unit.
            for index in (0..answers.len()).filter(|index| answers[*index].is_some()) {
                self.name_known(unit, index, &mut conflicts);
            }
        }
        if conflicts.is_empty() { Ok(answers) } else { Err(Rejection::IdConflicts(conflicts)) }
    }

    fn first_answer(&self, unit: &Unit, index: usize, conflicts: &mut Vec<IdConflict>) -> Option<Appended> {
        let append = &unit.appends[index];
        let known = |index: usize| self.known.get(&append.events[index].id);
        let first = (0..append.events.len()).find_map(known)?;
        let all_in_place = (0..append.events.len()).all(|index| {
            known(index).is_some_and(|event| {
                event.is_same(append, index) && event.position().0 == first.position().0 + index as u64
            })
        });
        if all_in_place {
            return Some(Appended {
                stream: append.stream.clone(),
                first_position: first.position(),
                first_offset: first.offset(),
                count: append.events.len() as u32,
                recorded_at: first.recorded_at(),
                duplicate: true,
            });
        }
        self.name_known(unit, index, conflicts);
        None
    }

    /// Every event of an append whose id is known, as a conflict.
    fn name_known(&self, unit: &Unit, index: usize, conflicts: &mut Vec<IdConflict>) {
        let (append, append_index) = (&unit.appends[index], index_of_several(unit, index));
        let known = |index: usize| self.known.get(&append.events[index].id);
        conflicts.extend((0..append.events.len()).filter_map(|index| {
            let event = known(index)?;
            let stored = Some((StreamName::from_stored(event.stream()), event.offset()));
            Some(IdConflict { id: append.events[index].id, append: append_index, index, stored })
        }));
    }

    /// All failing checks are reported together.
    fn check(&self, unit: &Unit, repeated: &[Option<Appended>]) -> Result<(), Rejection> {
        if !repeated.is_empty() && repeated.iter().all(Option::is_some) {
            return Ok(());
        }
        let fresh = || unit.appends.iter().zip(repeated).filter(|(_, first)| first.is_none()).map(|(append, _)| append);
        let state = |stream| self.streams.get(stream).map_or(StreamState::Live, |head| head.state);
        if let Some(append) = fresh().find(|append| state(&append.stream) == StreamState::Tombstoned) {
            return Err(Rejection::StreamTombstoned { stream: append.stream.clone() });
        }
        let written = fresh().map(|append| (&append.stream, append.expected));
        let checked = unit.checks.iter().map(|check| (&check.stream, check.expected));
        let offsets: Vec<WrongOffset> =
            written.chain(checked).filter_map(|(stream, expected)| self.wrong_offset(stream, expected)).collect();
        let conditions = unit.conditions.iter().enumerate();
        let conditions: Vec<FailedCondition> = conditions
            .filter_map(|(index, condition)| Some(FailedCondition { index, position: self.matching(condition)? }))
            .collect();
        if offsets.is_empty() && conditions.is_empty() {
            return Ok(());
        }
        Err(Rejection::ChecksFailed { offsets, conditions })
    }

    fn wrong_offset(&self, stream: &StreamName, expected: Expected) -> Option<WrongOffset> {
        let next = self.streams.get(stream).map(|head| head.next_offset);
        let actual = next.and_then(|next| next.0.checked_sub(1)).map(Offset);
        let holds = match expected {
            Expected::Any => true,
            Expected::NoStream => next.is_none(),
            Expected::Exists => next.is_some(),
            Expected::Exactly(offset) => actual == Some(offset),
        };
        (!holds).then(|| WrongOffset { stream: stream.clone(), expected, actual })
    }

    /// Position of an event that breaks the condition.
    fn matching(&self, condition: &AppendCondition) -> Option<Position> {
        let stored = self.matching.get(condition).copied().flatten();
        let after = |event: &&Event| condition.after.is_none_or(|after| event.position() > after);
        stored.or_else(|| {
            let mut appended = self.appended.iter().filter(after);
            appended.find(|event| condition.query.matches(event)).map(Event::position)
        })
    }

    /// A stream's state goes one way, but for an append that brings it back.
    fn check_state(&self, stream: &StreamName, new: StreamState) -> Result<(), Rejection> {
        let stream_of = || stream.clone();
        match self.streams.get(stream).map(|head| head.state) {
            None => Err(Rejection::NoStream { stream: stream_of() }),
            Some(StreamState::Tombstoned) => Err(Rejection::StreamTombstoned { stream: stream_of() }),
            Some(StreamState::Deleted) if new == StreamState::Live => {
                Err(Rejection::StreamDeleted { stream: stream_of() })
            }
            Some(StreamState::Deleted | StreamState::Live) => Ok(()),
        }
    }

    fn check_guards(&self, unit: &Unit) -> Result<(), Rejection> {
        for guard in &unit.guards {
            let place = (Arc::clone(&guard.collection), guard.key.clone());
            if self.guarded.get(&place) != Some(&guard.value) {
                return Err(Rejection::Overtaken { collection: place.0, key: place.1 });
            }
        }
        Ok(())
    }

    fn check_changes(&self, unit: &Unit) -> Result<(), Rejection> {
        let mut dropped = HashSet::new();
        for change in &unit.changes {
            let generation = match change {
                Change::PutDocuments { generation, .. }
                | Change::Advance { generation, .. }
                | Change::SetGenerationState { generation, .. } => *generation,
                Change::SetStream { stream, state, .. } => {
                    self.check_state(stream, *state)?;
                    continue;
                }
                Change::Deploy { .. }
                | Change::CreateGeneration(_)
                | Change::DropDocuments { .. }
                | Change::PutStreamConfig { .. }
                | Change::Revise
                | Change::RemoveEvents { .. }
                | Change::ForgetRemoved { .. }
                | Change::RemovePlugin { .. } => continue,
                Change::DropGeneration { generation } => {
                    dropped.insert(*generation);
                    continue;
                }
            };
            if dropped.contains(&generation) {
                return Err(Rejection::NoGeneration { generation });
            }
            let created = |c: &Change| matches!(c, Change::CreateGeneration(record) if record.id == generation);
            match self.checkpoints.get(&generation) {
                None if generation == GenerationId::HOST => {}
                None if unit.changes.iter().any(created) => {}
                None => return Err(Rejection::NoGeneration { generation }),
                Some(actual) => {
                    if let Change::Advance { from, .. } = change
                        && from != actual
                    {
                        return Err(Rejection::Fenced { generation, expected: *from, actual: *actual });
                    }
                }
            }
        }
        Ok(())
    }

    fn place(&mut self, append: &StreamAppend, recorded_at: Timestamp, plan: &mut UnitPlan) -> Appended {
        let head = self.streams.entry(append.stream.clone()).or_default();
        let (first_position, first_offset) = (self.next_position, head.next_offset);
        let bytes: usize = append.events.iter().map(|event| event.body.len() + 40).sum();
        let mut run = BytesMut::with_capacity(bytes);
        for (event, n) in append.events.iter().zip(0..) {
            event.place(&mut run, Position(first_position.0 + n), Offset(first_offset.0 + n), recorded_at);
        }
        let run = run.freeze();
        let mut events = Vec::with_capacity(append.events.len());
        decode_run(run.clone(), &mut events).expect("what `place` wrote can be read");
        self.known.extend(events.iter().map(|event| (event.id(), Known::Stored(event.clone()))));
        if !self.matching.is_empty() {
            self.appended.extend(events.iter().cloned());
        }
        let count = append.events.len() as u32;
        *head = StreamHead { next_offset: Offset(first_offset.0 + u64::from(count)), state: StreamState::Live };
        self.next_position.0 += u64::from(count);
        self.recorded_at = recorded_at;
        plan.chunks.push(Chunk {
            stream: append.stream.clone(),
            first_position,
            first_offset,
            count,
            recorded_at,
            run,
            events,
        });
        Appended { stream: append.stream.clone(), first_position, first_offset, count, recorded_at, duplicate: false }
    }

    fn apply_changes(&mut self, unit: &Unit) {
        for change in &unit.changes {
            match change {
                Change::PutDocuments { generation: GenerationId::HOST, documents } => {
                    for document in documents {
                        let place = (Arc::clone(&document.collection), document.key.clone());
                        if let Some(value) = self.guarded.get_mut(&place) {
                            value.clone_from(&document.value);
                        }
                    }
                }
                Change::Advance { generation, to, .. } => {
                    self.checkpoints.insert(*generation, *to);
                }
                Change::CreateGeneration(record) => {
                    self.checkpoints.insert(record.id, record.checkpoint);
                }
                Change::DropGeneration { generation } => {
                    self.checkpoints.remove(generation);
                }
                Change::PutDocuments { .. }
                | Change::Deploy { .. }
                | Change::SetGenerationState { .. }
                | Change::DropDocuments { .. }
                | Change::PutStreamConfig { .. }
                | Change::Revise
                | Change::SetStream { .. }
                | Change::RemoveEvents { .. }
                | Change::ForgetRemoved { .. }
                | Change::RemovePlugin { .. } => {}
            }
        }
    }
}

/// Ids that stand twice in a unit, be it in one append or in two.
fn find_doubled(unit: &Unit, conflicts: &mut Vec<IdConflict>) {
    let count = unit.event_count();
    if count < 2 {
        return;
    }
    let mut seen = HashSet::with_capacity(count);
    for (append, events) in unit.appends.iter().map(|append| &append.events).enumerate() {
        for (index, event) in events.iter().enumerate() {
            if !seen.insert(event.id) {
                let append = index_of_several(unit, append);
                conflicts.push(IdConflict { id: event.id, append, index, stored: None });
            }
        }
    }
}

/// An append's index in its unit, if there are others beside it.
fn index_of_several(unit: &Unit, index: usize) -> Option<usize> {
    (unit.appends.len() > 1).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NewEvent, PreparedEvent};

    fn append(stream: &str, id: u128) -> StreamAppend {
        let stream = StreamName::from_stored(stream);
        let event = NewEvent { id: Uuid::from_u128(id), event_type: "t".into(), ..NewEvent::default() };
        let events = vec![PreparedEvent::encode(&event, &stream, Timestamp(1))];
        StreamAppend { stream, expected: Expected::Any, events: events.into() }
    }

    #[test]
    fn an_id_stands_once_in_a_unit() {
        let unit = |ids: [u128; 2]| Unit { appends: vec![append("a", ids[0]), append("b", ids[1])], ..Unit::default() };
        assert!(matches!(
            Snapshot::default().plan(&unit([1, 1]), Timestamp(1)),
            Err(Rejection::IdConflicts(conflicts)) if conflicts.len() == 1
        ));
        assert!(Snapshot::default().plan(&unit([1, 2]), Timestamp(1)).is_ok());
    }

    #[test]
    fn a_unit_is_repeated_as_a_whole_or_is_another_one() {
        let unit = |ids: [u128; 2]| Unit { appends: vec![append("a", ids[0]), append("b", ids[1])], ..Unit::default() };
        let mut snapshot = Snapshot::default();
        snapshot.plan(&unit([1, 2]), Timestamp(1)).unwrap();
        let again = snapshot.plan(&unit([1, 2]), Timestamp(1)).unwrap();
        assert!(again.appends.iter().all(|append| append.duplicate));
        assert!(matches!(
            snapshot.plan(&unit([1, 3]), Timestamp(1)),
            Err(Rejection::IdConflicts(conflicts)) if conflicts.len() == 1
        ));
    }

    #[test]
    fn a_dropped_generation_does_not_come_back() {
        let generation = GenerationId(1);
        let mut snapshot = Snapshot { checkpoints: [(generation, Position(0))].into(), ..Snapshot::default() };
        let advance = Change::Advance { generation, from: Position(0), to: Position(1) };
        let unit = Unit::change(vec![Change::DropGeneration { generation }, advance]);
        let refused = snapshot.plan(&unit, Timestamp(1));
        assert!(matches!(refused, Err(Rejection::NoGeneration { .. })), "{refused:?}");
        assert_eq!(snapshot.checkpoints.len(), 1, "nothing has changed");
    }
}
