//! What a group does, as a state that time, readers and members change. It does nothing by itself: the
//! task in `runner.rs` feeds it, commits what it has to say, and tells it of the outcome.

mod commit;
mod settle;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::group::config::{CommitStrategy, Delivery, GroupRecord, Mode, ParkedKeys};
use crate::group::dead_letter::{DeadLetter, Reason, Why};
use crate::group::lanes::{Gone, Handed, Lanes, MemberId, Source, Taken, Token};
use crate::group::share::{SHARES, SLOTS, Share, Tries, share_of};
use crate::limits::group as limits;
use crate::store::{DocumentChange, PageLimit, Unit};

/// A share that this host leases.
#[derive(Debug)]
struct Leased {
    share: Share,
    /// What the store has of it: the guard of the next commit.
    stored: Option<Bytes>,
    dirty: bool,
}

/// One connected worker.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    pub(super) session: Uuid,
    pub(super) joined_at: Timestamp,
    pub(super) deadline: Timestamp,
    /// Handed out by itself; nothing else is handed out until it is settled.
    alone: Option<Token>,
    /// It makes single calls: what it has in hand tells that it is alive.
    single_calls: bool,
}

/// Counts since the group was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub delivered: u64,
    pub redelivered: u64,
    /// Refused by a member.
    pub refused: u64,
    /// Not settled in time, or by a member that was gone.
    pub lost: u64,
    pub settled: u64,
    pub parked: u64,
    pub dropped: u64,
}

/// What a commit takes along, to be told of when it is over.
#[derive(Debug)]
pub(super) struct Committing {
    settled: Vec<(u64, Position)>,
    stored: Vec<(usize, Bytes)>,
    /// New dead letters, to be published to the group's stream for them.
    pub(super) copies: Vec<DeadLetter>,
    /// What was acknowledged, if that is to be noted.
    pub(super) read: Vec<Event>,
}

pub(super) struct Machine {
    pub(super) record: GroupRecord,
    host: Uuid,
    /// Events without a key have no order among them.
    keyless: bool,
    leased: BTreeMap<usize, Leased>,
    lanes: Lanes,
    members: BTreeMap<MemberId, Member>,
    next_member: MemberId,
    /// Which slot is looked at first.
    turn: usize,
    /// Dead letters by key, and whether the store has to be told.
    parked: HashMap<Arc<str>, (u64, bool)>,
    letters: Vec<(Position, Option<DeadLetter>)>,
    /// What the store has to keep of replayed events, or to forget.
    replayed: Vec<(Position, Option<Event>)>,
    /// How far replays are that have handed events in again.
    progress: Vec<DocumentChange>,
    /// What deliveries that were settled have brought about.
    effects: Vec<Unit>,
    /// Whether it matters which events were acknowledged, and those that were since the last commit.
    pub(super) notes_read: bool,
    read: Vec<Event>,
    pub(super) counts: Counts,
    /// How long deliveries took that were settled since this was last looked at, in microseconds.
    pub(super) took_us: Vec<i64>,
}

impl Machine {
    pub(super) fn new(record: GroupRecord, host: Uuid, first_token: Token) -> Self {
        let keyless = record.queue;
        Self {
            keyless,
            record,
            host,
            leased: BTreeMap::new(),
            lanes: Lanes::new(first_token, keyless),
            members: BTreeMap::new(),
            next_member: 1,
            turn: 0,
            parked: HashMap::new(),
            letters: Vec::new(),
            replayed: Vec::new(),
            progress: Vec::new(),
            effects: Vec::new(),
            notes_read: false,
            read: Vec::new(),
            counts: Counts::default(),
            took_us: Vec::new(),
        }
    }

    // Shares.

    /// Takes over a share with what the store has of it. Its pending events are to be read and
    /// [handed in](Machine::take_in_pending).
    pub(super) fn lease(&mut self, number: usize, stored: Option<Bytes>, share: Option<Share>) {
        let mut share = share.unwrap_or_else(|| Share { next: self.record.start(), ..Share::default() });
        if share.resets < self.record.resets || stored.is_none() {
            share = Share { next: self.record.start(), resets: self.record.resets, ..share };
            share.pending.clear();
        }
        share.owner = self.host;
        self.leased.insert(number, Leased { share, stored, dirty: true });
    }

    /// Gives a share up: what its members have of it is void.
    pub(super) fn forget_share(&mut self, number: usize) {
        self.leased.remove(&number);
        self.lanes.forget(number);
    }

