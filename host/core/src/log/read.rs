//! Reading: pages of the log or of a stream, and readers that follow them live.
//!
//! Nothing that is not durable is ever read: every page ends at the tail. A page says up to where it
//! has looked, so that a reader tells "nothing there" from "not read yet", and goes on from there.

use std::sync::Arc;

use tokio::sync::watch;

use super::filter::Filter;
use super::tail::Tail;
use crate::clock::Timestamp;
use crate::code::{Code, Problem};
use crate::event::{Event, Offset, Position};
use crate::limits::read as limits;
use crate::name::StreamName;
use crate::record::{StreamInfo, StreamState};
use crate::store::{Direction, PageLimit, Store, StoreError};

/// Times that one filtered page looks further before it returns with what it has, however little.
const LOOKS_MAX: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("stream `{0}` does not exist: nothing was ever appended to it")]
    StreamNotFound(StreamName),
    #[error("stream `{0}` was deleted")]
    StreamDeleted(StreamName),
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
            ReadError::StreamDeleted(_) => Problem::new(Code::StreamDeleted, error.to_string()),
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
        let mut page = LogPage { next: Some(from), ..LogPage::default() };
        let mut room = limit;
        for _ in 0..LOOKS_MAX {
            let Some(at) = page.next else { break };
            let tail = self.tail.next();
            if direction == Direction::Forward && at >= tail {
                page.end = true;
                break;
            }
            let (events, next) = self.look(at, direction, tail, filter, room).await?;
            (page.next, page.end) = match direction {
                Direction::Forward => (Some(next.unwrap_or(tail).min(tail)), next.is_none_or(|next| next >= tail)),
                Direction::Backward => (next, next.is_none()),
            };
            room.events -= events.len();
            room.bytes = room.bytes.saturating_sub(events.iter().map(|event| event.raw().len()).sum());
            page.events.extend(events);
            if filter.matches_all() || room.events == 0 || room.bytes == 0 {
                break;
            }
        }
        Ok(page)
    }

    /// Matching events, from the tail cache where it reaches, and where to look on; `None` at the end.
    async fn look(
        &self,
        from: Position,
        direction: Direction,
        tail: Position,
        filter: &Filter,
        room: PageLimit,
    ) -> Result<(Vec<Event>, Option<Position>), ReadError> {
        if direction == Direction::Forward {
            let all = PageLimit { events: limits::PAGE_EVENTS_MAX, bytes: limits::PAGE_BYTES_MAX };
            if let Some(mut events) = self.tail.read(from, if filter.matches_all() { room } else { all }) {
                // The cache is filled just before the tail moves.
                let announced = events.partition_point(|event| event.position() < tail);
                events.truncate(announced);
                return Ok(keep_matching(events, filter, room));
            }
        }
        let mut read = self.store.read_log(from, direction, filter, room).await?;
        // The store may hold more than was announced: a commit that is being answered right now.
        read.events.retain(|event| event.position() < tail);
        Ok((read.events, read.next))
    }

    /// The position of the oldest event that was recorded at `time` or later, or the tail.
    pub async fn position_at(&self, time: Timestamp) -> Result<Position, ReadError> {
        let tail = self.tail.next();
        Ok(self.store.position_at(time).await?.min(tail))
    }

    /// The same within a stream.
    pub async fn offset_at(&self, stream: &StreamName, time: Timestamp) -> Result<Offset, ReadError> {
        Ok(self.store.offset_at(stream, time).await?)
    }

    /// Facts of a stream that can be read.
    pub async fn stream(&self, stream: &StreamName) -> Result<StreamInfo, ReadError> {
        let info = self.store.stream(stream).await?.ok_or_else(|| ReadError::StreamNotFound(stream.clone()))?;
        if info.state == StreamState::Live { Ok(info) } else { Err(ReadError::StreamDeleted(stream.clone())) }
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
        let info = self.stream(stream).await?;
        let (oldest, next_offset) = (info.oldest(), info.next_offset);
        let from = if direction == Direction::Forward { from.max(oldest) } else { from };
        let mut events = self.store.read_stream(stream, from, direction, bounded(limit)).await?;
        events.retain(|event| event.position() < tail && event.offset() >= oldest);
        let last = events.last().map(Event::offset);
        let next = match (direction, last) {
            (Direction::Forward, last) => Some(last.map_or(from, |last| Offset(last.0 + 1))),
            (Direction::Backward, last) => last.filter(|last| *last > oldest).map(|last| Offset(last.0 - 1)),
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

/// The first matching events that there is room for, and where the rest begins. One is always taken.
fn keep_matching(mut events: Vec<Event>, filter: &Filter, room: PageLimit) -> (Vec<Event>, Option<Position>) {
    let mut next = events.last().map(|last| Position(last.position().0 + 1));
    if filter.matches_all() {
        return (events, next);
    }
    events.retain(|event| filter.matches(event));
    let mut bytes = 0;
    let fits = |event: &&Event| {
        let first = bytes == 0;
        bytes += event.raw().len();
        first || bytes <= room.bytes
    };
    let count = events.iter().take(room.events).take_while(fits).count();
    if let Some(left_over) = events.get(count) {
        // This one begins the next page.
        next = Some(left_over.position());
        events.truncate(count);
    }
    (events, next)
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
        let hidden_below = self.reader.store.stream(&self.stream).await?.map_or(Offset(0), |info| info.oldest());
        let from = self.next.max(hidden_below);
        let mut events = self.reader.store.read_stream(&self.stream, from, Direction::Forward, limit).await?;
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
