//! Readers that follow the log or a stream live: every event once, in order.

use std::panic::resume_unwind;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::filter::Filter;
use super::read::{LogPage, ReadError, Reader, bounded};
use crate::event::{Event, Offset, Position};
use crate::limits::read as limits;
use crate::name::StreamName;
use crate::store::{Direction, PageLimit};

impl Reader {
    /// Follows the log from `from` on: what is there, then what comes.
    pub fn follow_log(&self, from: Position, filter: Filter) -> LogFollower {
        LogFollower { reader: self.clone(), next: from, filter, tail: self.tail().watch(), ahead: None }
    }

    /// Follows one stream from `from` on. The stream need not exist yet.
    pub fn follow_stream(&self, stream: StreamName, from: Offset) -> StreamFollower {
        StreamFollower { reader: self.clone(), stream, next: from, live_from: None, tail: self.tail().watch() }
    }
}

/// A live reader of the log: every event from its start on, each once, in order.
pub struct LogFollower {
    reader: Reader,
    next: Position,
    filter: Filter,
    tail: watch::Receiver<Position>,
    /// The page from `next` on, where it is read already.
    ahead: Option<AbortOnDropHandle<Result<LogPage, ReadError>>>,
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
        self.ready_page(limit).await
    }

    /// The same without waiting: an empty page at the tail.
    pub async fn ready_page(&mut self, limit: PageLimit) -> Result<LogPage, ReadError> {
        let page = match &mut self.ahead {
            Some(ahead) => ahead.await.map_err(|ended| match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Only a runtime that shuts down does that.
                Err(_) => ReadError::Stopped,
            }),
            None => Ok(self.reader.log_page(self.next, Direction::Forward, &self.filter, limit).await),
        };
        self.ahead = None;
        let page = page??;
        self.next = page.next.unwrap_or(self.next);
        Ok(page)
    }

    /// Begins to read the next page, which is for a limit like this one, while the caller works on the last.
    pub fn read_ahead(&mut self, limit: PageLimit) {
        if self.ahead.is_none() {
            let (reader, from, filter) = (self.reader.clone(), self.next, self.filter.clone());
            let read = async move { reader.log_page(from, Direction::Forward, &filter, limit).await };
            self.ahead = Some(AbortOnDropHandle::new(tokio::spawn(read)));
        }
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
                let next = Offset(last.offset().0 + 1);
                // Dropped here, it looks for them again.
                let live_from = self.live_from.take();
                let events = self.reader.lift(events).await;
                (self.next, self.live_from) = (next, live_from);
                return Ok(events);
            }
        }
    }

    async fn catch_up(&mut self, limit: PageLimit) -> Result<Vec<Event>, ReadError> {
        let tail = self.reader.tail().next();
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
        let all = PageLimit { events: limits::PAGE_EVENTS_MAX, ..limit };
        let Some(newest) = self.reader.newest(from, all).await? else {
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
