//! What the memory store holds, and how a planned unit changes it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::{Chunk, Event, Offset, Position};
use crate::name::StreamName;
use crate::record::{
    GenerationId, GenerationRecord, PluginRecord, RemovedEvent, RevisionRecord, StreamInfo, StreamState,
};
use crate::store::Head;
use crate::store::plan::{Known, Snapshot, StreamHead, UnitPlan};
use crate::store::unit::{AppendCondition, Change, Committed, Guard, Unit};

#[derive(Debug)]
pub(in crate::store) struct Inner {
    pub(in crate::store) head: Head,
    /// `recorded_at` of the newest event ever.
    pub(in crate::store) recorded_at: Timestamp,
    pub(in crate::store) events: BTreeMap<Position, Event>,
    pub(in crate::store) streams: BTreeMap<StreamName, Stream>,
    pub(in crate::store) positions: HashMap<Uuid, Position>,
    pub(in crate::store) removed: BTreeMap<Position, RemovedEvent>,
    pub(in crate::store) configs: BTreeMap<(bool, String), String>,
    pub(in crate::store) plugins: BTreeMap<String, PluginRecord>,
    pub(in crate::store) revisions: BTreeMap<(String, u32), RevisionRecord>,
    pub(in crate::store) components: HashMap<String, Bytes>,
    pub(in crate::store) generations: BTreeMap<GenerationId, GenerationRecord>,
    pub(in crate::store) documents: BTreeMap<(GenerationId, String, String), Bytes>,
}

#[derive(Debug)]
pub(in crate::store) struct Stream {
    pub(in crate::store) info: StreamInfo,
    /// Of the events that are stored, in order.
    pub(in crate::store) positions: VecDeque<Position>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            head: Head { next_position: Position(0), log_id: Uuid::new_v4(), revision: 0 },
            recorded_at: Timestamp::default(),
            events: BTreeMap::new(),
            streams: BTreeMap::new(),
            positions: HashMap::new(),
            removed: BTreeMap::new(),
            configs: BTreeMap::new(),
            plugins: BTreeMap::new(),
            revisions: BTreeMap::new(),
            components: HashMap::new(),
            generations: BTreeMap::new(),
            documents: BTreeMap::new(),
        }
    }
}

impl Stream {
    pub(in crate::store) fn new(name: &StreamName, recorded_at: Timestamp, first_offset: Offset) -> Self {
        let info = StreamInfo {
            name: name.clone(),
            state: StreamState::Live,
            first_offset,
            truncate_before: Offset(0),
            next_offset: first_offset,
            bytes: 0,
            created_at: recorded_at,
            first_recorded_at: recorded_at,
            last_recorded_at: recorded_at,
            last_position: Position(0),
        };
        Self { info, positions: VecDeque::new() }
    }

    pub(in crate::store) fn add(&mut self, event: &Event) {
        if self.positions.is_empty() {
            self.info.first_offset = event.offset();
            self.info.first_recorded_at = event.recorded_at();
        }
        self.positions.push_back(event.position());
        self.info.next_offset = Offset(event.offset().0 + 1);
        self.info.bytes += event.framed_len() as u64;
        self.info.last_recorded_at = event.recorded_at();
        self.info.last_position = event.position();
    }
}

impl Inner {
    pub(in crate::store) fn snapshot(&self, units: &[Unit]) -> Snapshot {
        let appends = || units.iter().flat_map(|unit| &unit.appends);
        let ids = appends().flat_map(|append| append.events.iter().map(|event| event.id));
        let known = ids.filter_map(|id| Some((id, self.known(&id)?))).collect();
        let named = units.iter().flat_map(Unit::streams).filter_map(|stream| self.streams.get(stream));
        let head = |stream: &Stream| StreamHead { next_offset: stream.info.next_offset, state: stream.info.state };
        let conditions = units.iter().flat_map(|unit| &unit.conditions);
        Snapshot {
            next_position: self.head.next_position,
            recorded_at: self.recorded_at,
            streams: named.map(|stream| (stream.info.name.clone(), head(stream))).collect(),
            known,
            matching: conditions.map(|condition| (condition.clone(), self.matching(condition))).collect(),
            appended: Vec::new(),
            checkpoints: self.generations.values().map(|g| (g.id, g.checkpoint)).collect(),
            guarded: units.iter().flat_map(|unit| &unit.guards).map(|guard| self.guarded(guard)).collect(),
        }
    }

    pub(in crate::store) fn known(&self, id: &Uuid) -> Option<Known> {
        let position = self.positions.get(id)?;
        let stored = self.events.get(position).cloned().map(Known::Stored);
        stored.or_else(|| self.removed.get(position).cloned().map(Known::Removed))
    }

    pub(in crate::store) fn matching(&self, condition: &AppendCondition) -> Option<Position> {
        let from = condition.after.map_or(Position(0), |after| Position(after.0.saturating_add(1)));
        let mut events = self.events.range(from..).map(|(_, event)| event);
        events.find(|event| condition.query.matches(event)).map(Event::position)
    }

    fn guarded(&self, guard: &Guard) -> ((Arc<str>, String), Option<Bytes>) {
        let place = (GenerationId::HOST, guard.collection.to_string(), guard.key.clone());
        ((Arc::clone(&guard.collection), guard.key.clone()), self.documents.get(&place).cloned())
    }