    /// Every delivery is void; what the store has is leased again.
    pub(super) fn begin_anew(&mut self) {
        self.lanes = Lanes::new(self.lanes.next_token(), self.keyless);
        self.leased.clear();
        self.letters.clear();
        self.replayed.clear();
        self.progress.clear();
        self.effects.clear();
        self.read.clear();
        self.parked.clear();
    }

    /// Begins again where the record says, with no key parked. Dead letters stay.
    pub(super) fn reset(&mut self) {
        self.lanes = Lanes::new(self.lanes.next_token(), self.keyless);
        for leased in self.leased.values_mut() {
            leased.share.pending.clear();
            (leased.share.next, leased.share.resets, leased.dirty) = (self.record.start(), self.record.resets, true);
        }
        self.parked.values_mut().for_each(|parked| *parked = (0, true));
    }

    pub(super) fn is_leased(&self, number: usize) -> bool {
        self.leased.contains_key(&number)
    }

    /// Whether the store has what this host has committed.
    pub(super) fn is_as_stored(&self, number: usize, stored: Option<&Bytes>) -> bool {
        self.leased.get(&number).is_some_and(|leased| leased.stored.as_ref() == stored)
    }

    /// Nothing more of the share is handed out, or it is again.
    pub(super) fn set_leaving(&mut self, number: usize, leaving: bool, now: Timestamp) {
        self.lanes.set_leaving(number, leaving, now);
    }

    /// Whether nothing of the share is in anyone's hands, or on its way into the store.
    pub(super) fn is_quiet(&self, number: usize) -> bool {
        self.lanes.is_quiet(number) && self.leased.get(&number).is_some_and(|leased| !leased.dirty)
    }

    /// A share as nobody's, and what the store has of it.
    pub(super) fn as_nobodys(&self, number: usize) -> Option<(Option<Bytes>, Share)> {
        let leased = self.leased.get(&number)?;
        Some((leased.stored.clone(), Share { owner: Uuid::nil(), ..leased.share.clone() }))
    }

    /// All shares are nobody's with the next commit.
    pub(super) fn release_all(&mut self) {
        for leased in self.leased.values_mut() {
            (leased.share.owner, leased.dirty) = (Uuid::nil(), true);
        }
    }

    pub(super) fn shares(&self) -> impl Iterator<Item = usize> {
        self.leased.keys().copied()
    }

    pub(super) fn put_parked_keys(&mut self, keys: Vec<(Arc<str>, u64)>) {
        self.parked = keys.into_iter().map(|(key, count)| (key, (count, false))).collect();
    }

    /// Whether there are events of a key that has dead letters: they were handed out when one of them was
    /// parked, or come before it.
    pub(super) fn has_events_of_parked_keys(&self) -> bool {
        let follow = self.record.config.parked_keys == ParkedKeys::Follow;
        follow && self.parked.keys().any(|key| self.lanes.has_key(key))
    }

    /// Of such events, those behind a dead letter follow it.
    pub(super) fn follow_letter(&mut self, letter: &DeadLetter, now: Timestamp) {
        let Some(key) = key_of(&letter.event, self.keyless) else { return };
        if letter.why.parks(self.record.resets)
            && let Some(back) = self.lanes.idle_behind(&key, letter.position())
        {
            self.give_up(&back, &Why { reason: Reason::Follows, ..Why::default() }, now);
        }
    }

    // Reading.

    /// Where reading goes on; `None` when there is no share to read for.
    pub(super) fn next_read(&self) -> Option<Position> {
        self.leased.values().map(|leased| leased.share.next).min()
    }

    /// Whether there is room for more events.
    pub(super) fn has_room(&self) -> bool {
        let size = self.lanes.size();
        size.events < limits::UNSETTLED_EVENTS_MAX && size.bytes < limits::UNSETTLED_BYTES_MAX
    }

    /// Positions of events that were read in an earlier life and are not settled.
    pub(super) fn pending(&self, number: usize) -> Vec<Position> {
        let leased = self.leased.get(&number);
        leased.map(|leased| leased.share.pending.keys().copied().collect()).unwrap_or_default()
    }

