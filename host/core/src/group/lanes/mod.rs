//! What was read and is not settled, in lanes: one a key, in the order of the log.
//!
//! A lane hands out its events to one member at a time, several in a row if it likes: its *run*. Whatever
//! of a run comes back voids what was handed out behind it. So a key's events are with one member at a time,
//! and nothing of a key overtakes what rests.

mod find;
mod runs;
mod shares;
mod take;

pub(super) use take::Taken;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::group::message::{self, Wishes};
use crate::group::share::{SHARES, SLOTS, Tries, share_of, slot_of};
use crate::store::PageLimit;

/// Names one delivery; never used again.
pub type Token = u64;
pub(super) type MemberId = u64;
type LaneId = u64;

#[derive(Debug)]
struct Entry {
    event: Event,
    tries: Tries,
    expires_at: Timestamp,
    priority: u8,
    /// It was a dead letter.
    replayed: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Out {
        token: Token,
        since: Timestamp,
        until: Timestamp,
    },
    /// Acknowledged, but the group's strategy has not committed it yet.
    Noted {
        token: Token,
        since: Timestamp,
    },
    /// Leaves its lane when its commit is over.
    Settling,
}

#[derive(Debug)]
struct Lane {
    /// `None` for the lane of a single message without a key.
    key: Option<Arc<str>>,
    slot: u8,
    /// By position.
    entries: VecDeque<Entry>,
    holder: Option<MemberId>,
    place: Place,
    /// Those that were given up while the lane was there and are dead letters still: what comes back behind
    /// one of them follows it.
    parked: BTreeSet<Position>,
}

/// In whose turn lanes are taken from: those of the highest priority first, then what waits longest.
type Turn = (Reverse<u8>, Position);

/// In which set a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Ready(Turn),
    Held(MemberId, Turn),
    Resting(Timestamp),
}

/// One event for one member.
#[derive(Clone, Debug)]
pub(super) struct Handed {
    pub(super) token: Token,
    pub(super) event: Event,
    pub(super) tries: Tries,
}

/// Where an event comes from that a group takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Log,
    DeadLetters,
    /// It was settled before, and is to be handed out once more.
    Past,
}

/// An event that came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back {
    lane: LaneId,
    pub(super) position: Position,
    pub(super) tries: Tries,
    pub(super) slot: u8,
}

/// An event that has left, or will when its commit is over.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) event: Event,
    pub(super) tries: Tries,
    pub(super) slot: u8,
    pub(super) key: Option<Arc<str>>,
    pub(super) replayed: bool,
}

#[derive(Debug)]
pub(super) struct Lanes {
    lanes: HashMap<LaneId, Lane>,
    by_key: HashMap<Arc<str>, LaneId>,
    /// By slot.
    ready: Vec<BTreeSet<(Turn, LaneId)>>,
    held: HashMap<MemberId, BTreeSet<(Turn, LaneId)>>,
    /// Lanes of which a member has a run.
    runs: HashMap<MemberId, BTreeSet<LaneId>>,
    resting: BTreeSet<(Timestamp, LaneId)>,
    out: HashMap<Token, (LaneId, Position)>,
    leases: BTreeSet<(Timestamp, Token)>,
    settling: Vec<(LaneId, Position)>,
    next_lane: LaneId,
    next_token: Token,
    events: usize,
    bytes: usize,
    ready_lanes: usize,
    /// Shares of which nothing is handed out.
    leaving: [bool; SHARES],
    /// Whatever waits longest is handed out first, instead of each member's own slots.
    one_line: bool,
}

impl Lanes {
    pub(super) fn new(first_token: Token, one_line: bool) -> Self {
        Self {
            lanes: HashMap::new(),
            by_key: HashMap::new(),
            ready: vec![BTreeSet::new(); SLOTS],
            held: HashMap::new(),
            runs: HashMap::new(),
            resting: BTreeSet::new(),
            out: HashMap::new(),
            leases: BTreeSet::new(),
            settling: Vec::new(),
            next_lane: 0,
            next_token: first_token,
            events: 0,
            bytes: 0,
            ready_lanes: 0,
            leaving: [false; SHARES],
            one_line,
        }
    }

    /// The one that the next delivery gets.
    pub(super) fn next_token(&self) -> Token {
        self.next_token
    }

