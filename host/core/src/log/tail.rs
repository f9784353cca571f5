//! The end of the log: a number that wakes readers, and the newest events, which they share.
//!
//! What wakes a reader is a position, never an event, so a lost or doubled wake-up costs a look and
//! nothing else. The cache spares the store: a thousand live readers read an event from it once. What
//! this host commits is cached as it is committed; what others commit is only a number until a reader
//! wants it, who then fetches it for all (see [`super::read`]).

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Mutex, MutexGuard, watch};

use crate::event::{Chunk, Event, Position};
use crate::limits::read::{TAIL_CACHE_BYTES_MAX, TAIL_CACHE_EVENTS_MAX, TAIL_GAP_EVENTS_MAX};
use crate::store::PageLimit;

/// What an event occupies beside its bytes.
const EVENT_OVERHEAD_BYTES: usize = 128;

#[derive(Debug)]
pub struct Tail {
    next: watch::Sender<Position>,
    cache: RwLock<Cache>,
    fetching: Mutex<()>,
}

/// The newest events, without gaps, up to `end`. It is at the tail, but for a gap of other hosts'
/// events that nobody has fetched yet.
#[derive(Debug)]
struct Cache {
    events: VecDeque<Event>,
    bytes: usize,
    /// Never steps back, so that nothing that was forgotten comes in again.
    end: Position,
}

/// What the cache has from a position on.
#[derive(Debug)]
pub enum Cached {
    /// Nothing when it is the tail.
    Events(Vec<Event>),
    /// It does not reach back so far.
    TooOld,
    /// Nobody has fetched it yet.
    Missing,
}

impl Tail {
    pub fn new(next: Position) -> Self {
        let cache = Cache { events: VecDeque::new(), bytes: 0, end: next };
        Self { next: watch::Sender::new(next), cache: RwLock::new(cache), fetching: Mutex::default() }
    }

    /// The position that the next event will get: everything before it is durable and readable.
    pub fn next(&self) -> Position {
        *self.next.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Position> {
        self.next.subscribe()
    }

    /// Takes in what this host has just committed, in position order, and wakes the readers. It may
    /// be known already, or stand behind other hosts' events that are not.
    pub fn advance<'a>(&self, chunks: impl IntoIterator<Item = &'a Chunk>) {
        let mut next = Position(0);
        {
            let mut cache = self.write();
            for chunk in chunks {
                next = Position(chunk.first_position.0 + u64::from(chunk.count));
                cache.take_in(chunk.first_position, &chunk.events);
            }
        }
        self.move_to(next);
    }

    /// Wakes the readers for what other hosts have committed before `next`.
    pub fn jump(&self, next: Position) {
        self.write().limit_gap(next);
        self.move_to(next);
    }

    /// Forgets all events and goes on at `next`, or at the tail if it is further.
    pub fn restart(&self, next: Position) {
        self.write().restart(next.max(self.next()));
        self.move_to(next);
    }

    /// Forgets the events before `position`, which are about to be removed from the store.
    pub fn forget_before(&self, position: Position) {
        let mut cache = self.write();
        if position >= cache.end {
            cache.restart(position);
        }
        while cache.events.front().is_some_and(|oldest| oldest.position() < position) {
            cache.drop_oldest();
        }
        drop(cache);
        self.move_to(position);
    }

    pub fn read(&self, from: Position, limit: PageLimit) -> Cached {
        let cache = self.cache();
        let Some(start) = from.0.checked_sub(cache.first().0) else { return Cached::TooOld };
        if from >= cache.end && cache.end < self.next() {
            return Cached::Missing;
        }
        let mut bytes = 0;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let within = cache.events.iter().skip(start).take(limit.events.max(1)).take_while(|event| {
            let first = bytes == 0;
            bytes += event.raw().len();
            first || bytes <= limit.bytes
        });
        Cached::Events(within.cloned().collect())
    }

