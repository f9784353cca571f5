//! What a group must do, said in the plainest way: a list of events, each with its state.

use std::collections::BTreeMap;

use crate::group::config::{CommitStrategy, DeadLetters, Delivery, GroupConfig, Mode, ParkedKeys};
use crate::group::dead_letter::Reason;
use crate::group::{DeadLetter, Handing, Settled, Token};

/// Index of a member in the order of joining.
pub(super) type Who = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Out { who: Who, token: Token, until: i64 },
    Noted { who: Who, token: Token },
    Done,
    Parked,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: String,
    pub(super) state: State,
    pub(super) refused: u32,
    pub(super) lost: u32,
    pub(super) not_before: i64,
    pub(super) expires_at: i64,
    priority: u8,
    /// What its publisher has said.
    delayed_until: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) deadline: i64,
    pub(super) gone: bool,
}

pub(super) struct Reference {
    pub(super) config: GroupConfig,
    pub(super) events: BTreeMap<u64, Known>,
    pub(super) members: Vec<Member>,
    pub(super) paused: bool,
    pub(super) now: i64,
    pub(super) resets: u64,
}

impl Known {
    pub(super) fn holder(&self) -> Option<Who> {
        match self.state {
            State::Out { who, .. } | State::Noted { who, .. } => Some(who),
            State::Waiting | State::Done | State::Parked => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Parked)
    }

    /// As if it had never been handed out.
    fn afresh(&mut self, state: State) {
        (self.state, self.refused, self.lost, self.not_before) = (state, 0, 0, self.delayed_until);
    }

    /// It goes as soon as someone would get it.
    pub(super) fn has_expired(&self, now: i64) -> bool {
        self.state == State::Waiting && self.expires_at <= now && self.not_before <= now
    }
}

impl Reference {
    pub(super) fn published(&mut self, position: u64, key: String, times: (i64, i64), priority: u8) {
        let (not_before, expires_at) = times;
        let (state, delayed_until) = (State::Waiting, not_before);
        let known = Known { key, state, refused: 0, lost: 0, not_before, expires_at, priority, delayed_until };
        self.events.insert(position, known);
    }

    // Members.

    pub(super) fn joined(&mut self, name: &str) -> Who {
        if let Some(before) = self.members.iter().position(|member| !member.gone && member.name == name) {
            self.removed(before, true);
        }
        let deadline = self.now + self.config.session_timeout_us();
        self.members.push(Member { name: name.into(), deadline, gone: false });
        self.members.len() - 1
    }

    pub(super) fn heard_of(&mut self, who: Who) {
        self.members[who].deadline = self.now + self.config.session_timeout_us();
    }

    pub(super) fn removed(&mut self, who: Who, lost: bool) {
        if self.config.commit != CommitStrategy::Manual {
            self.settle_noted(who);
        }
        let mut keys: Vec<(Token, u64)> = Vec::new();
        for (position, known) in &self.events {
            if let State::Out { who: holder, token, .. } = known.state
                && holder == who
                && !keys.iter().any(|(_, first)| self.events[first].key == known.key)
            {
                keys.push((token, *position));
            }
        }
        keys.sort_unstable();
        for (_, first) in keys {
            if lost {
                self.lost(first);
            } else {
                self.came_back(first);
            }
        }
        for known in self.events.values_mut().filter(|known| known.holder() == Some(who)) {
            known.state = State::Waiting;
        }
        self.members[who].gone = true;
    }

    fn lost(&mut self, position: u64) {
        self.came_back(position);
        let config = self.config.clone();
        let known = self.events.get_mut(&position).expect("it was handed out");
        known.lost += 1;
        known.not_before = self.now + config.rest_us(known.refused + known.lost);
        if known.refused + known.lost >= config.deliveries_max() {
            self.given_up(position);
        }
    }

    /// It is not with its member any more, nor is what was handed out behind it.
    fn came_back(&mut self, position: u64) {
        let key = self.events[&position].key.clone();
        for (at, known) in self.events.range_mut(position..).filter(|(_, known)| known.key == key) {
            let out = matches!(known.state, State::Out { .. });
            if out || *at == position {
                known.state = State::Waiting;
            }
        }
    }

    fn given_up(&mut self, position: u64) {
        let state = if self.config.dead_letters == DeadLetters::Keep { State::Parked } else { State::Done };
        self.events.get_mut(&position).expect("it was handed out").state = state;
    }

    pub(super) fn all_gone(&mut self, stopped: bool) {
        if stopped && self.config.commit != CommitStrategy::Manual {
            for who in 0..self.members.len() {
                self.settle_noted(who);
            }
        }
        self.begun_anew();
        self.members.iter_mut().for_each(|member| member.gone = true);
    }

    /// Every delivery is void.
    pub(super) fn begun_anew(&mut self) {
        for known in self.events.values_mut().filter(|known| known.holder().is_some()) {
            known.state = State::Waiting;
        }
    }