    /// Events that are not settled, and what they occupy.
    pub(super) fn size(&self) -> PageLimit {
        PageLimit { events: self.events, bytes: self.bytes }
    }

    pub(super) fn out_count(&self) -> usize {
        self.out.len()
    }

    pub(super) fn has_ready(&self, member: MemberId) -> bool {
        self.ready_lanes > 0 || self.held.get(&member).is_some_and(|held| !held.is_empty())
    }

    /// When the next lease runs out or the next lane has rested.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let lease = self.leases.first().map(|(until, _)| *until);
        let rest = self.resting.first().map(|(until, _)| *until);
        lease.into_iter().chain(rest).min()
    }

    /// The slot of an event, and the key of its lane; none if nothing else has it.
    pub(super) fn slot(event: &Event, keyless: bool) -> (u8, Option<&str>) {
        match event.key() {
            Some(key) => (slot_of(key.as_bytes()), Some(key)),
            None if keyless => (slot_of(event.id().as_bytes()), None),
            None => (slot_of(event.stream().as_bytes()), Some(event.stream())),
        }
    }

    /// Takes in an event that nobody has, in its place among those of its key.
    pub(super) fn add(&mut self, event: Event, tries: Tries, keyless: bool, source: Source, now: Timestamp) {
        let (slot, key) = Self::slot(&event, keyless);
        let known = key.and_then(|key| self.by_key.get(key).copied());
        let id = known.unwrap_or_else(|| {
            self.next_lane += 1;
            let key: Option<Arc<str>> = key.map(Arc::from);
            if let Some(key) = &key {
                self.by_key.insert(Arc::clone(key), self.next_lane);
            }
            let lane = Lane::new(key, slot);
            self.lanes.insert(self.next_lane, lane);
            self.next_lane
        });
        let Wishes { not_before, expires_at, priority } = if keyless { message::wishes(&event) } else { message::NONE };
        // What is done once more comes behind what is new, where both wait.
        let priority = if source == Source::Past { 0 } else { priority };
        let replayed = source == Source::DeadLetters;
        let tries = Tries { not_before: tries.not_before.max(not_before), ..tries };
        self.events += 1;
        self.bytes += event.raw().len();
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.parked.remove(&event.position());
        let at = lane.entries.partition_point(|entry| entry.event.position() < event.position());
        lane.entries.insert(at, Entry { event, tries, expires_at, priority, replayed, state: State::Idle });
        self.put_in_place(id, now);
    }

    /// Puts the lane into the set where it belongs now, or forgets it when it is empty.
    fn put_in_place(&mut self, id: LaneId, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let is_held = |entry: &Entry| entry.state != State::Idle;
        if !lane.entries.iter().any(is_held)
            && let Some(holder) = lane.holder.take()
            && let Some(runs) = self.runs.get_mut(&holder)
        {
            runs.remove(&id);
        }
        let idle = lane.entries.iter().find(|entry| entry.state == State::Idle);
        let place = match (idle, lane.holder) {
            (None, _) => Place::Nowhere,
            _ if self.leaving[share_of(lane.slot)] => Place::Nowhere,
            (Some(entry), _) if entry.tries.not_before > now => Place::Resting(entry.tries.not_before),
            (Some(entry), None) => Place::Ready(entry.turn()),
            (Some(entry), Some(holder)) => Place::Held(holder, entry.turn()),
        };
        let line = if self.one_line { 0 } else { usize::from(lane.slot) };
        let before = std::mem::replace(&mut lane.place, place);
        let empty = lane.entries.is_empty();
        if before != place {
            match before {
                Place::Nowhere => {}
                Place::Ready(turn) => {
                    self.ready[line].remove(&(turn, id));
                    self.ready_lanes -= 1;
                }
                Place::Held(member, turn) => {
                    if let Some(held) = self.held.get_mut(&member) {
                        held.remove(&(turn, id));
                    }
                }
                Place::Resting(until) => {
                    self.resting.remove(&(until, id));
                }
            }
            match place {
                Place::Nowhere => {}
                Place::Ready(turn) => {
                    self.ready[line].insert((turn, id));
                    self.ready_lanes += 1;
                }
                Place::Held(member, turn) => {
                    self.held.entry(member).or_default().insert((turn, id));
                }
                Place::Resting(until) => {
                    self.resting.insert((until, id));
                }
            }
        }
        if empty && let Some(key) = self.lanes.remove(&id).and_then(|lane| lane.key) {
            self.by_key.remove(&key);
        }
    }

    /// Lanes that have rested may be taken from again.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some((until, id)) = self.resting.first().copied() {
            if until > now {
                return;
            }
            self.put_in_place(id, now);
        }
    }

    /// Whether the member has this delivery, be it acknowledged or not.
    pub(super) fn is_with(&self, token: Token, member: MemberId) -> bool {
        let lane = self.out.get(&token).and_then(|(lane, _)| self.lanes.get(lane));
        lane.is_some_and(|lane| lane.holder == Some(member))
    }

    /// Whether the member has this delivery and has not acknowledged it.
    pub(super) fn is_out_with(&mut self, token: Token, member: MemberId) -> bool {
        let out = |(_, entry): (LaneId, &mut Entry)| matches!(entry.state, State::Out { .. });
        self.is_with(token, member) && self.entry(token).is_some_and(out)
    }

    fn entry(&mut self, token: Token) -> Option<(LaneId, &mut Entry)> {
        let (id, position) = *self.out.get(&token)?;
        Some((id, self.lanes.get_mut(&id)?.entry(position)?))
    }

    /// When a delivery was handed out.
    pub(super) fn since(&mut self, token: Token) -> Option<Timestamp> {
        match self.entry(token)?.1.state {
            State::Out { since, .. } | State::Noted { since, .. } => Some(since),
            State::Idle | State::Settling => None,
        }
    }

    /// Acknowledged, to be committed later. Its lease no longer runs out.
    pub(super) fn note(&mut self, token: Token) {
        let Some((_, entry)) = self.entry(token) else { return };
        if let State::Out { until, since, .. } = entry.state {
            entry.state = State::Noted { token, since };
            self.leases.remove(&(until, token));
        }
    }

    pub(super) fn extend(&mut self, token: Token, until: Timestamp) {
        let Some((_, entry)) = self.entry(token) else { return };
        if let State::Out { until: before, since, .. } = entry.state {
            entry.state = State::Out { token, since, until };
            self.leases.remove(&(before, token));
            self.leases.insert((until, token));
        }
    }

    /// The delivery is over for good; the event leaves with the next [`Lanes::committed`].
    pub(super) fn settle(&mut self, token: Token, now: Timestamp) -> Option<Gone> {
        let (id, position) = *self.out.get(&token)?;
        self.settle_entry(id, position, now)
    }

    fn settle_entry(&mut self, id: LaneId, position: Position, now: Timestamp) -> Option<Gone> {
        let lane = self.lanes.get_mut(&id)?;
        let (slot, key) = (lane.slot, lane.key.clone());
        let entry = lane.entry(position)?;
        match std::mem::replace(&mut entry.state, State::Settling) {
            State::Settling => return None,
            State::Idle => {}
            State::Noted { token, .. } => {
                self.out.remove(&token);
            }
            State::Out { token, until, .. } => {
                self.out.remove(&token);
                self.leases.remove(&(until, token));
            }
        }
        let (tries, replayed) = (entry.tries, entry.replayed);
        let gone = Gone { event: entry.event.clone(), tries, slot, key, replayed };
        self.settling.push((id, position));
        self.put_in_place(id, now);
        Some(gone)
    }

    /// Takes a delivery back, and voids those of its lane behind it. `change` says what it counts as, and may
    /// let it rest.
    pub(super) fn take_back(&mut self, token: Token, now: Timestamp, change: impl FnOnce(&mut Tries)) -> Option<Back> {
        let (id, position) = *self.out.get(&token)?;
        let lane = self.lanes.get_mut(&id)?;
        let slot = lane.slot;
        let mut tries = None;
        for entry in lane.entries.iter_mut().filter(|entry| entry.event.position() >= position) {
            let first = entry.event.position() == position;
            match entry.state {
                State::Out { token, until, .. } => {
                    self.leases.remove(&(until, token));
                    self.out.remove(&token);
                }
                State::Noted { token, .. } if first => {
                    self.out.remove(&token);
                }
                State::Noted { .. } | State::Idle | State::Settling => continue,
            }
            entry.state = State::Idle;
        }
        if let Some(entry) = lane.entry(position) {
            change(&mut entry.tries);
            tries = Some(entry.tries);
        }
        self.put_in_place(id, now);
        tries.map(|tries| Back { lane: id, position, tries, slot })
    }

    /// Settles an event that came back, and with `followers` all later ones of its key; in their order.
    pub(super) fn give_up(&mut self, back: &Back, followers: bool, now: Timestamp) -> Vec<Gone> {
        let Some(lane) = self.lanes.get_mut(&back.lane) else { return Vec::new() };
        let positions = lane.entries.iter().filter(|entry| matches!(entry.state, State::Idle | State::Out { .. }));
        let positions = positions.map(|entry| entry.event.position());
        let positions: Vec<Position> =
            positions.filter(|at| *at == back.position || (followers && *at > back.position)).collect();
        if followers {
            lane.parked.extend(&positions);
        }
        positions.into_iter().filter_map(|position| self.settle_entry(back.lane, position, now)).collect()
    }

    /// Whether an earlier event of its key is a dead letter.
    pub(super) fn follows(&self, back: &Back) -> bool {
        let parked = self.lanes.get(&back.lane).and_then(|lane| lane.parked.first());
        parked.is_some_and(|parked| *parked < back.position)
    }

    /// The dead letter of a position is gone.
    pub(super) fn unpark(&mut self, key: &str, position: Position) {
        if let Some(lane) = self.by_key.get(key).and_then(|id| self.lanes.get_mut(id)) {
            lane.parked.remove(&position);
        }
    }

    /// Settles an event that is not settled yet, wherever it is.
    pub(super) fn skip(&mut self, position: Position, now: Timestamp) -> Option<Gone> {
        let has = |lane: &Lane| lane.entries.binary_search_by_key(&position, |entry| entry.event.position()).is_ok();
        let id = self.lanes.iter().find(|(_, lane)| has(lane)).map(|(id, _)| *id)?;
        self.settle_entry(id, position, now)
    }

    /// Deliveries whose time is over.
    pub(super) fn expired(&self, now: Timestamp) -> Option<Token> {
        self.leases.first().filter(|(until, _)| *until <= now).map(|(_, token)| *token)
    }

    /// What is about to be committed: to be given to [`Lanes::committed`] afterwards.
    pub(super) fn take_settling(&mut self) -> Vec<(u64, Position)> {
        std::mem::take(&mut self.settling)
    }

    pub(super) fn committed(&mut self, settled: &[(u64, Position)], now: Timestamp) {
        for (id, position) in settled {
            if let Some(lane) = self.lanes.get_mut(id) {
                let at = lane.entries.partition_point(|entry| entry.event.position() < *position);
                if lane.entries.get(at).is_some_and(|entry| entry.event.position() == *position)
                    && let Some(entry) = lane.entries.remove(at)
                {
                    self.events -= 1;
                    self.bytes -= entry.event.raw().len();
                }
                self.put_in_place(*id, now);
            }
        }
    }

    /// The oldest event that is not settled, when it was recorded.
    pub(super) fn oldest(&self) -> Option<&Event> {
        let first = |lane: &'_ Lane| lane.entries.front().map(|entry| entry.event.position());
        let lane = self.lanes.values().filter(|lane| !lane.entries.is_empty()).min_by_key(|lane| first(lane))?;
        lane.entries.front().map(|entry| &entry.event)
    }
}

impl Entry {
    fn turn(&self) -> Turn {
        (Reverse(self.priority), self.event.position())
    }
}

impl Lane {
    fn new(key: Option<Arc<str>>, slot: u8) -> Self {
        Self { key, slot, entries: VecDeque::new(), holder: None, place: Place::Nowhere, parked: BTreeSet::new() }
    }

    fn entry(&mut self, position: Position) -> Option<&mut Entry> {
        let at = self.entries.partition_point(|entry| entry.event.position() < position);
        self.entries.get_mut(at).filter(|entry| entry.event.position() == position)
    }

    fn first_out(&self) -> Option<Token> {
        self.entries.iter().find_map(|entry| match entry.state {
            State::Out { token, .. } => Some(token),
            State::Noted { .. } | State::Idle | State::Settling => None,
        })
    }
}
