//! Handing out.

use std::collections::BTreeSet;

use super::{Gone, Handed, LaneId, Lanes, MemberId, State};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::store::PageLimit;

/// Losses after which an event is handed out by itself: it may be what its members die of, and their other
/// events need not be counted with it.
const ALONE_AFTER_LOSSES: u32 = 2;

impl Lanes {
    /// Hands out to a member what it may have: its own lanes first, then those of `slots` in their order; or in
    /// one line, whatever has the next turn.
    pub(in crate::group) fn take(
        &mut self,
        member: MemberId,
        slots: impl Iterator<Item = u8>,
        room: PageLimit,
        until: Timestamp,
        now: Timestamp,
    ) -> Taken {
        let busy = self.unacknowledged(member) > 0;
        let taken = Taken::default();
        let mut taking = Taking { member, room, until, now, taken, bytes: 0, busy, alone: false };
        while let Some(id) = self.next_in_line(member) {
            if !self.take_from(id, &mut taking) {
                return taking.taken;
            }
        }
        if self.held.get(&member).is_some_and(BTreeSet::is_empty) {
            self.held.remove(&member);
        }
        for slot in slots {
            while let Some((_, id)) = self.ready[usize::from(slot)].first().copied() {
                if !self.take_from(id, &mut taking) {
                    return taking.taken;
                }
            }
        }
        taking.taken
    }

    /// The lane that a member takes from before those of its slots: one of its own, or in one line of all.
    fn next_in_line(&self, member: MemberId) -> Option<LaneId> {
        let held = self.held.get(&member).and_then(|held| held.first());
        let ready = self.ready[0].first().filter(|_| self.one_line);
        held.into_iter().chain(ready).min().map(|(_, id)| *id)
    }

    /// Whether there may be more for the member.
    fn take_from(&mut self, id: LaneId, taking: &mut Taking) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return true };
        let (mut full, mut first) = (false, None);
        for entry in &mut lane.entries {
            if entry.state != State::Idle {
                continue;
            }
            if entry.tries.not_before > taking.now {
                break;
            }
            if *first.get_or_insert(entry.priority) > entry.priority {
                // Others may come before it.
                break;
            }
            if entry.expires_at <= taking.now {
                entry.state = State::Settling;
                let (event, tries, replayed) = (entry.event.clone(), entry.tries, entry.replayed);
                self.settling.push((id, event.position()));
                let gone = Gone { event, tries, slot: lane.slot, key: lane.key.clone(), replayed };
                taking.taken.expired.push(gone);
                continue;
            }
            let alone = entry.tries.lost >= ALONE_AFTER_LOSSES;
            full = taking.is_full(&entry.event) || (alone && (taking.busy || !taking.taken.handed.is_empty()));
            if full {
                break;
            }
            let token = self.next_token;
            self.next_token += 1;
            entry.state = State::Out { token, since: taking.now, until: taking.until };
            if lane.holder.replace(taking.member).is_none() {
                self.runs.entry(taking.member).or_default().insert(id);
            }
            self.out.insert(token, (id, entry.event.position()));
            self.leases.insert((taking.until, token));
            taking.bytes += entry.event.raw().len();
            taking.taken.handed.push(Handed { token, event: entry.event.clone(), tries: entry.tries });
            taking.alone = alone;
            full = alone;
            if full {
                break;
            }
        }
        self.put_in_place(id, taking.now);
        !full
    }
}

/// What one member gets, and what had expired before anyone could.
#[derive(Debug, Default)]
pub(in crate::group) struct Taken {
    pub(in crate::group) handed: Vec<Handed>,
    pub(in crate::group) expired: Vec<Gone>,
}

/// What one member is about to get.
struct Taking {
    member: MemberId,
    room: PageLimit,
    until: Timestamp,
    now: Timestamp,
    taken: Taken,
    bytes: usize,
    /// It has others in hand.
    busy: bool,
    alone: bool,
}

impl Taking {
    fn is_full(&self, next: &Event) -> bool {
        let bytes = self.bytes + next.raw().len();
        self.alone
            || self.taken.handed.len() >= self.room.events
            || (!self.taken.handed.is_empty() && bytes > self.room.bytes)
    }
}
