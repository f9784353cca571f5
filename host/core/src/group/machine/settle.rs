//! How events leave a group: settled, given up, or handed in again.

use std::sync::Arc;

use super::{Machine, MemberId};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::group::config::{CommitStrategy, DeadLetters, ParkedKeys};
use crate::group::dead_letter::{DeadLetter, Reason, Why};
use crate::group::lanes::{Back, Gone, Lanes, Source, Token};
use crate::group::share::{Tries, share_of};
use crate::group::{Again, Nack, Settled};
use crate::limits::group as limits;
use crate::store::{DocumentChange, Unit};

impl Machine {
    /// Each answer tells whether the delivery was still the member's.
    pub(in crate::group) fn ack(&mut self, member: MemberId, tokens: &[Token], now: Timestamp) -> Vec<Settled> {
        let strategy = self.record.config.commit;
        let mut answers: Vec<Settled> = tokens
            .iter()
            .map(|token| {
                if !self.lanes.is_with(*token, member) {
                    return Settled::Superseded;
                }
                match strategy {
                    CommitStrategy::Each => {
                        self.settle_read(*token, now);
                        Settled::Durable
                    }
                    _ => {
                        self.lanes.note(*token);
                        Settled::Noted
                    }
                }
            })
            .collect();
        if strategy == CommitStrategy::Batch && self.lanes.unacknowledged(member) == 0 {
            self.settle_noted(member, now);
            answers
                .iter_mut()
                .filter(|answer| **answer == Settled::Noted)
                .for_each(|answer| *answer = Settled::Durable);
        }
        answers
    }

    /// Settles deliveries together with what they have brought about; `false`, and nothing, if one of them is not
    /// the member's any more.
    pub(in crate::group) fn settle_with(
        &mut self,
        member: MemberId,
        tokens: &[Token],
        effects: Unit,
        now: Timestamp,
    ) -> bool {
        if !tokens.iter().all(|token| self.lanes.is_out_with(*token, member)) {
            return false;
        }
        tokens.iter().for_each(|token| self.settle_read(*token, now));
        self.effects.push(effects);
        true
    }

    /// Settles what a member has acknowledged; how many events that were.
    pub(in crate::group) fn settle_noted(&mut self, member: MemberId, now: Timestamp) -> usize {
        let noted = self.lanes.noted(member);
        noted.iter().for_each(|token| self.settle_read(*token, now));
        noted.len()
    }

    /// The same for all members.
    pub(in crate::group) fn settle_all_noted(&mut self, now: Timestamp) {
        let members: Vec<MemberId> = self.members.keys().copied().collect();
        for member in members {
            self.settle_noted(member, now);
        }
    }

    /// Whether the delivery is in the member's hands.
    pub(in crate::group) fn has(&mut self, member: MemberId, token: Token) -> bool {
        self.lanes.is_out_with(token, member)
    }

    pub(super) fn settle(&mut self, token: Token, now: Timestamp) -> Option<Event> {
        self.took_us.extend(self.lanes.since(token).map(|since| now.0 - since.0));
        let gone = self.lanes.settle(token, now)?;
        self.counts.settled += 1;
        self.no_longer_pending(&gone);
        Some(gone.event)
    }

    /// Settles what a member has acknowledged.
    fn settle_read(&mut self, token: Token, now: Timestamp) {
        let event = self.settle(token, now);
        self.read.extend(event.filter(|_| self.notes_read));
    }

    /// Settles a delivery that nobody gets to see.
    pub(in crate::group) fn hide(&mut self, token: Token, now: Timestamp) {
        self.counts.delivered -= 1;
        self.settle(token, now);
    }

    pub(super) fn no_longer_pending(&mut self, gone: &Gone) {
        if let Some(leased) = self.leased.get_mut(&share_of(gone.slot)) {
            leased.share.pending.remove(&gone.event.position());
            leased.dirty = true;
        }
        if gone.replayed {
            self.replayed.push((gone.event.position(), None));
        }
    }

