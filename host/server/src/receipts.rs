//! Receipts, as both faces see them. Each call needs what reading the stream needs, and of streams that clients
//! may not read nothing is told.

use std::sync::Arc;

use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Event, Offset};
use wasmill_core::limits::receipt as limits;
use wasmill_core::log_id;
use wasmill_core::name::StreamName;
use wasmill_core::receipt::{ConsumerPage, Mark, Place, Progress, Receipt, ReceiptError, ReceiptPage, check_consumer};
use wasmill_core::stream::Caller;

use crate::app::App;
use crate::convert::stream_name;
use crate::errors::report;
use crate::rights;

/// A name, and whether clients may read its stream.
fn readable(app: &App, stream: &str) -> Result<StreamName, Problem> {
    let stream = stream_name(stream)?;
    rights::may_read(&app.host.stream_configs, &stream)?;
    Ok(stream)
}

/// Notes both, or names all that is wrong.
pub(crate) async fn note(
    app: &App,
    stream: &str,
    consumer: &str,
    delivered: Vec<u64>,
    read: Vec<u64>,
) -> Result<(), Problem> {
    let stream = readable(app, stream)?;
    let info = app.host.store.stream(&stream).await.map_err(ReceiptError::from).map_err(report)?;
    let info = info.ok_or_else(|| report(ReceiptError::StreamNotFound(stream.clone())))?;
    let mut wrong = Problem::new(Code::InvalidArgument, "receipts are not as they should be; nothing was noted");
    if let Err(ReceiptError::Invalid { at, what }) = check_consumer(consumer) {
        wrong = wrong.with(at, what);
    }
    if delivered.is_empty() && read.is_empty() {
        wrong = wrong.with("read", "it is empty; give `delivered`, `read`, or both");
    }
    for (at, offsets) in [("delivered", &delivered), ("read", &read)] {
        if offsets.len() > limits::MARKS_MAX {
            wrong = wrong.with(at, format!("it has {} offsets; the limit is {}", offsets.len(), limits::MARKS_MAX));
        }
        if let Some(beyond) = offsets.iter().find(|offset| **offset >= info.next_offset.0) {
            let next = info.next_offset;
            wrong = wrong.with(at, format!("there is no event {beyond} yet; the stream's next one is {next}"));
        }
    }
    if !wrong.details.is_empty() {
        return Err(wrong);
    }
    let marks = |mark: Mark, offsets: Vec<u64>| offsets.into_iter().map(move |offset| (Offset(offset), mark));
    let marks = marks(Mark::Delivered, delivered).chain(marks(Mark::Read, read)).collect();
    app.host.receipts.note(&stream, consumer, marks).await.map_err(report)
}

/// A consumer's name, as it is given beside a subscription.
pub(crate) fn consumer(name: &str) -> Result<Arc<str>, Problem> {
    check_consumer(name).map_err(report)?;
    Ok(name.into())
}

/// Notes events as delivered that are about to be handed out. It does not wait until that is durable: nobody was
/// told. What cannot be noted does not keep the events back.
pub(crate) async fn delivered(app: &App, consumer: &str, events: Vec<(StreamName, Vec<Offset>)>) {
    for (stream, offsets) in events {
        let marks = offsets.into_iter().map(|offset| (offset, Mark::Delivered)).collect();
        if let Err(error) = app.host.receipts.submit(stream, consumer.to_owned(), marks).await {
            let (event_id, error) = (log_id::RECEIPT_NOT_NOTED, error.to_string());
            tracing::warn!(event_id, consumer, error, "a delivery was not noted");
        }
    }
}

/// Where events stand.
pub(crate) fn places(events: &[Event]) -> Vec<(StreamName, Vec<Offset>)> {
    let of_stream = |events: &[Event]| {
        let stream = StreamName::from_stored(events.first()?.stream());
        Some((stream, events.iter().map(Event::offset).collect()))
    };
    events.chunk_by(|a, b| a.stream() == b.stream()).filter_map(of_stream).collect()
}