    pub(super) fn tick(&mut self) {
        for who in 0..self.members.len() {
            if !self.members[who].gone && self.members[who].deadline <= self.now {
                self.removed(who, true);
            }
        }
        loop {
            let leases = self.events.iter().filter_map(|(position, known)| match known.state {
                State::Out { until, token, .. } if until <= self.now => Some((until, token, *position)),
                _ => None,
            });
            let Some((_, _, position)) = leases.min() else { return };
            self.lost(position);
        }
    }

    // Handing out.

    /// Whether the member may have the event now.
    fn may_have(&self, who: Who, position: u64) -> bool {
        let known = &self.events[&position];
        let of_key = || self.events.iter().filter(|(_, other)| other.key == known.key);
        let others_hold = of_key().any(|(_, other)| other.holder().is_some_and(|holder| holder != who));
        let mut before = of_key().take_while(|(at, _)| **at < position);
        let now = self.now;
        let in_turn = before.all(|(_, other)| other.is_over() || other.holder() == Some(who) || other.has_expired(now));
        known.state == State::Waiting
            && known.expires_at > now
            && known.not_before <= self.now
            && !others_hold
            && in_turn
    }

    /// Whether it is about to become a dead letter, because an earlier one of its key is.
    pub(super) fn follows(&self, position: u64) -> bool {
        let key = &self.events[&position].key;
        let parked = self.events.range(..position).any(|(_, other)| other.key == *key && other.state == State::Parked);
        parked && self.config.parked_keys == ParkedKeys::Follow
    }

    fn stands_by(&self, who: Who) -> bool {
        let first = self.members.iter().position(|member| !member.gone);
        self.config.mode == Mode::Exclusive && first != Some(who)
    }

    /// Checks what a member got, and takes note of it.
    pub(super) fn handed(&mut self, who: Who, handed: &[Handing], room: usize) {
        assert!(handed.len() <= room, "no more than there is room for");
        assert!(handed.is_empty() || !self.paused, "a paused group hands out nothing");
        assert!(handed.is_empty() || !self.stands_by(who), "who stands by gets nothing");
        // What was tried twice and lost is handed out by itself, which may leave others waiting.
        let alone = |known: &Known| known.lost >= 2 && !known.is_over();
        let exact = !self.events.values().any(alone);
        for one in handed {
            let position = one.event.position().0;
            assert!(self.may_have(who, position), "{position} is handed out of turn: {:?}", self.events[&position]);
            assert!(!self.follows(position), "{position} follows a dead letter of its key");
            if exact {
                self.check_priority(who, position);
            }
            let until = self.now + self.config.ack_timeout_us();
            let at_most_once = self.config.delivery == Delivery::AtMostOnce;
            let known = self.events.get_mut(&position).expect("it was published");
            let tries = (one.tries.refused, one.tries.lost);
            assert_eq!(tries, (known.refused, known.lost), "attempts of {position}: {known:?}");
            known.state = if at_most_once { State::Done } else { State::Out { who, token: one.token, until } };
        }
        if exact && handed.len() < room && !self.paused && !self.stands_by(who) {
            let left = self.events.keys().find(|at| self.may_have(who, **at) && !self.follows(**at));
            assert_eq!(left, None, "a member gets what it may have: {:?}", left.map(|at| &self.events[at]));
        }
    }

    /// Nothing of a higher priority is left for who gets this one.
    fn check_priority(&self, who: Who, position: u64) {
        let priority = self.events[&position].priority;
        let mut higher = self.events.iter().filter(|(_, other)| other.priority > priority);
        // A key's turn is that of its oldest event, which nobody has noticed to have expired.
        let behind_expired = |at: u64, key: &str| {
            self.events.range(..at).any(|(_, other)| other.key == key && other.has_expired(self.now))
        };
        let left = higher
            .find(|(at, other)| self.may_have(who, **at) && !self.follows(**at) && !behind_expired(**at, &other.key));
        assert!(left.is_none(), "{position} is handed out before one of a higher priority: {left:?}");
    }

    // Settling.

    fn of_token(&self, who: Who, token: Token) -> Option<u64> {
        let with = |known: &Known| match known.state {
            State::Out { who: holder, token: held, .. } | State::Noted { who: holder, token: held } => {
                holder == who && held == token
            }
            _ => false,
        };
        self.events.iter().find(|(_, known)| with(known)).map(|(position, _)| *position)
    }

    fn out_with(&self, who: Who, token: Token) -> Option<u64> {
        let out = |position: &u64| matches!(self.events[position].state, State::Out { .. });
        self.of_token(who, token).filter(out)
    }

