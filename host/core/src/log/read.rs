//! Reading: pages of the log or of a stream, and readers that follow them live.
//!
//! Nothing that is not durable is ever read: every page ends at the tail. A page says up to where it
//! has looked, so that a reader tells "nothing there" from "not read yet", and goes on from there.

use std::sync::Arc;

use tokio::sync::watch;

use super::filter::Filter;
use super::tail::Tail;
use crate::code::{Code, Problem};
use crate::event::{Event, Offset, Position};
use crate::limits::read as limits;
use crate::name::StreamName;
use crate::store::{Direction, PageLimit, Store, StoreError};

/// Events that one filtered page looks at before it returns with what it has, however little.
const SCAN_EVENTS_MAX: usize = 16 * limits::PAGE_EVENTS_MAX;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("stream `{0}` does not exist: nothing was ever appended to it")]
    StreamNotFound(StreamName),
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    /// The host is stopping; the reader goes on later from where it was.
    #[error("the host is stopping")]
    Stopped,
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::StreamNotFound(_) => Problem::new(Code::StreamNotFound, error.to_string()),
            ReadError::Store(store) => Problem::from(&store),
            ReadError::Stopped => Problem::new(Code::Draining, error.to_string()),
        }
    }
}

/// Events of the log, in reading order.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    pub events: Vec<Event>,
    /// Where reading goes on, in the direction of reading: every event before it (in that direction)
    /// was looked at. `None` when a backward read has reached the beginning.
    pub next: Option<Position>,
    /// Nothing more is there at the moment.
    pub end: bool,
}

/// Events of one stream, in reading order; see [`LogPage`].
#[derive(Clone, Debug, Default)]
pub struct StreamPage {
    pub events: Vec<Event>,
    pub next: Option<Offset>,
    /// Nothing more was there.
    pub end: bool,
    /// The offset that the stream's next event gets.
    pub next_offset: Offset,
}

#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn Store>,
    tail: Arc<Tail>,
}

impl Reader {
    pub fn new(store: Arc<dyn Store>, tail: Arc<Tail>) -> Self {
        Self { store, tail }
    }

    pub fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// A page of the log from `from` (inclusive) on. Backward reads from beyond the end begin at it.
    pub async fn log_page(
        &self,
        from: Position,
        direction: Direction,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogPage, ReadError> {
        let limit = bounded(limit);
        let (mut page, mut looked_at) = (LogPage { next: Some(from), ..LogPage::default() }, 0);
        let mut room = limit;
        while let Some(at) = page.next {
            let tail = self.tail.next();
            if direction == Direction::Forward && at >= tail {
                page.end = true;
                break;
            }
            let ask = if filter.matches_all() { room } else { PageLimit { events: limits::PAGE_EVENTS_MAX, ..limit } };
            let events = self.raw_page(at, direction, tail, ask).await?;
            let last = events.last().map(Event::position);
            looked_at += events.len();
            page.next = match (direction, last) {
                (Direction::Forward, Some(last)) => Some(Position(last.0 + 1)),
                // Everything up to the tail is a hole.
                (Direction::Forward, None) => Some(tail),
                (Direction::Backward, Some(last)) => last.0.checked_sub(1).map(Position),
                (Direction::Backward, None) => None,
            };
            page.end = page.next.is_none() || (direction == Direction::Forward && page.next >= Some(tail));
            if filter.matches_all() {
                page.events = events;
                break;
            }
            keep_matching(&mut page, events, filter, &mut room);
            if room.events == 0 || room.bytes == 0 || looked_at >= SCAN_EVENTS_MAX {
                break;
            }
        }
        Ok(page)
    }

    /// Unfiltered, from the tail cache where it reaches.
    async fn raw_page(
        &self,
        from: Position,
        direction: Direction,
        tail: Position,
        limit: PageLimit,
    ) -> Result<Vec<Event>, ReadError> {
        if direction == Direction::Forward
            && let Some(events) = self.tail.read(from, limit)
        {
            return Ok(events);
        }
        let mut events = self.store.read_log(from, direction, limit).await?;
        // The store may hold more than was announced: a commit that is being answered right now.
        events.retain(|event| event.position() < tail);
        Ok(events)
    }

    /// A page of a stream from `from` (inclusive) on.
    pub async fn stream_page(
        &self,
        stream: &StreamName,
        from: Offset,
        direction: Direction,
        limit: PageLimit,
    ) -> Result<StreamPage, ReadError> {
        let tail = self.tail.next();
        let mut events = self.store.read_stream(stream, from, direction, bounded(limit)).await?;
        events.retain(|event| event.position() < tail);
        let info = self.store.stream(stream).await?.ok_or_else(|| ReadError::StreamNotFound(stream.clone()))?;
        let (last, next_offset) = (events.last().map(Event::offset), info.next_offset);
        let next = match (direction, last) {
            (Direction::Forward, Some(last)) => Some(Offset(last.0 + 1)),
            (Direction::Forward, None) => Some(from.max(info.first_offset)),
            (Direction::Backward, Some(last)) => last.0.checked_sub(1).map(Offset),
            (Direction::Backward, None) => None,
        };
        let at_end = direction == Direction::Forward && (last.is_none() || next >= Some(next_offset));
        Ok(StreamPage { events, next, end: next.is_none() || at_end, next_offset })
    }

    /// Follows the log from `from` on: what is there, then what comes.
    pub fn follow_log(&self, from: Position, filter: Filter) -> LogFollower {
        LogFollower { reader: self.clone(), next: from, filter, tail: self.tail.watch() }
    }

    /// Follows one stream from `from` on. The stream need not exist yet.
    pub fn follow_stream(&self, stream: StreamName, from: Offset) -> StreamFollower {
        StreamFollower { reader: self.clone(), stream, next: from, live_from: None, tail: self.tail.watch() }
    }
}

fn bounded(limit: PageLimit) -> PageLimit {
    PageLimit {
        events: limit.events.clamp(1, limits::PAGE_EVENTS_MAX),
        bytes: limit.bytes.clamp(1, limits::PAGE_BYTES_MAX),
    }
}

/// Moves the matching events into the page, and stops it where there is no more room.
fn keep_matching(page: &mut LogPage, events: Vec<Event>, filter: &Filter, room: &mut PageLimit) {
    for event in events {
        if !filter.matches(&event) {
            continue;
        }
        let bytes = event.raw().len();
        if room.events == 0 || (bytes > room.bytes && !page.events.is_empty()) {
            // This one begins the next page.
            page.next = Some(event.position());
            page.end = false;
            *room = PageLimit { events: 0, bytes: 0 };
            return;
        }
        room.events -= 1;
        room.bytes = room.bytes.saturating_sub(bytes);
        page.events.push(event);
    }
}

/// A live reader of the log: every event from its start on, each once, in order.
pub struct LogFollower {
    reader: Reader,
    next: Position,
    filter: Filter,
    tail: watch::Receiver<Position>,
}

impl LogFollower {
    /// Everything before this was handed out or did not match.
    pub fn next_position(&self) -> Position {
        self.next
    }

