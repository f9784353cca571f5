//! Handing out: what there is, what reading on brings, and in which version.

use super::{Runner, Waiting};
use crate::clock::Timestamp;
use crate::group::config::Delivery;
use crate::group::lanes::{Handed, MemberId};
use crate::group::owed::Owed;
use crate::group::{Handing, Nack};
use crate::limits::{group as limits, read};
use crate::log_id;
use crate::store::PageLimit;

impl Runner {
    /// Gives waiting members what there is, and reads on for them.
    pub(super) async fn serve(&mut self, now: Timestamp) {
        let mut at = 0;
        while at < self.waiting.len() {
            let Waiting { member, room, lease_us, .. } = self.waiting[at];
            let handed = self.take(member, room, lease_us, now).await;
            let ended = self.waiting[at].until <= now || !self.machine.is_member(member);
            if handed.is_empty() && !ended {
                at += 1;
                continue;
            }
            let reply = self.waiting.swap_remove(at).reply;
            let handed: Vec<Handing> = handed.into_iter().map(Handing::from).collect();
            if self.machine.record.config.delivery == Delivery::AtMostOnce && !handed.is_empty() {
                // They count as settled; the member gets them once that is certain.
                self.owed.push(Owed::Handed(reply, handed));
            } else if let Err(Ok(handed)) = reply.send(Ok(handed)) {
                // The member went away before it got them.
                handed.iter().rev().for_each(|one| self.machine.give_back(one.token, now));
            }
        }
    }

    /// What there is, and what reading on brings, until there is no more room for it.
    async fn take(&mut self, member: MemberId, room: PageLimit, lease_us: Option<i64>, now: Timestamp) -> Vec<Handed> {
        if !self.machine.may_take(member) {
            return Vec::new();
        }
        self.look_ahead(now).await;
        let mut handed = self.take_readable(member, room, lease_us, now);
        for _ in 0..limits::READS_AT_ONCE {
            let bytes: usize = handed.iter().map(|one| one.event.raw().len()).sum();
            let left = PageLimit { events: room.events - handed.len(), bytes: room.bytes.saturating_sub(bytes) };
            if left.events == 0 || left.bytes == 0 || !self.read_on(now).await {
                break;
            }
            handed.extend(self.take_readable(member, left, lease_us, now));
        }
        self.lifted(member, handed, now).await
    }

    /// What is handed out in its newest version. An event that cannot be lifted is parked, or waits while what would
    /// lift it rests.
    async fn lifted(&mut self, member: MemberId, mut handed: Vec<Handed>, now: Timestamp) -> Vec<Handed> {
        let lifts = self.context.reader.lifts();
        if lifts.is_empty() || handed.is_empty() {
            return handed;
        }
        let events = lifts.lift(handed.iter().map(|one| one.event.clone()).collect()).await;
        let mut failed = false;
        for (one, event) in handed.iter_mut().zip(events) {
            if let Some(error) = event.upcast_error() {
                failed = true;
                let nack = match lifts.is_resting(&one.event) {
                    true => Nack::Delay { ms: limits::UPCASTER_RESTS_MS },
                    false => Nack::Park { error: error.to_owned() },
                };
                self.machine.nack(member, &[one.token], &nack, now);
            }
            one.event = event;
        }
        if failed {
            // Whatever is behind such an event in its key has come back with it.
            handed.retain(|one| self.machine.has(member, one.token));
        }
        handed
    }

    /// Priority holds among messages that were read, so a queue is read some way ahead.
    async fn look_ahead(&mut self, now: Timestamp) {
        let few =
            |size: PageLimit| size.events < limits::PRIORITY_AHEAD_EVENTS && size.bytes < limits::PRIORITY_AHEAD_BYTES;
        for _ in 0..limits::READS_AT_ONCE {
            if !self.machine.record.queue || !few(self.machine.unsettled()) || !self.read_on(now).await {
                return;
            }
        }
    }

    /// What the member may not read is settled instead, so that it does not hold up its key. It is looked at here
    /// and not when it is read, since configurations change in between.
    fn take_readable(
        &mut self,
        member: MemberId,
        room: PageLimit,
        lease_us: Option<i64>,
        now: Timestamp,
    ) -> Vec<Handed> {
        let mut handed = self.machine.take(member, room, lease_us, now);
        handed.retain(|one| {
            let readable = self.context.may_read(&self.machine.record.name, &one.event);
            if !readable {
                self.machine.hide(one.token, now);
            }
            readable
        });
        handed
    }

    /// Reads a page. `false` when there is nothing more, no room, or the store does not answer.
    pub(super) async fn read_on(&mut self, now: Timestamp) -> bool {
        let Some(from) = self.machine.next_read().filter(|_| self.machine.has_room()) else { return false };
        if from >= self.context.reader.tail().next() {
            return false;
        }
        let limit = PageLimit { events: limits::READ_EVENTS, bytes: read::PAGE_BYTES_MAX };
        match self.context.reader.stored_page(from, &self.filter, limit).await {
            Ok(page) => {
                let next = page.next.unwrap_or(from);
                self.machine.take_in(page.events, next, now);
                if next.0.saturating_sub(self.told.0) > limits::CURSOR_LAG_MAX {
                    self.machine.touch();
                    self.told = next;
                }
                next > from
            }
            Err(error) => {
                let (event_id, group) = (log_id::GROUP_NOT_READ, &self.machine.record.name);
                tracing::warn!(event_id, group, error = crate::tasks::chain(&error), "the log cannot be read");
                false
            }
        }
    }
}
