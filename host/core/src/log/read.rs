//! Reading: pages of the log or of a stream. Readers that follow them live are in `follow.rs`.
//!
//! Nothing that is not durable is ever read: every page ends at the tail. A page says up to where it
//! has looked, so that a reader tells "nothing there" from "not read yet", and goes on from there.

use std::sync::Arc;

use super::filter::Filter;
use super::tail::{Cached, Tail};
use crate::clock::Timestamp;
use crate::code::{Code, Problem};
use crate::event::{Event, Offset, Position};
use crate::limits::read as limits;
use crate::name::StreamName;
use crate::record::{StreamInfo, StreamState};
use crate::store::{Direction, PageLimit, Store, StoreError};
use crate::upcast::{LiftSet, Lifts};

pub use super::follow::{LogFollower, StreamFollower};

/// Times that one filtered page looks further before it returns with what it has, however little.
const LOOKS_MAX: usize = 16;

/// Times that a reader fetches what the tail cache lacks before it goes to the store by itself.
const FETCHES_MAX: usize = 4;

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
    pub(super) store: Arc<dyn Store>,
    tail: Arc<Tail>,
    lifting: Lifting,
}

/// In which version events are read.
#[derive(Clone, Debug)]
enum Lifting {
    /// As they were published.
    Raw,
    /// By those upcasters that there are when they are read.
    Current(Lifts),
    /// By these.
    By(Arc<LiftSet>),
}

/// What a page holds of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Newest,
    Stored,
}

impl Reader {
    /// Reads every event in its newest version.
    pub fn new(store: Arc<dyn Store>, tail: Arc<Tail>, lifts: Lifts) -> Self {
        Self { store, tail, lifting: Lifting::Current(lifts) }
    }

    /// The same reader, reading events as they were published.
    #[must_use]
    pub fn raw(&self) -> Self {
        Self { lifting: Lifting::Raw, ..self.clone() }
    }

    /// The same reader, reading through these upcasters.
    #[must_use]
    pub fn by(&self, lifts: Arc<LiftSet>) -> Self {
        Self { lifting: Lifting::By(lifts), ..self.clone() }
    }

    /// The upcasters that it reads through now.
    pub fn lifts(&self) -> Arc<LiftSet> {
        match &self.lifting {
            Lifting::Raw => Arc::default(),
            Lifting::Current(lifts) => lifts.current(),
            Lifting::By(lifts) => Arc::clone(lifts),
        }
    }

    /// Events that were not read through this reader, in their newest version.
    pub async fn lift(&self, events: Vec<Event>) -> Vec<Event> {
        self.lifts().lift(events).await
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
        self.page(from, direction, (filter, Form::Newest), limit).await
    }

    /// A forward page of those events that match in their newest version, as they are stored: for those who
    /// keep them for a while and lift them when they are wanted.
    pub(crate) async fn stored_page(
        &self,
        from: Position,
        filter: &Filter,
        limit: PageLimit,
    ) -> Result<LogPage, ReadError> {
        self.page(from, Direction::Forward, (filter, Form::Stored), limit).await
    }

    async fn page(
        &self,
        from: Position,
        direction: Direction,
        (filter, form): (&Filter, Form),
        limit: PageLimit,
    ) -> Result<LogPage, ReadError> {
        let limit = bounded(limit);
        let lifts = self.lifts();
        let widened = (!lifts.is_empty()).then(|| lifts.widened(filter));
        let mut page = LogPage { next: Some(from), ..LogPage::default() };
        let mut room = limit;
        for _ in 0..LOOKS_MAX {
            let Some(at) = page.next else { break };
            let tail = self.tail.next();
            if direction == Direction::Forward && at >= tail {
                page.end = true;
                break;
            }
            let stored = widened.as_ref().unwrap_or(filter);
            let (mut events, next) = self.look(at, direction, tail, stored, room).await?;
            if widened.is_some() {
                events = lifts.matching(events, filter, form == Form::Stored).await;
            }
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
            if let Some(mut events) = self.newest(from, if filter.matches_all() { room } else { all }).await? {
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

    /// Events from the tail cache, if it reaches back to `from`.
    pub(super) async fn newest(&self, from: Position, limit: PageLimit) -> Result<Option<Vec<Event>>, ReadError> {
        for _ in 0..FETCHES_MAX {
            match self.tail.read(from, limit) {
                Cached::Events(events) => return Ok(Some(events)),
                Cached::TooOld => return Ok(None),
                Cached::Missing => self.fetch_missing().await?,
            }
        }
        Ok(None)
    }

    /// Fetches other hosts' events into the tail cache, once for all readers that want them.
    async fn fetch_missing(&self) -> Result<(), ReadError> {
        let _one_at_a_time = self.tail.fetching().await;
        let Some((from, tail)) = self.tail.gap() else { return Ok(()) };
        let limit = PageLimit { events: limits::PAGE_EVENTS_MAX, bytes: limits::PAGE_BYTES_MAX };
        let read = self.store.read_log(from, Direction::Forward, &Filter::default(), limit).await?;
        let until = read.next.unwrap_or(tail).min(tail);
        self.tail.fill(from, until, &read.events);
        Ok(())
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
        let events = self.lift(events).await;
        Ok(StreamPage { events, next, end: next.is_none() || at_end, next_offset })
    }
}

pub(super) fn bounded(limit: PageLimit) -> PageLimit {
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