    /// Waits for something to look at and returns it; the page may be empty when nothing in it
    /// matched, and then says only how far it has come. Cancel safe.
    pub async fn next_page(&mut self, limit: PageLimit) -> Result<LogPage, ReadError> {
        wait_beyond(&mut self.tail, self.next).await?;
        let page = self.reader.log_page(self.next, Direction::Forward, &self.filter, limit).await?;
        self.next = page.next.unwrap_or(self.next);
        Ok(page)
    }

    /// The same without waiting: an empty page at the tail.
    pub async fn ready_page(&mut self, limit: PageLimit) -> Result<LogPage, ReadError> {
        let page = self.reader.log_page(self.next, Direction::Forward, &self.filter, limit).await?;
        self.next = page.next.unwrap_or(self.next);
        Ok(page)
    }
}

/// A live reader of one stream. It catches up through the stream's index, then reads the log's
/// newest events beside everyone else, and goes back to the index when it falls behind them.
pub struct StreamFollower {
    reader: Reader,
    stream: StreamName,
    next: Offset,
    /// Position from which on the newest events are looked through; `None` while catching up.
    live_from: Option<Position>,
    tail: watch::Receiver<Position>,
}

impl StreamFollower {
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// Waits for events and returns at least one. Cancel safe.
    pub async fn next_page(&mut self, limit: PageLimit) -> Result<Vec<Event>, ReadError> {
        let limit = bounded(limit);
        loop {
            let events = match self.live_from {
                None => self.catch_up(limit).await?,
                Some(from) => self.look_through_newest(from, limit).await?,
            };
            if let Some(last) = events.last() {
                self.next = Offset(last.offset().0 + 1);
                return Ok(events);
            }
        }
    }

    async fn catch_up(&mut self, limit: PageLimit) -> Result<Vec<Event>, ReadError> {
        let tail = self.reader.tail.next();
        let mut events = self.reader.store.read_stream(&self.stream, self.next, Direction::Forward, limit).await?;
        events.retain(|event| event.position() < tail);
        if events.is_empty() {
            // All of the stream that lies before `tail` has been handed out.
            self.live_from = Some(tail);
        }
        Ok(events)
    }

    async fn look_through_newest(&mut self, from: Position, limit: PageLimit) -> Result<Vec<Event>, ReadError> {
        wait_beyond(&mut self.tail, from).await?;
        let Some(newest) = self.reader.tail.read(from, PageLimit { events: limits::PAGE_EVENTS_MAX, ..limit }) else {
            self.live_from = None;
            return Ok(Vec::new());
        };
        let looked_through = newest.last().map_or(from, |last| Position(last.position().0 + 1));
        let mut events: Vec<Event> = newest
            .into_iter()
            .filter(|event| event.stream() == self.stream.as_str() && event.offset() >= self.next)
            .collect();
        if events.len() > limit.events {
            events.truncate(limit.events);
            self.live_from = events.last().map(|last| Position(last.position().0 + 1));
        } else {
            self.live_from = Some(looked_through);
        }
        Ok(events)
    }
}

async fn wait_beyond(tail: &mut watch::Receiver<Position>, next: Position) -> Result<(), ReadError> {
    tail.wait_for(|tail| *tail > next).await.map(|_| ()).map_err(|_| ReadError::Stopped)
}