/// Everyone who was delivered an event; and who to go on after, if there are more.
pub(crate) async fn of_event(
    app: &App,
    stream: &str,
    offset: u64,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Receipt>, Option<String>), Problem> {
    let stream = readable(app, stream)?;
    let (found, more) = app.host.receipts.of_event(&stream, Offset(offset), after, limit).await.map_err(report)?;
    let next_after = found.last().filter(|_| more).map(|last| last.consumer.clone());
    Ok((found, next_after))
}

/// How far each consumer of a stream is; and who to go on after.
pub(crate) async fn consumers(
    app: &App,
    stream: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Progress)>, Option<String>), Problem> {
    let stream = readable(app, stream)?;
    let ConsumerPage { consumers, more } = app.host.receipts.consumers(&stream, after, limit).await.map_err(report)?;
    let next_after = consumers.last().filter(|_| more).map(|(last, _)| last.clone());
    Ok((consumers, next_after))
}

/// How far a consumer is in each of its streams; and what to go on after.
pub(crate) async fn streams_of(
    app: &App,
    consumer: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Progress)>, Option<String>), Problem> {
    let (mut found, mut after) = (Vec::new(), after.map(str::to_owned));
    loop {
        let page = app.host.receipts.streams_of(consumer, after.as_deref(), limit).await.map_err(report)?;
        let Some((last, _)) = page.consumers.last() else { return Ok((found, None)) };
        after = Some(last.clone());
        for (stream, progress) in page.consumers {
            if !may_read(app, &stream) {
                continue;
            }
            if found.len() == limit {
                let next_after = found.last().map(|(last, _): &(String, Progress)| last.clone());
                return Ok((found, next_after));
            }
            found.push((stream, progress));
        }
        if !page.more {
            return Ok((found, None));
        }
    }
}

/// Which receipts of a consumer are wanted.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Those of this stream alone.
    pub(crate) stream: Option<String>,
    /// Where to begin.
    pub(crate) from: Option<(String, u64)>,
    pub(crate) unread: bool,
    pub(crate) limit: usize,
}

pub(crate) async fn of_consumer(app: &App, consumer: &str, wanted: Wanted) -> Result<ReceiptPage, Problem> {
    let Wanted { stream, from, unread, limit } = wanted;
    let only = stream.map(|stream| readable(app, &stream)).transpose()?;
    let mut from = match (&only, from) {
        (Some(only), Some((stream, _))) if only.as_str() != stream => {
            let message = format!("it lies in `{stream}`, and those of `{only}` alone are wanted");
            return Err(Problem::new(Code::InvalidArgument, "it is not clear where to begin").with("from", message));
        }
        (_, Some((stream, offset))) => {
            Some(Place { stream: stream_name(&stream)?.to_string(), offset: Offset(offset) })
        }
        (Some(only), None) => Some(Place { stream: only.to_string(), offset: Offset(0) }),
        (None, None) => None,
    };
    let mut found = ReceiptPage::default();
    loop {
        let missing = limit - found.receipts.len();
        let page =
            app.host.receipts.of_consumer(consumer, from, only.is_some(), unread, missing).await.map_err(report)?;
        found.receipts.extend(page.receipts.into_iter().filter(|receipt| may_read(app, receipt.stream.as_str())));
        match page.next {
            // The name of such a stream is not told: it is passed over, now or by the next page.
            Some(next) if !may_read(app, &next.stream) && found.receipts.len() >= limit => {
                let behind =
                    |last: &Receipt| Place { stream: last.stream.to_string(), offset: Offset(last.offset.0 + 1) };
                found.next = found.receipts.last().map(behind);
                return Ok(found);
            }
            Some(next) if !may_read(app, &next.stream) => from = Some(Place { offset: Offset(u64::MAX), ..next }),
            next => {
                found.next = next;
                return Ok(found);
            }
        }
    }
}

fn may_read(app: &App, stream: &str) -> bool {
    app.host.stream_configs.may_read(&StreamName::from_stored(stream), Caller::Api)
}
