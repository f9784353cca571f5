//! Looking into lanes.

use super::{Back, Entry, Lanes, State};
use crate::event::{Event, Position};

impl Lanes {
    /// Keys of which there are events.
    pub(in crate::group) fn has_key(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The first idle event of a key behind a position.
    pub(in crate::group) fn idle_behind(&self, key: &str, position: Position) -> Option<Back> {
        let id = *self.by_key.get(key)?;
        let lane = self.lanes.get(&id)?;
        let behind = |entry: &&Entry| entry.state == State::Idle && entry.event.position() > position;
        let entry = lane.entries.iter().find(behind)?;
        Some(Back { lane: id, position: entry.event.position(), tries: entry.tries, slot: lane.slot })
    }

    /// Whether an event is about to leave.
    pub(in crate::group) fn is_settling(&self, event: &Event, keyless: bool) -> bool {
        let lane = Self::slot(event, keyless).1.and_then(|key| self.lanes.get(self.by_key.get(key)?));
        lane.is_some_and(|lane| {
            let found = lane.entries.binary_search_by_key(&event.position(), |entry| entry.event.position());
            found.is_ok_and(|at| lane.entries[at].state == State::Settling)
        })
    }
}
