//! What a group has to commit, and what it knows of itself.

use std::sync::Arc;

use bytes::Bytes;

use super::{Committing, Machine};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::group::dead_letter::DeadLetter;
use crate::group::{
    COLLECTION_DEAD_LETTERS, COLLECTION_PARKED_KEYS, COLLECTION_REPLAYED, COLLECTION_SHARES, document, parked_key,
    share_key,
};
use crate::record::GenerationId;
use crate::store::{Change, Guard, PageLimit, Unit};

impl Machine {
    /// What has to be committed; nothing if nothing has changed.
    pub(in crate::group) fn commit(&mut self) -> Option<(Unit, Committing)> {
        let dirty = self.leased.values().any(|leased| leased.dirty);
        if !dirty && self.letters.is_empty() && self.progress.is_empty() && self.effects.is_empty() {
            return None;
        }
        let group = &self.record.name;
        let mut unit = Unit::default();
        for Unit { appends, checks, conditions, guards, changes } in self.effects.drain(..) {
            unit.appends.extend(appends);
            unit.checks.extend(checks);
            unit.conditions.extend(conditions);
            unit.guards.extend(guards);
            unit.changes.extend(changes);
        }
        let mut documents = std::mem::take(&mut self.progress);
        let mut stored = Vec::new();
        for (number, leased) in self.leased.iter_mut().filter(|(_, leased)| leased.dirty) {
            leased.dirty = false;
            let (key, value) = (share_key(group, *number), leased.share.encode());
            let collection = Arc::from(COLLECTION_SHARES);
            unit.guards.push(Guard { collection, key: key.clone(), value: leased.stored.clone() });
            documents.push(document(COLLECTION_SHARES, key, Some(value.clone())));
            stored.push((*number, value));
        }
        let mut copies = Vec::new();
        for (position, letter) in self.letters.drain(..) {
            if self.record.config.dead_letter_stream.is_some() {
                copies.extend(letter.clone());
            }
            let key = DeadLetter::key(group, position);
            documents.push(document(COLLECTION_DEAD_LETTERS, key, letter.map(|letter| letter.encode())));
        }
        for (position, event) in self.replayed.drain(..) {
            let value = event.map(|event| event.raw().clone());
            documents.push(document(COLLECTION_REPLAYED, DeadLetter::key(group, position), value));
        }
        self.parked.retain(|key, (count, dirty)| {
            if std::mem::take(dirty) {
                let value = (*count > 0).then(|| Bytes::from(count.to_string()));
                documents.push(document(COLLECTION_PARKED_KEYS, parked_key(group, key), value));
            }
            *count > 0
        });
        unit.changes.push(Change::PutDocuments { generation: GenerationId::HOST, documents });
        Some((
            unit,
            Committing { settled: self.lanes.take_settling(), stored, copies, read: std::mem::take(&mut self.read) },
        ))
    }

    /// The unit of [`Machine::commit`] is durable.
    pub(in crate::group) fn committed(&mut self, committing: Committing, now: Timestamp) {
        for (number, value) in committing.stored {
            if let Some(leased) = self.leased.get_mut(&number) {
                leased.stored = Some(value);
            }
        }
        self.lanes.committed(&committing.settled, now);
    }

    /// Cursors that moved over events of others are told now and then.
    pub(in crate::group) fn touch(&mut self) {
        self.leased.values_mut().for_each(|leased| leased.dirty = true);
    }

    // Facts.

    pub(in crate::group) fn unsettled(&self) -> PageLimit {
        self.lanes.size()
    }

    pub(in crate::group) fn in_flight(&self) -> usize {
        self.lanes.out_count()
    }

    pub(in crate::group) fn parked_keys(&self) -> usize {
        self.parked.len()
    }

    pub(in crate::group) fn oldest(&self) -> Option<&Event> {
        self.lanes.oldest()
    }

    /// Everything before it is settled, in every share of this host.
    pub(in crate::group) fn floor(&self) -> Option<Position> {
        self.leased.values().map(|leased| leased.share.floor()).min()
    }
}