    /// The events of those positions that the log still has; the others are settled by that.
    pub(super) fn take_in_pending(
        &mut self,
        number: usize,
        events: Vec<Event>,
        replayed: &HashMap<Position, Event>,
        now: Timestamp,
    ) {
        let Some(leased) = self.leased.get_mut(&number) else { return };
        let before = leased.share.pending.len();
        let found: HashMap<Position, Event> = events.into_iter().map(|event| (event.position(), event)).collect();
        let events: Vec<(Event, bool)> = leased
            .share
            .pending
            .keys()
            .filter_map(|position| {
                let was_replayed = replayed.get(position).map(|event| (event.clone(), true));
                was_replayed.or_else(|| Some((found.get(position)?.clone(), false)))
            })
            .collect();
        leased.share.pending.retain(|position, _| found.contains_key(position) || replayed.contains_key(position));
        leased.dirty |= leased.share.pending.len() < before;
        for (event, replayed) in events {
            let tries = leased.share.pending.get(&event.position()).copied().unwrap_or_default();
            let source = if replayed { Source::DeadLetters } else { Source::Log };
            self.lanes.add(event, tries, self.keyless, source, now);
        }
    }

    /// Takes in a page: matching events, in order, and where the next page begins.
    pub(super) fn take_in(&mut self, events: Vec<Event>, next: Position, now: Timestamp) {
        for event in events {
            let (slot, key) = Lanes::slot(&event, self.keyless);
            let Some(leased) = self.leased.get_mut(&share_of(slot)) else { continue };
            if event.position() < leased.share.next {
                continue;
            }
            let is_parked = |key: &&str| self.parked.get(*key).is_some_and(|(count, _)| *count > 0);
            let parked = key.filter(is_parked).map(Arc::<str>::from);
            match parked.filter(|_| self.record.config.parked_keys == ParkedKeys::Follow) {
                Some(key) => {
                    leased.dirty = true;
                    let gone = Gone { event, tries: Tries::default(), slot, key: Some(key), replayed: false };
                    self.park(gone, Why { reason: Reason::Follows, ..Why::default() }, now);
                }
                None => {
                    leased.share.pending.insert(event.position(), Tries::default());
                    self.lanes.add(event, Tries::default(), self.keyless, Source::Log, now);
                }
            }
        }
        for leased in self.leased.values_mut() {
            leased.share.next = leased.share.next.max(next);
        }
    }

    // Members.

    pub(super) fn join(&mut self, name: &str, session: Uuid, now: Timestamp) -> Result<MemberId, TooManyMembers> {
        // Who comes back under its name was gone.
        if let Some(before) = self.member_of_name(name) {
            self.remove(before, now, true);
        }
        if self.members.len() >= limits::MEMBERS_MAX {
            return Err(TooManyMembers);
        }
        let id = self.next_member;
        self.next_member += 1;
        let deadline = self.session_deadline(now);
        let member = Member { name: name.into(), session, joined_at: now, deadline, alone: None, single_calls: false };
        self.members.insert(id, member);
        Ok(id)
    }

    /// The member of that name, made if there is none.
    pub(super) fn attach(&mut self, name: &str, session: Uuid, now: Timestamp) -> Result<Uuid, TooManyMembers> {
        let known = self.members.values().find(|member| &*member.name == name).map(|member| member.session);
        if let Some(known) = known {
            self.heard_of(known, now);
            return Ok(known);
        }
        let id = self.join(name, session, now)?;
        if let Some(member) = self.members.get_mut(&id) {
            member.single_calls = true;
        }
        Ok(session)
    }

