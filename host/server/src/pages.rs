//! Reads and follows as streams of pages. A page is read when the one before has been taken, so that
//! a slow reader holds one page and slows only itself.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use prometheus::core::{AtomicU64, GenericCounter};
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::limits::read as limits;
use wasmill_core::log::filter::Filter;
use wasmill_core::log::read::{LogPage, ReadError, StreamPage};
use wasmill_core::metrics::Metrics;
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::StreamInfo;
use wasmill_core::store::{Direction, PageLimit};

use crate::app::App;

/// Offsets and positions end here, so that each is a JSON number.
pub(crate) const NUMBER_MAX: u64 = (1 << 53) - 1;

pub(crate) const PAGE: PageLimit = PageLimit { events: limits::PAGE_EVENTS_MAX, bytes: limits::PAGE_BYTES_MAX };

/// One bounded read.
#[derive(Clone, Debug)]
pub(crate) struct Range<T> {
    /// Inclusive; `None` is where reading in this direction naturally begins.
    pub(crate) from: Option<T>,
    pub(crate) direction: Direction,
    /// `None`: all there is.
    pub(crate) limit: Option<u64>,
}

/// Events, and how far reading has come with them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    /// Everything up to here, in the direction of reading, was looked at.
    pub(crate) covered_through: Option<u64>,
    /// Whether there was more to look at when this was read.
    pub(crate) more: bool,
}

struct Reading {
    app: Arc<App>,
    next: Option<u64>,
    direction: Direction,
    left: u64,
    /// Forward reads end with what was there when they began, however fast the log grows.
    until: u64,
    delivered: GenericCounter<AtomicU64>,
}

impl Reading {
    fn new(app: &Arc<App>, via: &str, from: u64, direction: Direction, limit: Option<u64>) -> Self {
        let delivered = app.host.metrics.events_delivered.with_label_values(&[via]);
        let (app, left, next) = (Arc::clone(app), limit.unwrap_or(u64::MAX), Some(from));
        Self { app, next, direction, left, until: u64::MAX, delivered }
    }

    fn page_limit(&self) -> PageLimit {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        PageLimit { events: PAGE.events.min(left), bytes: PAGE.bytes }
    }

    fn take(&mut self, events: Vec<Event>, next: Option<u64>, end: bool) -> Batch {
        let from = self.next.unwrap_or_default();
        let covered_through = match (self.direction, next) {
            (Direction::Forward, Some(next)) if next > from => Some(next - 1),
            (Direction::Forward, _) => None,
            (Direction::Backward, Some(next)) => Some(next + 1),
            // An empty log covers nothing.
            (Direction::Backward, None) => (self.until > 0).then_some(0),
        };
        self.left -= events.len() as u64;
        let next = next.filter(|next| !end && (self.direction == Direction::Backward || *next < self.until));
        self.next = next.filter(|_| self.left > 0);
        self.delivered.inc_by(events.len() as u64);
        Batch { events, covered_through, more: next.is_some() }
    }
}

