//! The end of the log: a number that wakes readers, and the newest events, which they share.
//!
//! What wakes a reader is a position, never an event, so a lost or doubled wake-up costs a look and
//! nothing else. The cache spares the store: a thousand live readers read an event from it once.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use tokio::sync::watch;

use crate::event::{Chunk, Event, Position};
use crate::limits::read::{TAIL_CACHE_BYTES_MAX, TAIL_CACHE_EVENTS_MAX};
use crate::store::PageLimit;

/// What an event occupies beside its bytes.
const EVENT_OVERHEAD_BYTES: usize = 128;

#[derive(Debug)]
pub struct Tail {
    next: watch::Sender<Position>,
    cache: RwLock<Cache>,
}

/// The newest events, without gaps, up to the tail.
#[derive(Debug, Default)]
struct Cache {
    events: VecDeque<Event>,
    bytes: usize,
}

impl Tail {
    pub fn new(next: Position) -> Self {
        Self { next: watch::Sender::new(next), cache: RwLock::default() }
    }

    /// The position that the next event will get: everything before it is durable and readable.
    pub fn next(&self) -> Position {
        *self.next.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Position> {
        self.next.subscribe()
    }

    /// Takes in what was just committed, in position order, and wakes the readers.
    pub fn advance<'a>(&self, chunks: impl IntoIterator<Item = &'a Chunk>) {
        let mut next = self.next();
        {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            for chunk in chunks {
                next = Position(chunk.first_position.0 + u64::from(chunk.count));
                cache.extend(&chunk.events);
            }
        }
        self.next.send_if_modified(|current| {
            let moved = next > *current;
            *current = (*current).max(next);
            moved
        });
    }

    /// Events from `from` on, if the cache reaches back that far; an empty page at the tail itself.
    pub fn read(&self, from: Position, limit: PageLimit) -> Option<Vec<Event>> {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = cache.events.front().map(Event::position) else {
            return (from >= self.next()).then(Vec::new);
        };
        let start = usize::try_from(from.0.checked_sub(first.0)?).ok()?;
        let mut bytes = 0;
        let within = cache.events.iter().skip(start).take(limit.events.max(1)).take_while(|event| {
            let first = bytes == 0;
            bytes += event.raw().len();
            first || bytes <= limit.bytes
        });
        Some(within.cloned().collect())
    }

    pub fn cached_bytes(&self) -> usize {
        self.cache.read().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl Cache {
    fn extend(&mut self, events: &[Event]) {
        for event in events {
            self.bytes += event.raw().len() + EVENT_OVERHEAD_BYTES;
            self.events.push_back(event.clone());
        }
        while self.bytes > TAIL_CACHE_BYTES_MAX || self.events.len() > TAIL_CACHE_EVENTS_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.raw().len() + EVENT_OVERHEAD_BYTES;
        }
    }
}
