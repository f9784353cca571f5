//! Decides, for a group of units in queue order, which pass and what places their events get.
//!
//! Pure: a store loads a [`Snapshot`] of all that the units name, asks for the plan of each unit, and
//! writes what the plans say. Each plan sees what the units before it will have done.

use std::collections::{HashMap, HashSet};

use bytes::BytesMut;
use uuid::Uuid;

use super::unit::{Appended, Change, Expected, IdConflict, Rejection, StreamAppend, Unit, WrongOffset};
use crate::clock::Timestamp;
use crate::event::{Chunk, Event, Offset, Position, decode_run};
use crate::name::StreamName;
use crate::record::GenerationId;

/// What is committed, as far as the units of a group can see it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub next_position: Position,
    /// `recorded_at` of the newest event: times never step back.
    pub recorded_at: Timestamp,
    /// Next offset of each stream that is named and exists.
    pub next_offsets: HashMap<StreamName, Offset>,
    /// Stored events whose ids are among the units', and those that the group itself will store.
    pub known: HashMap<Uuid, Event>,
    /// Checkpoints of the generations that are named and exist.
    pub checkpoints: HashMap<GenerationId, Position>,
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
        let repeated = self.repeated(unit)?;
        self.check_offsets(unit, &repeated)?;
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
        for append in &unit.appends {
            answers.push(self.first_answer(append, &mut conflicts));
        }
        if conflicts.is_empty() { Ok(answers) } else { Err(Rejection::IdConflicts(conflicts)) }
    }

    fn first_answer(&self, append: &StreamAppend, conflicts: &mut Vec<IdConflict>) -> Option<Appended> {
        let stored = |index: usize| self.known.get(&append.events[index].id);
        let first = (0..append.events.len()).find_map(stored)?;
        let all_in_place = (0..append.events.len()).all(|index| {
            stored(index).is_some_and(|event| {
                let same = append.events[index].view().is_ok_and(|new| new.same_content(event));
                same && event.position().0 == first.position().0 + index as u64
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
        conflicts.extend((0..append.events.len()).filter_map(|index| {
            let event = stored(index)?;
            let stored = Some((StreamName::from_stored(event.stream()), event.offset()));
            Some(IdConflict { id: event.id(), index, stored })
        }));
        None
    }

    /// All failing checks are reported together.
    fn check_offsets(&self, unit: &Unit, repeated: &[Option<Appended>]) -> Result<(), Rejection> {
        let fresh = unit.appends.iter().zip(repeated).filter(|(_, repeated)| repeated.is_none());
        let fresh = fresh.map(|(append, _)| (&append.stream, append.expected));
        let is_repeated = !repeated.is_empty() && repeated.iter().all(Option::is_some);
        let checks = unit.checks.iter().filter(|_| !is_repeated).map(|check| (&check.stream, check.expected));
        let wrong: Vec<WrongOffset> = fresh
            .chain(checks)
            .filter_map(|(stream, expected)| {
                let next = self.next_offsets.get(stream);
                let actual = next.and_then(|next| next.0.checked_sub(1)).map(Offset);
                let holds = match expected {
                    Expected::Any => true,
                    Expected::NoStream => next.is_none(),
                    Expected::Exists => next.is_some(),
                    Expected::Exactly(offset) => actual == Some(offset),
                };
                (!holds).then(|| WrongOffset { stream: stream.clone(), expected, actual })
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(Rejection::WrongOffsets(wrong)) }
    }

    fn check_changes(&self, unit: &Unit) -> Result<(), Rejection> {
        let mut dropped = HashSet::new();
        for change in &unit.changes {
            let generation = match change {
                Change::PutDocuments { generation, .. }
                | Change::Advance { generation, .. }
                | Change::SetGenerationState { generation, .. } => *generation,
                Change::Deploy { .. }
                | Change::CreateGeneration(_)
                | Change::DropDocuments { .. }
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
        let next_offset = self.next_offsets.entry(append.stream.clone()).or_default();
        let (first_position, first_offset) = (self.next_position, *next_offset);
        let bytes: usize = append.events.iter().map(|event| event.body.len() + 40).sum();
        let mut run = BytesMut::with_capacity(bytes);
        for (event, n) in append.events.iter().zip(0..) {
            event.place(&mut run, Position(first_position.0 + n), Offset(first_offset.0 + n), recorded_at);
        }
        let run = run.freeze();
        let mut events = Vec::with_capacity(append.events.len());
        decode_run(run.clone(), &mut events).expect("what `place` wrote can be read");
        self.known.extend(events.iter().map(|event| (event.id(), event.clone())));
        let count = append.events.len() as u32;
        next_offset.0 += u64::from(count);
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
    for (index, event) in unit.appends.iter().flat_map(|append| append.events.iter().enumerate()) {
        if !seen.insert(event.id) {
            conflicts.push(IdConflict { id: event.id, index, stored: None });
        }
    }
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