/// The log, page by page.
pub(crate) fn read_log(
    app: &Arc<App>,
    via: &'static str,
    range: &Range<Position>,
    filter: Filter,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + use<> {
    let tail = app.host.reader.tail().next();
    let natural = match range.direction {
        Direction::Forward => Position(0),
        Direction::Backward => tail,
    };
    let from = range.from.unwrap_or(natural).0.min(NUMBER_MAX);
    let mut reading = Reading::new(app, via, from, range.direction, range.limit);
    reading.until = tail.0;
    let filter = Arc::new(filter);
    try_unfold(reading, move |mut reading| {
        let filter = Arc::clone(&filter);
        async move {
            let Some(from) = reading.next else { return Ok(None) };
            let reader = reading.app.host.reader.clone();
            let page = reader.log_page(Position(from), reading.direction, &filter, reading.page_limit()).await?;
            let LogPage { events, next, end } = page;
            let batch = reading.take(events, next.map(|next| next.0), end);
            Ok(Some((batch, reading)))
        }
    })
}

/// One stream, page by page.
pub(crate) fn read_stream(
    app: &Arc<App>,
    via: &'static str,
    range: &Range<Offset>,
    stream: StreamName,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + use<> {
    let natural = match range.direction {
        Direction::Forward => 0,
        Direction::Backward => NUMBER_MAX,
    };
    let from = range.from.map_or(natural, |from| from.0).min(NUMBER_MAX);
    let reading = Reading::new(app, via, from, range.direction, range.limit);
    try_unfold(reading, move |mut reading| {
        let stream = stream.clone();
        async move {
            let Some(from) = reading.next else { return Ok(None) };
            let reader = reading.app.host.reader.clone();
            let page = reader.stream_page(&stream, Offset(from), reading.direction, reading.page_limit()).await?;
            let StreamPage { events, next, end, next_offset } = page;
            reading.until = reading.until.min(next_offset.0);
            let batch = reading.take(events, next.map(|next| next.0), end);
            Ok(Some((batch, reading)))
        }
    })
}

/// Counted among the followers for as long as it lives.
pub(crate) struct Following {
    metrics: Arc<Metrics>,
    delivered: GenericCounter<AtomicU64>,
}

impl Following {
    pub(crate) fn new(metrics: &Arc<Metrics>, via: &str) -> Self {
        metrics.followers.inc();
        let delivered = metrics.events_delivered.with_label_values(&[via]);
        Self { metrics: Arc::clone(metrics), delivered }
    }

    pub(crate) fn delivered(&self, events: usize) {
        self.delivered.inc_by(events as u64);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.metrics.followers.dec();
    }
}

/// The log from `from` on, for ever; `None`: only what comes. Ends with the host's stop.
pub(crate) fn follow_log(
    app: &Arc<App>,
    via: &'static str,
    from: Option<Position>,
    filter: Filter,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + use<> {
    let reader = &app.host.reader;
    let from = from.unwrap_or_else(|| reader.tail().next());
    let follower = reader.follow_log(from, filter);
    let following = Following::new(&app.host.metrics, via);
    try_unfold((follower, following, Arc::clone(app)), |(mut follower, following, app)| async move {
        let page = tokio::select! {
            biased;
            () = app.drain.cancelled() => return Err(ReadError::Stopped),
            page = follower.next_page(PAGE) => page?,
        };
        following.delivered(page.events.len());
        let covered_through = follower.next_position().0.checked_sub(1);
        Ok(Some((Batch { events: page.events, covered_through, more: true }, (follower, following, app))))
    })
}

/// One stream from `from` on, for ever; `from` may lie beyond its end.
pub(crate) fn follow_stream(
    app: &Arc<App>,
    via: &'static str,
    from: Offset,
    stream: StreamName,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + use<> {
    let follower = app.host.reader.follow_stream(stream, from);
    let following = Following::new(&app.host.metrics, via);
    try_unfold((follower, following, Arc::clone(app)), |(mut follower, following, app)| async move {
        let events = tokio::select! {
            biased;
            () = app.drain.cancelled() => return Err(ReadError::Stopped),
            events = follower.next_page(PAGE) => events?,
        };
        following.delivered(events.len());
        let covered_through = follower.next_offset().0.checked_sub(1);
        Ok(Some((Batch { events, covered_through, more: true }, (follower, following, app))))
    })
}

/// A page of the list of streams.
pub(crate) struct StreamList {
    pub(crate) streams: Vec<StreamInfo>,
    /// Where to go on; `None` at the end.
    pub(crate) next_after: Option<String>,
}

pub(crate) async fn list_streams(
    app: &App,
    pattern: Option<&Pattern>,
    after: Option<&str>,
    limit: usize,
) -> Result<StreamList, ReadError> {
    // One more than asked for tells whether there are more.
    let mut streams = app.host.store.streams(pattern, after, limit + 1).await?;
    let more = streams.len() > limit;
    streams.truncate(limit);
    let next_after = streams.last().filter(|_| more).map(|last| last.name.to_string());
    Ok(StreamList { streams, next_after })
}

/// Where a follower of "only what comes" begins.
pub(crate) async fn end_of_stream(app: &App, stream: &StreamName) -> Result<Offset, ReadError> {
    let info = app.host.store.stream(stream).await?;
    Ok(info.map_or(Offset(0), |info| info.next_offset))
}
