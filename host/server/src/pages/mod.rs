//! Reads and follows as streams of pages. A page is read when the one before has been taken, so that
//! a slow reader holds one page and slows only itself.

mod range;

use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use prometheus::core::{AtomicU64, GenericCounter};
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::limits::read as limits;
use wasmill_core::log::filter::Filter;
use wasmill_core::log::read::{LogPage, ReadError, Reader, StreamPage};
use wasmill_core::metrics::Metrics;
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::record::StreamInfo;
use wasmill_core::store::PageLimit;
use wasmill_core::stream::Caller;

use crate::app::App;
use crate::rights::keep_readable;

pub(crate) use range::{Bound, Range};
use range::{Reading, Span};

/// Offsets and positions end here, so that each is a JSON number.
pub(crate) const NUMBER_MAX: u64 = (1 << 53) - 1;

pub(crate) const PAGE: PageLimit = PageLimit { events: limits::PAGE_EVENTS_MAX, bytes: limits::PAGE_BYTES_MAX };

/// In which way events are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// What their deliveries are counted under.
    pub(crate) via: &'static str,
    /// As they were published, not in their newest version.
    pub(crate) raw: bool,
}

impl How {
    pub(crate) fn reader(self, app: &App) -> Reader {
        if self.raw { app.host.reader.raw() } else { app.host.reader.clone() }
    }
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

/// The log, page by page. Forward reads end with what was there when they began, however fast it grows.
pub(crate) async fn read_log(
    app: &Arc<App>,
    how: How,
    range: &Range<Position>,
    filter: Filter,
) -> Result<impl Stream<Item = Result<Batch, ReadError>> + Send + use<>, ReadError> {
    let reader = how.reader(app);
    let span = Span::of_log(&reader, range).await?;
    let reading = Reading::new(span, range.direction, range.limit, |event| event.position().0);
    let (delivered, filter, configs) = (delivered(app, how.via), Arc::new(filter), app.host.stream_configs.clone());
    Ok(try_unfold(reading, move |mut reading| {
        let (reader, filter, delivered) = (reader.clone(), Arc::clone(&filter), delivered.clone());
        let configs = configs.clone();
        async move {
            let Some(from) = reading.next else { return Ok(None) };
            let page = reader.log_page(Position(from), reading.direction, &filter, reading.page_limit()).await?;
            let LogPage { mut events, next, end } = page;
            keep_readable(&configs, &mut events);
            let batch = reading.take(events, next.map(|next| next.0), end);
            delivered.inc_by(batch.events.len() as u64);
            Ok(Some((batch, reading)))
        }
    }))
}

/// One stream, page by page.
pub(crate) async fn read_stream(
    app: &Arc<App>,
    how: How,
    range: &Range<Offset>,
    stream: StreamName,
) -> Result<impl Stream<Item = Result<Batch, ReadError>> + Send + use<>, ReadError> {
    let reader = how.reader(app);
    let span = Span::of_stream(&reader, range, &stream).await?;
    let reading = Reading::new(span, range.direction, range.limit, |event| event.offset().0);
    let delivered = delivered(app, how.via);
    Ok(try_unfold(reading, move |mut reading| {
        let (reader, stream, delivered) = (reader.clone(), stream.clone(), delivered.clone());
        async move {
            let Some(from) = reading.next else { return Ok(None) };
            let page = reader.stream_page(&stream, Offset(from), reading.direction, reading.page_limit()).await?;
            let StreamPage { events, next, end, next_offset } = page;
            reading.span.high = reading.span.high.min(next_offset.0);
            let batch = reading.take(events, next.map(|next| next.0), end);
            delivered.inc_by(batch.events.len() as u64);
            Ok(Some((batch, reading)))
        }
    }))
}

fn delivered(app: &App, via: &str) -> GenericCounter<AtomicU64> {
    app.host.metrics.events_delivered.with_label_values(&[via])
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

/// The log from `from` on, for ever. Ends with the host's stop.
pub(crate) fn follow_log(
    app: &Arc<App>,
    how: How,
    from: Position,
    filter: Filter,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + use<> {
    let follower = how.reader(app).follow_log(from, filter);
    let following = Following::new(&app.host.metrics, how.via);
    try_unfold((follower, following, Arc::clone(app)), |(mut follower, following, app)| async move {
        let mut page = tokio::select! {
            biased;
            () = app.drain.cancelled() => return Err(ReadError::Stopped),
            page = follower.next_page(PAGE) => page?,
        };
        keep_readable(&app.host.stream_configs, &mut page.events);
        following.delivered(page.events.len());
        let covered_through = follower.next_position().0.checked_sub(1);
        Ok(Some((Batch { events: page.events, covered_through, more: true }, (follower, following, app))))
    })
}

/// What matches of one stream from an offset on, for ever; the offset may lie beyond its end.
pub(crate) fn follow_stream(
    app: &Arc<App>,
    how: How,
    (stream, from): (StreamName, Offset),
    filter: Filter,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + use<> {
    let follower = how.reader(app).follow_stream(stream, from);
    let following = Following::new(&app.host.metrics, how.via);
    try_unfold((follower, filter, following, Arc::clone(app)), |(mut follower, filter, following, app)| async move {
        let mut events = tokio::select! {
            biased;
            () = app.drain.cancelled() => return Err(ReadError::Stopped),
            events = follower.next_page(PAGE) => events?,
        };
        events.retain(|event| filter.matches(event));
        keep_readable(&app.host.stream_configs, &mut events);
        following.delivered(events.len());
        let covered_through = follower.next_offset().0.checked_sub(1);
        Ok(Some((Batch { events, covered_through, more: true }, (follower, filter, following, app))))
    })
}

/// A page of the list of streams, without those that clients may not read.
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
    streams.retain(|info| app.host.stream_configs.may_read(&info.name, Caller::Api));
    Ok(StreamList { streams, next_after })
}

/// Where a follower of the log begins; `None`: with what comes.
pub(crate) async fn start_in_log(app: &App, from: Option<Bound<Position>>) -> Result<Position, ReadError> {
    match from {
        None => Ok(app.host.reader.tail().next()),
        Some(Bound::At(position)) => Ok(position),
        Some(Bound::Time(time)) => app.host.reader.position_at(time).await,
    }
}

/// The same for one stream, which need not exist yet.
pub(crate) async fn start_in_stream(
    app: &App,
    stream: &StreamName,
    from: Option<Bound<Offset>>,
) -> Result<Offset, ReadError> {
    match from {
        None => Ok(app.host.store.stream(stream).await?.map_or(Offset(0), |info| info.next_offset)),
        Some(Bound::At(offset)) => Ok(offset),
        Some(Bound::Time(time)) => app.host.reader.offset_at(stream, time).await,
    }
}