    pub(in crate::store) fn store(&mut self, unit: &Unit, plan: UnitPlan, now: Timestamp) -> Committed {
        for chunk in &plan.chunks {
            self.append(chunk);
        }
        let removed = unit.changes.iter().map(|change| self.change(change, now)).sum();
        Committed { appends: plan.appends, chunks: plan.chunks, removed }
    }

    pub(in crate::store) fn append(&mut self, chunk: &Chunk) {
        let new = || Stream::new(&chunk.stream, chunk.recorded_at, Offset(0));
        let stream = self.streams.entry(chunk.stream.clone()).or_insert_with(new);
        stream.info.state = StreamState::Live;
        for event in &chunk.events {
            stream.add(event);
            self.positions.insert(event.id(), event.position());
            self.events.insert(event.position(), event.clone());
        }
        self.head.next_position = Position(chunk.first_position.0 + u64::from(chunk.count));
        self.recorded_at = chunk.recorded_at;
    }

    pub(in crate::store) fn remove_events(&mut self, name: &StreamName, limit: usize, now: Timestamp) -> u64 {
        let Some(stream) = self.streams.get_mut(name) else { return 0 };
        let hidden = stream.info.truncate_before.0.saturating_sub(stream.info.first_offset.0);
        let count = usize::try_from(hidden).unwrap_or(usize::MAX).min(limit).min(stream.positions.len());
        for position in stream.positions.drain(..count) {
            let event = self.events.remove(&position).expect("a stream's positions are of stored events");
            stream.info.bytes -= event.framed_len() as u64;
            stream.info.first_offset.0 += 1;
            let removed = RemovedEvent {
                id: event.id(),
                stream: name.clone(),
                offset: event.offset(),
                position,
                recorded_at: event.recorded_at(),
                removed_at: now,
            };
            self.removed.insert(position, removed);
        }
        let oldest = stream.positions.front().map(|position| self.events[position].recorded_at());
        stream.info.first_recorded_at = oldest.unwrap_or(stream.info.last_recorded_at);
        self.head.revision += 1;
        count as u64
    }

    pub(in crate::store) fn forget_removed(&mut self, before: Timestamp, limit: usize) -> u64 {
        let old = self.removed.values().filter(|removed| removed.removed_at < before);
        let old: Vec<(Position, Uuid)> = old.take(limit).map(|removed| (removed.position, removed.id)).collect();
        for (position, id) in &old {
            self.removed.remove(position);
            self.positions.remove(id);
        }
        old.len() as u64
    }

    pub(in crate::store) fn change(&mut self, change: &Change, now: Timestamp) -> u64 {
        match change {
            Change::PutStreamConfig { pattern, exact, config } => {
                let key = (*exact, pattern.clone());
                match config {
                    Some(config) => self.configs.insert(key, config.clone()),
                    None => self.configs.remove(&key),
                };
                self.head.revision += 1;
            }
            Change::Revise => self.head.revision += 1,
            Change::SetStream { stream, truncate_before, state } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    let info = &mut stream.info;
                    info.truncate_before = (*truncate_before).min(info.next_offset).max(info.truncate_before);
                    info.state = *state;
                }
                self.head.revision += 1;
            }
            Change::RemoveEvents { stream, limit } => return self.remove_events(stream, *limit, now),
            Change::ForgetRemoved { before, limit } => return self.forget_removed(*before, *limit),
            Change::PutDocuments { generation, documents } => {
                for document in documents {
                    let key = (*generation, document.collection.to_string(), document.key.clone());
                    match &document.value {
                        Some(value) => self.documents.insert(key, value.clone()),
                        None => self.documents.remove(&key),
                    };
                }
            }
            Change::Advance { generation, to, .. } => {
                if let Some(record) = self.generations.get_mut(generation) {
                    record.checkpoint = *to;
                }
            }
            Change::Deploy { revision, component } => {
                let record = PluginRecord {
                    name: revision.plugin.clone(),
                    kind: revision.kind,
                    created_at: revision.deployed_at,
                    current: revision.clone(),
                };
                let plugin = self.plugins.entry(record.name.clone()).or_insert(record);
                plugin.current = revision.clone();
                plugin.kind = revision.kind;
                self.revisions.insert((revision.plugin.clone(), revision.number), revision.clone());
                self.components.insert(revision.sha256.clone(), component.clone());
            }
            Change::CreateGeneration(record) => {
                self.generations.insert(record.id, record.clone());
            }
            Change::SetGenerationState { generation, state } => {
                if let Some(record) = self.generations.get_mut(generation) {
                    record.state = *state;
                }
            }
            Change::DropDocuments { generation, limit } => {
                let from = (*generation, String::new(), String::new());
                let of_generation = self.documents.range(from..).take_while(|(key, _)| key.0 == *generation);
                let keys: Vec<_> = of_generation.take(*limit).map(|(key, _)| key.clone()).collect();
                for key in &keys {
                    self.documents.remove(key);
                }
                return keys.len() as u64;
            }
            Change::DropGeneration { generation } => {
                self.generations.remove(generation);
            }
            Change::RemovePlugin { name } => {
                self.plugins.remove(name);
                self.revisions.retain(|(plugin, _), _| plugin != name);
                let used: Vec<&str> = self.revisions.values().map(|revision| revision.sha256.as_str()).collect();
                self.components.retain(|sha256, _| used.contains(&sha256.as_str()));
            }
        }
        0
    }
}
