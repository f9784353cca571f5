//! The subscriptions of one connection: followers that read in tasks of their own.
//!
//! A read that has begun must go on: it may have a connection to the database, and others wait for that. So no
//! follower depends on whether its client takes anything. What it has read it keeps within the connection's
//! budget; what does not fit is let go of, and read again when there is room.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::log::read::{LogFollower, ReadError, StreamFollower};
use wasmill_core::metrics::Metrics;
use wasmill_core::name::StreamName;
use wasmill_core::store::PageLimit;

use super::{AHEAD_BYTES_MAX, Frame, PAGE};
use crate::app::App;
use crate::pages::{Following, How};
use crate::receipts;
use crate::rights::keep_readable;

enum Source {
    Log(LogFollower, Filter),
    Stream(StreamFollower, StreamName, Filter),
}

/// How a connection writes events of a subscription.
pub(crate) type Encode = Box<dyn Fn(&[Event]) -> Frame + Send + Sync>;

/// Reads for one subscription, and is counted for as long as it lives.
pub(crate) struct Follower {
    app: Arc<App>,
    source: Source,
    encode: Encode,
    following: Following,
    /// Who gets the events, if that is to be noted.
    consumer: Option<Arc<str>>,
    _counted: Counted,
}

/// Events, written out: they would keep everything in memory that was stored with them.
pub(crate) struct Page {
    pub(crate) frame: Frame,
    /// The offset of each event, or its position in the log.
    pub(crate) places: Vec<u64>,
    /// Notes them as delivered, for who wants that.
    noting: Option<Noting>,
    _room: OwnedSemaphorePermit,
}

struct Noting {
    app: Arc<App>,
    consumer: Arc<str>,
    events: Vec<(StreamName, Vec<Offset>)>,
}

impl Page {
    /// What is to be written. Only now it is noted as delivered: a client that takes nothing got nothing.
    pub(crate) fn take(self) -> Frame {
        if let Some(Noting { app, consumer, events }) = self.noting {
            // As many are under way as there are pages on theirs.
            tokio::spawn(async move { receipts::delivered(&app, &consumer, events).await });
        }
        self.frame
    }
}

impl Follower {
    /// The events of a stream that match.
    pub(crate) fn of_stream(
        app: &Arc<App>,
        how: How,
        (stream, from): (StreamName, Offset),
        filter: Filter,
        encode: Encode,
    ) -> Box<Self> {
        let follower = how.reader(app).follow_stream(stream.clone(), from);
        Self::new(app, how.via, Source::Stream(follower, stream, filter), encode)
    }

    pub(crate) fn of_log(app: &Arc<App>, how: How, from: Position, filter: Filter, encode: Encode) -> Box<Self> {
        let follower = how.reader(app).follow_log(from, filter.clone());
        Self::new(app, how.via, Source::Log(follower, filter), encode)
    }

    fn new(app: &Arc<App>, transport: &'static str, source: Source, encode: Encode) -> Box<Self> {
        let metrics = &app.host.metrics;
        let following = Following::new(metrics, transport);
        let counted = Counted::new(metrics, transport);
        Box::new(Self { app: Arc::clone(app), source, encode, following, consumer: None, _counted: counted })
    }

    /// Notes what it hands over as delivered to a consumer.
    pub(crate) fn noting(mut self: Box<Self>, consumer: Option<Arc<str>>) -> Box<Self> {
        self.consumer = consumer;
        self
    }

