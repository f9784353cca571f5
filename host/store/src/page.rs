//! A page of the log or of a stream, gathered chunk by chunk.

use wasmill_core::event::Event;
use wasmill_core::name::StreamName;
use wasmill_core::store::{Direction, PageLimit, StoreError};

use crate::chunk::StoredChunk;
use crate::number::signed;

/// What a page runs along.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Axis<'a> {
    /// The whole log, by position.
    Log,
    /// One stream, by offset.
    Stream(&'a StreamName),
}

impl Axis<'_> {
    fn place(self, event: &Event) -> u64 {
        match self {
            Axis::Log => event.position().0,
            Axis::Stream(_) => event.offset().0,
        }
    }
}

pub(crate) struct Page<'a> {
    axis: Axis<'a>,
    direction: Direction,
    limit: PageLimit,
    /// The place that the next event may have, or the last one when reading backwards.
    next: u64,
    /// Place of the chunk opened last. No query gives it again: a page that begins behind a chunk's
    /// end would find that chunk for ever.
    opened: Option<u64>,
    events: Vec<Event>,
    bytes: usize,
    /// The page is full, or nothing is left.
    end: bool,
    /// Kept between chunks for its memory.
    chunk: Vec<Event>,
}

impl<'a> Page<'a> {
    pub(crate) fn new(axis: Axis<'a>, from: u64, direction: Direction, limit: PageLimit) -> Self {
        Self {
            axis,
            direction,
            limit,
            next: from,
            opened: None,
            events: Vec::new(),
            bytes: 0,
            end: false,
            chunk: Vec::new(),
        }
    }

    /// Where the next query goes on.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The page wants no more.
    pub(crate) fn is_full(&self) -> bool {
        self.end
    }

    /// Nothing is left for it.
    pub(crate) fn finish(&mut self) {
        self.end = true;
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// Chunks of the next query lie beyond this place.
    pub(crate) fn bound(&self) -> i64 {
        match (self.opened, self.direction) {
            (Some(opened), _) => signed(opened),
            (None, Direction::Forward) => -1,
            (None, Direction::Backward) => i64::MAX,
        }
    }

    /// Takes what the page wants of a chunk. The first chunk may lie before the page, or reach into it;
    /// the others have to follow one another.
    pub(crate) fn add(&mut self, stored: StoredChunk) -> Result<(), StoreError> {
        let at = stored.first_position;
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        stored.open(&mut chunk)?;
        let (first, last) = (self.axis.place(&chunk[0]), self.axis.place(&chunk[chunk.len() - 1]));
        let follows = match (self.opened, self.direction) {
            (None, Direction::Forward) => true,
            (Some(_), Direction::Forward) => first >= self.next,
            (None, Direction::Backward) => first <= self.next,
            (Some(_), Direction::Backward) => last <= self.next,
        };
        self.opened = Some(first);
        if let Axis::Stream(name) = self.axis
            && chunk[0].stream() != name.as_str()
        {
            return Err(StoreError::Damaged {
                what: format!("the chunk at position {at} is not one of stream `{name}`"),
            });
        }
        if !follows {
            return Err(StoreError::Damaged { what: format!("the chunk at position {at} is out of order") });
        }
        match self.direction {
            Direction::Forward => {
                let skip = usize::try_from(self.next.saturating_sub(first)).unwrap_or(usize::MAX);
                chunk.drain(..).skip(skip).all(|event| self.take(event));
                self.next = self.next.max(last + 1);
            }
            Direction::Backward => {
                let skip = usize::try_from(last.saturating_sub(self.next)).unwrap_or(usize::MAX);
                chunk.drain(..).rev().skip(skip).all(|event| self.take(event));
                match first.checked_sub(1) {
                    Some(before) => self.next = before,
                    None => self.end = true,
                }
            }
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Whether the page goes on behind the event.
    fn take(&mut self, event: Event) -> bool {
        self.bytes += event.raw().len();
        if self.events.is_empty() || self.bytes <= self.limit.bytes {
            self.events.push(event);
            self.end = self.events.len() >= self.limit.events || self.bytes >= self.limit.bytes;
        } else {
            self.end = true;
        }
        !self.end
    }
}