    /// For the one reader that fetches what is missing, while the others wait for it.
    pub async fn fetching(&self) -> MutexGuard<'_, ()> {
        self.fetching.lock().await
    }

    /// Where the gap between cache and tail begins and ends, if there is one.
    pub fn gap(&self) -> Option<(Position, Position)> {
        let (end, next) = (self.cache().end, self.next());
        (end < next).then_some((end, next))
    }

    /// Takes in what was fetched: all that the store has from `from`, where the gap began, to `until`.
    /// Events that were removed meanwhile leave a hole, behind which the cache begins anew.
    pub fn fill(&self, from: Position, until: Position, events: &[Event]) {
        let mut cache = self.write();
        if cache.end != from {
            return;
        }
        let within = &events[..events.partition_point(|event| event.position() < until)];
        let unbroken = within.iter().rev().zip(1..).take_while(|(event, n)| event.position().0 + n == until.0).count();
        let first = Position(until.0 - unbroken as u64);
        if first > from {
            cache.restart(first);
        }
        cache.take_in(first, &within[within.len() - unbroken..]);
    }

    pub fn cached_bytes(&self) -> usize {
        self.cache().bytes
    }

    fn move_to(&self, next: Position) {
        self.next.send_if_modified(|current| {
            let moved = next > *current;
            *current = (*current).max(next);
            moved
        });
    }

    fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn first(&self) -> Position {
        self.events.front().map_or(self.end, Event::position)
    }

    /// Adds events that follow each other from `first` on, as far as they join on.
    fn take_in(&mut self, first: Position, events: &[Event]) {
        self.limit_gap(first);
        if first > self.end {
            return;
        }
        for event in events.iter().filter(|event| event.position() >= first) {
            if event.position() == self.end {
                self.end.0 += 1;
                self.bytes += event.raw().len() + EVENT_OVERHEAD_BYTES;
                self.events.push_back(event.clone());
            }
        }
        while self.bytes > TAIL_CACHE_BYTES_MAX || self.events.len() > TAIL_CACHE_EVENTS_MAX {
            self.drop_oldest();
        }
    }

    /// A gap that is too large to be fetched at once is given up, and the cache begins behind it.
    fn limit_gap(&mut self, next: Position) {
        if next.0.saturating_sub(self.end.0) > TAIL_GAP_EVENTS_MAX {
            self.restart(next);
        }
    }

    fn restart(&mut self, at: Position) {
        self.events.clear();
        self.bytes = 0;
        self.end = self.end.max(at);
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.raw().len() + EVENT_OVERHEAD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::BytesMut;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::{NewEvent, Offset, PreparedEvent, decode_run};
    use crate::name::StreamName;

    const ALL: PageLimit = PageLimit { events: 100_000, bytes: usize::MAX };

    fn event(position: u64) -> Event {
        let new = NewEvent { id: Uuid::from_u128(1), event_type: "t".into(), ..NewEvent::default() };
        let mut run = BytesMut::new();
        let prepared = PreparedEvent::encode(&new, &StreamName::from_stored("s"), Timestamp(1));
        prepared.place(&mut run, Position(position), Offset(position), Timestamp(1));
        let mut events = Vec::new();
        decode_run(run.freeze(), &mut events).unwrap();
        events.remove(0)
    }

    fn chunk(first: u64, count: u64) -> Chunk {
        Chunk {
            stream: StreamName::from_stored("s"),
            first_position: Position(first),
            first_offset: Offset(first),
            count: count as u32,
            recorded_at: Timestamp(1),
            run: bytes::Bytes::new(),
            events: (first..first + count).map(event).collect(),
        }
    }

    fn positions(tail: &Tail, from: u64) -> Option<Vec<u64>> {
        match tail.read(Position(from), ALL) {
            Cached::Events(events) => Some(events.iter().map(|event| event.position().0).collect()),
            Cached::TooOld | Cached::Missing => None,
        }
    }

    #[test]
    fn a_gap_is_filled_once_and_a_large_one_given_up() {
        let tail = Tail::new(Position(0));
        tail.advance(&[chunk(0, 2)]);
        tail.advance(&[chunk(5, 2)]);
        assert_eq!((tail.next(), tail.gap()), (Position(7), Some((Position(2), Position(7)))));
        assert!(matches!(tail.read(Position(2), ALL), Cached::Missing));
        assert_eq!(positions(&tail, 1), Some(vec![1]), "what is there is read on");
        tail.fill(Position(2), Position(7), &(2..7).map(event).collect::<Vec<_>>());
        assert_eq!((positions(&tail, 0), tail.gap()), (Some((0..7).collect()), None));
        tail.jump(Position(7 + TAIL_GAP_EVENTS_MAX + 1));
        assert_eq!((tail.gap(), tail.cached_bytes()), (None, 0));
        assert!(matches!(tail.read(Position(6), ALL), Cached::TooOld));
    }

    /// Commits of this host and of others, removals and fetches in any order: the tail never steps
    /// back, and what is cached is a run without gaps of events that are still there.
    #[test]
    fn in_any_order_the_cache_is_an_unbroken_run_of_what_is_stored() {
        for seed in 0..100_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |end: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % end
            };
            let tail = Tail::new(Position(0));
            let (mut stored, mut head, mut fetched) = (BTreeSet::new(), 0, None);
            let mut own: VecDeque<Chunk> = VecDeque::new();
            for _ in 0..200 {
                let before = tail.next();
                match below(9) {
                    0 | 1 => {
                        let count = 1 + below(4);
                        stored.extend(head..head + count);
                        own.push_back(chunk(head, count));
                        head += count;
                    }
                    2 => {
                        let count = if below(10) == 0 { 5_000 } else { 1 + below(4) };
                        stored.extend(head..head + count);
                        head += count;
                    }
                    3 | 4 => tail.advance(own.pop_front().as_ref()),
                    5 => tail.jump(Position(head)),
                    6 => {
                        let until = below(head + 1);
                        tail.forget_before(Position(until));
                        let from = below(until + 1);
                        stored.retain(|position| !(from..until).contains(position));
                    }
                    // Fetching takes time: other things happen between its two steps.
                    7 => {
                        fetched = fetched.or_else(|| {
                            let (from, until) = tail.gap()?;
                            let until = if below(2) == 0 { until.0 } else { (from.0 + 3).min(until.0) };
                            let events: Vec<Event> = stored.range(from.0..until).map(|p| event(*p)).collect();
                            Some((from, Position(until), events))
                        });
                    }
                    _ => match fetched.take() {
                        Some((from, until, events)) => tail.fill(from, until, &events),
                        None => {
                            let gone = below(head + 1);
                            stored.remove(&gone);
                            tail.restart(Position(head));
                        }
                    },
                }
                assert!(tail.next() >= before && tail.next().0 <= head, "seed {seed}");
                let cached = positions(&tail, tail.cache().first().0).unwrap_or_default();
                assert!(cached.windows(2).all(|pair| pair[0] + 1 == pair[1]), "seed {seed}: {cached:?}");
                assert!(cached.iter().all(|position| stored.contains(position)), "seed {seed}: {cached:?}");
                assert!(tail.cache().end <= tail.next(), "seed {seed}");
            }
        }
    }
}