    pub(super) fn acked(&mut self, who: Who, tokens: &[Token]) -> Vec<Settled> {
        let mut answers = Vec::new();
        for token in tokens {
            let Some(position) = self.of_token(who, *token) else {
                answers.push(Settled::Superseded);
                continue;
            };
            let each = self.config.commit == CommitStrategy::Each;
            let known = self.events.get_mut(&position).expect("it was just found");
            known.state = if each { State::Done } else { State::Noted { who, token: *token } };
            answers.push(if each { Settled::Durable } else { Settled::Noted });
        }
        let out = |known: &Known| matches!(known.state, State::Out { who: holder, .. } if holder == who);
        if self.config.commit == CommitStrategy::Batch && !self.events.values().any(out) {
            self.settle_noted(who);
            answers.iter_mut().filter(|answer| **answer == Settled::Noted).for_each(|one| *one = Settled::Durable);
        }
        answers
    }

    pub(super) fn settle_noted(&mut self, who: Who) -> usize {
        let noted = |known: &&mut Known| matches!(known.state, State::Noted { who: holder, .. } if holder == who);
        self.events.values_mut().filter(noted).map(|known| known.state = State::Done).count()
    }

    pub(super) fn nacked(&mut self, who: Who, token: Token, nack: &crate::group::Nack) -> Settled {
        use crate::group::Nack;
        let Some(position) = self.out_with(who, token) else { return Settled::Superseded };
        if *nack == Nack::Skip {
            self.events.get_mut(&position).expect("found").state = State::Done;
            return Settled::Durable;
        }
        self.came_back(position);
        let config = self.config.clone();
        let now = self.now;
        let known = self.events.get_mut(&position).expect("found");
        match nack {
            Nack::Retry { .. } => {
                known.refused += 1;
                known.not_before = now + config.rest_us(known.refused + known.lost);
                if known.refused + known.lost >= config.deliveries_max() {
                    self.given_up(position);
                }
            }
            Nack::Delay { ms } => known.not_before = now + *ms as i64 * 1_000,
            Nack::Park { .. } => {
                known.refused += 1;
                self.given_up(position);
            }
            Nack::Skip => {}
        }
        Settled::Durable
    }

    pub(super) fn extended(&mut self, who: Who, token: Token, ms: u64) -> Settled {
        let Some(position) = self.out_with(who, token) else { return Settled::Superseded };
        let until = self.now + ms as i64 * 1_000;
        if let State::Out { until: before, .. } = &mut self.events.get_mut(&position).expect("found").state {
            *before = until;
        }
        Settled::Noted
    }

    pub(super) fn reset(&mut self, to: u64) {
        self.resets += 1;
        for (position, known) in &mut self.events {
            known.afresh(if *position < to { State::Done } else { State::Waiting });
        }
    }

    // Dead letters.

    /// Holds the group's dead letters against what is known. Followers may be there already or not.
    pub(super) fn check_letters(&mut self, letters: &[DeadLetter]) {
        self.follow(letters);
        for letter in letters.iter().filter(|letter| letter.why.reason == Reason::Expired) {
            let now = self.now;
            let known = self.events.get_mut(&letter.position().0).expect("it was published");
            assert!(known.is_over() || known.expires_at <= now, "it has not expired: {known:?}");
            if known.has_expired(now) && letter.why.resets == self.resets {
                known.state = State::Done;
            }
        }
        for letter in letters.iter().filter(|letter| letter.why.resets == self.resets) {
            let position = letter.position().0;
            let known = &self.events[&position];
            if known.state == State::Parked {
                assert_eq!((letter.why.refused, letter.why.lost), (known.refused, known.lost), "letter {position}");
            }
        }
        let there = |position: &u64| letters.iter().any(|letter| letter.position().0 == *position);
        let missing = self.events.iter().find(|(at, known)| known.state == State::Parked && !there(at));
        assert!(missing.is_none(), "a dead letter is missing: {missing:?}");
    }

    /// Takes over those that have followed a dead letter of their key.
    pub(super) fn follow(&mut self, letters: &[DeadLetter]) {
        let followers: Vec<u64> = letters
            .iter()
            .filter(|letter| letter.why.reason == Reason::Follows && letter.why.resets == self.resets)
            .map(|letter| letter.position().0)
            .filter(|position| self.follows(*position) && !self.events[position].is_over())
            .collect();
        for position in followers {
            self.events.get_mut(&position).expect("it was published").state = State::Parked;
        }
    }

    /// Without those letters. What was not settled otherwise is gone.
    pub(super) fn purged(&mut self, positions: &[u64]) {
        for position in positions {
            let known = self.events.get_mut(position).expect("it was a dead letter");
            if known.state == State::Parked {
                known.state = State::Done;
            }
        }
    }

    pub(super) fn skipped(&mut self, position: u64) {
        let known = self.events.get_mut(&position).expect("it was published");
        assert!(!known.is_over(), "{position} is over: {known:?}");
        known.state = State::Done;
    }

    pub(super) fn replayed(&mut self, positions: &[u64]) {
        for position in positions {
            let known = self.events.get_mut(position).expect("it was a dead letter");
            if !known.is_over() {
                // After a reset it waits already.
                continue;
            }
            known.afresh(State::Waiting);
        }
    }
}