    pub(in crate::group) fn nack(
        &mut self,
        member: MemberId,
        tokens: &[Token],
        nack: &Nack,
        now: Timestamp,
    ) -> Vec<Settled> {
        let name = self.members.get(&member).map(|member| Arc::clone(&member.name)).unwrap_or_default();
        let mut answer = |token: &Token| {
            if !self.lanes.is_out_with(*token, member) {
                return Settled::Superseded;
            }
            match nack {
                Nack::Retry { error, after_ms } => self.refuse(*token, (error, *after_ms), &name, now),
                Nack::Delay { ms } => {
                    let rest = i64::try_from(*ms).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000);
                    let until = Timestamp(now.0.saturating_add(rest));
                    let back = self.lanes.take_back(*token, now, |tries| tries.not_before = until);
                    back.into_iter().for_each(|back| self.rests(&back));
                }
                Nack::Park { error } => {
                    let back = self.lanes.take_back(*token, now, |tries| tries.refused += 1);
                    let why = Why {
                        reason: Reason::Parked,
                        error: error.clone(),
                        member: name.to_string(),
                        ..Why::default()
                    };
                    back.into_iter().for_each(|back| self.give_up(&back, &why, now));
                }
                Nack::Skip => drop(self.settle(*token, now)),
            }
            Settled::Durable
        };
        tokens.iter().map(&mut answer).collect()
    }

    pub(in crate::group) fn extend(
        &mut self,
        member: MemberId,
        tokens: &[Token],
        ms: u64,
        now: Timestamp,
    ) -> Vec<Settled> {
        let more = i64::try_from(ms.min(limits::TIMEOUT_MS_MAX)).unwrap_or_default() * 1_000;
        let until = Timestamp(now.0.saturating_add(more));
        let answer = |token: &Token| {
            let with = self.lanes.is_out_with(*token, member);
            if with {
                self.lanes.extend(*token, until);
            }
            if with { Settled::Noted } else { Settled::Superseded }
        };
        tokens.iter().map(answer).collect()
    }

    fn refuse(&mut self, token: Token, (error, after_ms): (&str, Option<u64>), member: &str, now: Timestamp) {
        self.counts.refused += 1;
        let config = &self.record.config;
        let asked = after_ms.map(|ms| i64::try_from(ms.min(limits::RETRY_MS_MAX)).unwrap_or_default() * 1_000);
        let back = self.lanes.take_back(token, now, |tries| {
            tries.refused += 1;
            let rest = asked.unwrap_or_else(|| config.rest_us(tries.count()));
            tries.not_before = Timestamp(now.0.saturating_add(rest));
        });
        self.came_back(back, error, member, now);
    }

    /// A member was too late, or is gone.
    pub(super) fn lose(&mut self, token: Token, now: Timestamp) {
        let member = self.members.iter().find(|(id, _)| self.lanes.is_with(token, **id));
        let member = member.map(|(_, member)| Arc::clone(&member.name)).unwrap_or_default();
        self.counts.lost += 1;
        let config = &self.record.config;
        let back = self.lanes.take_back(token, now, |tries| {
            tries.lost += 1;
            tries.not_before = Timestamp(now.0.saturating_add(config.rest_us(tries.count())));
        });
        self.came_back(back, "", &member, now);
    }

    fn came_back(&mut self, back: Option<Back>, error: &str, member: &str, now: Timestamp) {
        let Some(back) = back else { return };
        if back.tries.count() < self.record.config.deliveries_max() {
            self.rests(&back);
            return;
        }
        let (error, member) = (error.to_owned(), member.to_owned());
        self.give_up(&back, &Why { reason: Reason::MaxDeliveries, error, member, ..Why::default() }, now);
    }

    fn rests(&mut self, back: &Back) {
        if let Some(leased) = self.leased.get_mut(&share_of(back.slot)) {
            leased.share.pending.insert(back.position, back.tries);
            leased.dirty = true;
        }
    }

    /// The event becomes a dead letter, with those of its key behind it if they are to follow, or is dropped.
    pub(super) fn give_up(&mut self, back: &Back, why: &Why, now: Timestamp) {
        let keep = self.record.config.dead_letters == DeadLetters::Keep;
        let followers = keep && self.record.config.parked_keys == ParkedKeys::Follow;
        for (n, gone) in self.lanes.give_up(back, followers, now).into_iter().enumerate() {
            self.no_longer_pending(&gone);
            match (keep, n) {
                (false, _) => self.counts.dropped += 1,
                (true, 0) => self.park(gone, why.clone(), now),
                (true, _) => self.park(gone, Why { reason: Reason::Follows, ..Why::default() }, now),
            }
        }
    }

    /// Events whose time to live was over when someone would have got them.
    pub(super) fn expire(&mut self, gone: Vec<Gone>, now: Timestamp) {
        for gone in gone {
            self.no_longer_pending(&gone);
            if self.record.config.dead_letters == DeadLetters::Keep {
                // Nothing follows it: whoever set a time to live wants the next one.
                let gone = Gone { key: None, ..gone };
                self.park(gone, Why { reason: Reason::Expired, ..Why::default() }, now);
            } else {
                self.counts.dropped += 1;
            }
        }
    }

    pub(super) fn park(&mut self, gone: Gone, why: Why, now: Timestamp) {
        self.counts.parked += 1;
        if let Some(key) = gone.key {
            let (count, dirty) = self.parked.entry(key).or_default();
            *count += 1;
            *dirty = true;
        }
        let Tries { refused, lost, .. } = gone.tries;
        let mut error = why.error;
        error.truncate(error.floor_char_boundary(limits::ERROR_BYTES_MAX));
        let why = Why { refused, lost, error, parked_at_us: now.0, resets: self.record.resets, ..why };
        self.letters.push((gone.event.position(), Some(DeadLetter { why, event: gone.event })));
    }

    // Dead letters.

    /// Hands dead letters in again, in the order of the log, or forgets them. Answers those of shares that this
    /// host does not lease.
    pub(in crate::group) fn settle_letters(
        &mut self,
        letters: Vec<DeadLetter>,
        replay: bool,
        now: Timestamp,
    ) -> Vec<DeadLetter> {
        let mut elsewhere = Vec::new();
        for letter in letters {
            let position = letter.position();
            let slot = Lanes::slot(&letter.event, self.keyless).0;
            let Some(leased) = self.leased.get_mut(&share_of(slot)) else {
                elsewhere.push(letter);
                continue;
            };
            if replay && leased.share.takes_back(position) {
                leased.dirty = true;
                self.lanes.add(letter.event.clone(), Tries::default(), self.keyless, Source::DeadLetters, now);
                self.replayed.push((position, Some(letter.event.clone())));
            }
            self.no_longer_parked(&letter);
        }
        elsewhere
    }

    // Events of the past.

    /// Hands events in again that were settled, for those shares that this host leases.
    pub(in crate::group) fn again(&mut self, events: Vec<Event>, progress: DocumentChange, now: Timestamp) -> Again {
        let room = limits::AGAIN_EVENTS_MAX.saturating_sub(self.lanes.size().events);
        // What is about to leave its lane may come back when it has.
        if events.len() > room || events.iter().any(|event| self.lanes.is_settling(event, self.keyless)) {
            return Again::Full;
        }
        let mut elsewhere = Vec::new();
        for event in events {
            let slot = Lanes::slot(&event, self.keyless).0;
            match self.leased.get_mut(&share_of(slot)) {
                None => elsewhere.push(event),
                Some(leased) => {
                    if leased.share.takes_back(event.position()) {
                        leased.dirty = true;
                        self.lanes.add(event, Tries::default(), self.keyless, Source::Past, now);
                    }
                    // Else somebody has it, or it will be read anyway.
                }
            }
        }
        if elsewhere.is_empty() {
            self.progress.push(progress);
            return Again::Taken;
        }
        Again::Elsewhere(elsewhere)
    }

    fn no_longer_parked(&mut self, letter: &DeadLetter) {
        let parks = letter.why.parks(self.record.resets);
        let key = Lanes::slot(&letter.event, self.keyless).1.filter(|_| parks);
        if let Some(key) = key {
            self.lanes.unpark(key, letter.position());
        }
        if let Some((count, dirty)) = key.and_then(|key| self.parked.get_mut(key)) {
            *count = count.saturating_sub(1);
            *dirty = true;
        }
        self.letters.push((letter.position(), None));
    }

    /// Settles an event wherever it is; `false` if it is not here.
    pub(in crate::group) fn skip(&mut self, position: Position, now: Timestamp) -> bool {
        let gone = self.lanes.skip(position, now);
        if let Some(gone) = &gone {
            self.counts.settled += 1;
            self.no_longer_pending(gone);
        }
        gone.is_some()
    }
}
