//! A page of the log by a filter, gathered chunk by chunk.

use wasmill_core::event::{Event, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::store::{Direction, LogRead, PageLimit, StoreError};

use crate::chunk::StoredChunk;

pub(crate) struct Matches<'a> {
    from: Position,
    direction: Direction,
    filter: &'a Filter,
    limit: PageLimit,
    events: Vec<Event>,
    bytes: usize,
    full: bool,
}

impl<'a> Matches<'a> {
    pub(crate) fn new(from: Position, direction: Direction, filter: &'a Filter, limit: PageLimit) -> Self {
        Self { from, direction, filter, limit, events: Vec::new(), bytes: 0, full: false }
    }

    /// What matches of a page of the log that was read without a filter. Reading goes on behind it.
    pub(crate) fn of_page(page: Vec<Event>, direction: Direction, filter: &'a Filter, limit: PageLimit) -> LogRead {
        let Some(from) = page.first().map(Event::position) else { return LogRead::default() };
        let next = page.last().and_then(|last| onward(last.position(), direction));
        let mut matches = Self::new(from, direction, filter, limit);
        page.into_iter().all(|event| matches.take(event));
        matches.finish(next.map(|next| next.0.cast_signed()))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes what is wanted of a chunk; chunks come in the direction of reading.
    pub(crate) fn add(&mut self, chunk: StoredChunk) -> Result<(), StoreError> {
        let mut events = Vec::new();
        chunk.open(&mut events)?;
        match self.direction {
            Direction::Forward => events.into_iter().all(|event| self.take(event)),
            Direction::Backward => events.into_iter().rev().all(|event| self.take(event)),
        };
        Ok(())
    }

    /// Whether the page goes on behind the event.
    fn take(&mut self, event: Event) -> bool {
        let before = match self.direction {
            Direction::Forward => event.position() < self.from,
            Direction::Backward => event.position() > self.from,
        };
        if before || !self.filter.matches(&event) {
            return true;
        }
        self.bytes += event.raw().len();
        if self.events.is_empty() || self.bytes <= self.limit.bytes {
            self.events.push(event);
            self.full = self.events.len() >= self.limit.events || self.bytes >= self.limit.bytes;
        } else {
            self.full = true;
        }
        !self.full
    }

    /// `next` is where looking goes on if the page is not full.
    pub(crate) fn finish(self, next: Option<i64>) -> LogRead {
        let next = match self.events.last() {
            Some(last) if self.full => onward(last.position(), self.direction),
            _ => next.map(|next| Position(next.cast_unsigned())),
        };
        LogRead { events: self.events, next }
    }
}

/// The place behind another in the direction of reading.
pub(crate) fn onward(position: Position, direction: Direction) -> Option<Position> {
    match direction {
        Direction::Forward => Some(Position(position.0 + 1)),
        Direction::Backward => position.0.checked_sub(1).map(Position),
    }
}
