//! Shares that come and go.

use super::{Lane, LaneId, Lanes, State};
use crate::clock::Timestamp;
use crate::group::share::share_of;

impl Lanes {
    pub(in crate::group) fn set_leaving(&mut self, share: usize, leaving: bool, now: Timestamp) {
        if std::mem::replace(&mut self.leaving[share], leaving) != leaving {
            let of_share = |(id, lane): (&LaneId, &Lane)| (share_of(lane.slot) == share).then_some(*id);
            let ids: Vec<LaneId> = self.lanes.iter().filter_map(of_share).collect();
            ids.into_iter().for_each(|id| self.put_in_place(id, now));
        }
    }

    /// Whether nothing of a share is handed out or about to be committed.
    pub(in crate::group) fn is_quiet(&self, share: usize) -> bool {
        let idle = |lane: &Lane| lane.entries.iter().all(|entry| entry.state == State::Idle);
        self.lanes.values().all(|lane| share_of(lane.slot) != share || idle(lane))
    }

    /// Forgets all of a share, whose deliveries are void.
    pub(in crate::group) fn forget(&mut self, share: usize) {
        let of_share = |(id, lane): (&LaneId, &Lane)| (share_of(lane.slot) == share).then_some(*id);
        let ids: Vec<LaneId> = self.lanes.iter().filter_map(of_share).collect();
        for id in ids {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let entries = std::mem::take(&mut lane.entries);
            for entry in entries {
                self.events -= 1;
                self.bytes -= entry.event.raw().len();
                match entry.state {
                    State::Out { token, until, .. } => {
                        self.leases.remove(&(until, token));
                        self.out.remove(&token);
                    }
                    State::Noted { token, .. } => {
                        self.out.remove(&token);
                    }
                    State::Idle | State::Settling => {}
                }
            }
            self.put_in_place(id, Timestamp(i64::MAX));
        }
        self.leaving[share] = false;
        let kept = &self.lanes;
        self.settling.retain(|(id, _)| kept.contains_key(id));
    }
}