    fn session_deadline(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.record.config.session_timeout_us()))
    }

    /// Finds a member that is alive, and notes that it is.
    pub(super) fn heard_of(&mut self, session: Uuid, now: Timestamp) -> Option<MemberId> {
        let deadline = self.session_deadline(now);
        let (id, member) = self.members.iter_mut().find(|(_, member)| member.session == session)?;
        member.deadline = deadline;
        Some(*id)
    }

    /// A member that is not heard of, but seen.
    pub(super) fn is_there(&mut self, member: MemberId, now: Timestamp) {
        let deadline = self.session_deadline(now);
        if let Some(member) = self.members.get_mut(&member) {
            member.deadline = deadline;
        }
    }

    pub(super) fn member_of_name(&self, name: &str) -> Option<MemberId> {
        self.members.iter().find(|(_, member)| &*member.name == name).map(|(id, _)| *id)
    }

    /// When the next member is taken for gone.
    pub(super) fn next_session_end(&self) -> Option<Timestamp> {
        self.members.values().map(|member| member.deadline).min()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&MemberId, &Member)> {
        self.members.iter()
    }

    pub(super) fn in_hand(&self, member: MemberId) -> usize {
        self.lanes.unacknowledged(member)
    }

    /// Takes back what a member has. What is lost is counted for the first event of each key: it may be what
    /// the member died of.
    pub(super) fn remove(&mut self, member: MemberId, now: Timestamp, lost: bool) {
        if self.record.config.commit != CommitStrategy::Manual {
            self.settle_noted(member, now);
        }
        for token in self.lanes.first_of_each_run(member) {
            match lost {
                true => self.lose(token, now),
                false => drop(self.lanes.take_back(token, now, |_| {})),
            }
        }
        for token in self.lanes.noted(member).into_iter().rev() {
            let back = self.lanes.take_back(token, now, |_| {});
            if let Some(back) = back.filter(|back| self.lanes.follows(back)) {
                self.give_up(&back, &Why { reason: Reason::Follows, ..Why::default() }, now);
            }
        }
        self.lanes.forget_member(member);
        self.members.remove(&member);
    }

    pub(super) fn is_member(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    /// Whether another member has all.
    pub(super) fn stands_by(&self, member: MemberId) -> bool {
        self.record.config.mode == Mode::Exclusive && self.members.keys().next() != Some(&member)
    }

    /// Whether the member may have something now.
    pub(super) fn may_take(&self, member: MemberId) -> bool {
        let Some(state) = self.members.get(&member) else { return false };
        let alone = state.alone.is_some_and(|token| self.lanes.is_with(token, member));
        !self.record.paused && !self.stands_by(member) && !alone
    }

    /// A delivery that did not reach its member.
    pub(super) fn give_back(&mut self, token: Token, now: Timestamp) {
        if self.lanes.take_back(token, now, |_| {}).is_some() {
            self.counts.delivered -= 1;
        }
    }

    /// Whether reading more could give it something that it does not find now.
    pub(super) fn is_short(&self, member: MemberId) -> bool {
        !self.lanes.has_ready(member)
    }

    /// Hands out. Deliveries of a group that delivers at most once are settled with it, and go to the member
    /// when that is committed.
    pub(super) fn take(
        &mut self,
        member: MemberId,
        room: PageLimit,
        lease_us: Option<i64>,
        now: Timestamp,
    ) -> Vec<Handed> {
        if !self.may_take(member) || self.is_short(member) {
            return Vec::new();
        }
        let lease_us = lease_us.unwrap_or(self.record.config.ack_timeout_us());
        let until = Timestamp(now.0.saturating_add(lease_us));
        let place = self.members.keys().position(|id| *id == member).unwrap_or(0);
        self.turn = self.turn.wrapping_add(1);
        let slots = slots_of(place, self.members.len(), self.turn);
        let Taken { handed, expired } = self.lanes.take(member, slots, room, until, now);
        self.expire(expired, now);
        self.counts.delivered += handed.len() as u64;
        self.counts.redelivered += handed.iter().filter(|one| one.tries.count() > 0).count() as u64;
        if let ([one], Some(state)) = (&handed[..], self.members.get_mut(&member)) {
            state.alone = (one.tries.lost > 1).then_some(one.token);
        }
        if self.record.config.delivery == Delivery::AtMostOnce {
            for one in &handed {
                let _ = self.settle(one.token, now);
            }
        }
        handed
    }

    // Time.

    /// Does what is due. `true` if there is something to commit.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let silent: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| member.deadline <= now).map(|(id, _)| *id).collect();
        let next = self.session_deadline(now);
        for id in silent {
            let works = self.lanes.unacknowledged(id) > 0;
            match self.members.get_mut(&id) {
                Some(member) if member.single_calls && works => member.deadline = next,
                _ => self.remove(id, now, true),
            }
        }
        while let Some(token) = self.lanes.expired(now) {
            self.lose(token, now);
        }
        self.lanes.wake(now);
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.lanes.next_deadline().into_iter().chain(self.next_session_end()).min()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyMembers;

/// The key by whose order an event is handed out.
pub(super) fn key_of(event: &Event, keyless: bool) -> Option<String> {
    Lanes::slot(event, keyless).1.map(str::to_owned)
}

/// The slots that a member looks through: first those that are its own by its place among the members, so
/// that a key mostly stays with one of them, then the others', so that no member idles while there is work.
/// Each turn begins with another one, so that no slot starves behind a busy one.
fn slots_of(place: usize, members: usize, turn: usize) -> impl Iterator<Item = u8> {
    let members = members.max(1);
    let own = place * SLOTS / members..(place + 1) * SLOTS / members;
    let (first, count) = (own.start, own.len().max(1));
    let own_in_turn = (0..own.len()).map(move |n| first + (n + turn) % count);
    let others = (0..SLOTS).map(move |n| (n + turn) % SLOTS).filter(move |slot| !own.contains(slot));
    own_in_turn.chain(others).map(|slot| slot as u8)
}

const _: () = assert!(SLOTS == 256 && SHARES <= 32);