    /// Waits for at least one event, and for room.
    async fn next_page(&mut self, limit: PageLimit, budget: &Arc<Semaphore>) -> Result<Page, ReadError> {
        let mut room = None;
        loop {
            let before = self.place();
            let events = self.next_events(limit).await?;
            let frame = (self.encode)(&events);
            let bytes = frame.iter().map(bytes::Bytes::len).sum::<usize>().min(AHEAD_BYTES_MAX);
            let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
            let free = room.take().or_else(|| Arc::clone(budget).try_acquire_many_owned(wanted).ok());
            if let Some(room) = free {
                self.following.delivered(events.len());
                let places = events.iter().map(|event| self.place_of(event)).collect();
                let noting = self.consumer.clone().map(|consumer| Noting {
                    app: Arc::clone(&self.app),
                    consumer,
                    events: receipts::places(&events),
                });
                return Ok(Page { frame, places, noting, _room: room });
            }
            drop((events, frame));
            let acquired = Arc::clone(budget).acquire_many_owned(wanted).await;
            room = Some(acquired.expect("it is never closed"));
            self.go_back(before);
        }
    }

    async fn next_events(&mut self, limit: PageLimit) -> Result<Vec<Event>, ReadError> {
        loop {
            let mut events = match &mut self.source {
                Source::Log(follower, _) => follower.next_page(limit).await?.events,
                Source::Stream(follower, _, filter) => {
                    let mut events = follower.next_page(limit).await?;
                    events.retain(|event| filter.matches(event));
                    events
                }
            };
            keep_readable(&self.app.host.stream_configs, &mut events);
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    fn place(&self) -> u64 {
        match &self.source {
            Source::Log(follower, _) => follower.next_position().0,
            Source::Stream(follower, ..) => follower.next_offset().0,
        }
    }

    fn place_of(&self, event: &Event) -> u64 {
        match &self.source {
            Source::Log(..) => event.position().0,
            Source::Stream(..) => event.offset().0,
        }
    }

    fn go_back(&mut self, place: u64) {
        let reader = &self.app.host.reader;
        match &mut self.source {
            Source::Log(follower, filter) => *follower = reader.follow_log(Position(place), filter.clone()),
            Source::Stream(follower, stream, _) => *follower = reader.follow_stream(stream.clone(), Offset(place)),
        }
    }
}

struct Counted {
    metrics: Arc<Metrics>,
    transport: &'static str,
}

impl Counted {
    fn new(metrics: &Arc<Metrics>, transport: &'static str) -> Self {
        metrics.push_subscriptions.with_label_values(&[transport]).inc();
        Self { metrics: Arc::clone(metrics), transport }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.push_subscriptions.with_label_values(&[self.transport]).dec();
    }
}

/// Names one subscription of a connection; a later one of the same name has another number.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) name: Arc<str>,
    pub(crate) number: u64,
    /// Ends what is under way for it.
    pub(crate) over: CancellationToken,
}

/// What a follower came back with, and the follower, for the next time.
pub(crate) struct Came {
    pub(crate) tag: Tag,
    pub(crate) follower: Box<Follower>,
    pub(crate) page: Result<Page, ReadError>,
}

/// The followers that are under way; they end with it.
pub(crate) struct Followers {
    under_way: FuturesUnordered<AbortOnDropHandle<Option<Came>>>,
    budget: Arc<Semaphore>,
}

impl Followers {
    pub(crate) fn new() -> Self {
        Self { under_way: FuturesUnordered::new(), budget: Arc::new(Semaphore::new(AHEAD_BYTES_MAX)) }
    }

    /// Sends a follower for up to `events_max` events.
    pub(crate) fn send(&mut self, tag: Tag, mut follower: Box<Follower>, events_max: usize) {
        let limit = PageLimit { events: PAGE.events.min(events_max), ..PAGE };
        let budget = Arc::clone(&self.budget);
        self.under_way.push(AbortOnDropHandle::new(tokio::spawn(async move {
            let page = tag.over.run_until_cancelled(follower.next_page(limit, &budget)).await?;
            Some(Came { tag, follower, page })
        })));
    }

    /// Waits for one that comes back, for ever if none is under way. Cancel safe.
    pub(crate) async fn next(&mut self) -> Came {
        loop {
            match self.under_way.next().await {
                Some(Ok(Some(came))) => return came,
                // Its subscription is over.
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    // A defect in one ends the connection, which its client notices; else it stands still.
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
                None => return std::future::pending().await,
            }
        }
    }
}
