//! Following live by server-sent events. `id` is the offset or position of an event, so that a browser
//! goes on after the last one that it has seen (`Last-Event-ID`) by itself.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::Bytes;
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::log::read::ReadError;

use super::event_out;
use super::params::Params;
use super::problem::{Refusal, failed};
use super::request::InPath;
use super::streams::typed;
use crate::app::App;
use crate::convert::stream_name;
use crate::errors;
use crate::pages::{self, Batch, Bound, How, NUMBER_MAX};
use crate::{receipts, rights};

/// Keeps proxies from closing a connection on which nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const RETRY_MS: u32 = 1000;
/// The id before the first event: nothing was seen.
const NOTHING_SEEN: &str = "-1";

/// How events are read here.
fn how(params: &mut Params) -> How {
    How { via: "sse", raw: params.flag("raw").unwrap_or(false) }
}

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let (from, filter) = (params.bound(["from", "fromTime"], Offset), params.filter_in_stream());
    let (consumer, how) = (params.text("consumer"), how(&mut params));
    params.token();
    params.finish()?;
    let consumer = consumer.map(|consumer| receipts::consumer(&consumer)).transpose()?;
    let stream = stream_name(&name)?;
    rights::may_read(&app.host.stream_configs, &stream)?;
    let from = resume_after(&headers)?.map(|next| Bound::At(Offset(next))).or(from);
    let from = pages::start_in_stream(&app, &stream, from).await.map_err(failed)?;
    let batches = pages::follow_stream(&app, how, (stream, from), filter);
    Ok(sent(noted(app, consumer, batches), from.0, |event| event.offset().0))
}

pub(super) async fn log(
    State(app): State<Arc<App>>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let (from, filter) = (params.bound(["from", "fromTime"], Position), params.filter());
    let (consumer, how) = (params.text("consumer"), how(&mut params));
    params.token();
    params.finish()?;
    let consumer = consumer.map(|consumer| receipts::consumer(&consumer)).transpose()?;
    let from = resume_after(&headers)?.map(|next| Bound::At(Position(next))).or(from);
    let from = pages::start_in_log(&app, from).await.map_err(failed)?;
    let batches = pages::follow_log(&app, how, from, filter);
    Ok(sent(noted(app, consumer, batches), from.0, |event| event.position().0))
}

/// Notes what is handed out as delivered to a consumer, if one is named.
fn noted(
    app: Arc<App>,
    consumer: Option<Arc<str>>,
    batches: impl Stream<Item = Result<Batch, ReadError>> + Send + 'static,
) -> impl Stream<Item = Result<Batch, ReadError>> + Send + 'static {
    batches.then(move |batch| {
        let (app, consumer) = (Arc::clone(&app), consumer.clone());
        async move {
            if let (Ok(batch), Some(consumer)) = (&batch, &consumer) {
                receipts::delivered(&app, consumer, receipts::places(&batch.events)).await;
            }
            batch
        }
    })
}

/// Where a client that was here before goes on.
pub(super) fn resume_after(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    if value == NOTHING_SEEN {
        return Ok(Some(0));
    }
    let last = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok()).filter(|last| *last < NUMBER_MAX);
    last.map(|last| Some(last + 1)).ok_or_else(|| {
        let message = format!("it is the id of an event that was received here, 0 to {}", NUMBER_MAX - 1);
        Problem::new(Code::InvalidArgument, "the place to go on from cannot be read").with("Last-Event-ID", message)
    })
}

fn sent(
    batches: impl Stream<Item = Result<Batch, ReadError>> + Send + 'static,
    from: u64,
    id: fn(&Event) -> u64,
) -> Response<Body> {
    // With an id from the start, a browser that loses its connection before the first event does not
    // begin at a later end when it comes back.
    let seen = from.checked_sub(1).map_or_else(|| NOTHING_SEEN.to_owned(), |seen| seen.to_string());
    events(batches.map(|batch| batch.map_err(errors::report)), Some(&seen), id)
}

/// A replay, which ends with an event of the type `done`: the browser is not to come back.
pub(super) fn replayed(batches: impl Stream<Item = Result<Batch, Problem>> + Send + 'static) -> Response<Body> {
    events(batches, None, |event| event.position().0)
}

fn events(
    batches: impl Stream<Item = Result<Batch, Problem>> + Send + 'static,
    seen: Option<&str>,
    id: fn(&Event) -> u64,
) -> Response<Body> {
    pieces(batches.map(move |batch| batch.map(|batch| encode(&batch, id))), seen)
}

/// Server-sent events that are encoded already, as one answer; `seen` is the id before the first of them.
pub(super) fn pieces(
    pieces: impl Stream<Item = Result<Bytes, Problem>> + Send + 'static,
    seen: Option<&str>,
) -> Response<Body> {
    let following = unfold(Some(pieces.boxed()), move |pieces| async move {
        let mut pieces = pieces?;
        let (bytes, pieces) = match tokio::time::timeout(HEARTBEAT, pieces.next()).await {
            Err(_) => (Bytes::from_static(b": still here\n\n"), Some(pieces)),
            Ok(Some(Ok(piece))) => (piece, Some(pieces)),
            Ok(Some(Err(problem))) => (farewell(&problem), None),
            Ok(None) => (Bytes::from_static(b"event: done\ndata: {}\n\n"), None),
        };
        Some((Ok::<_, Infallible>(bytes), pieces))
    });
    let id_line = seen.map(|seen| format!("id: {seen}\n")).unwrap_or_default();
    let hello = futures_util::stream::iter([Ok(format!("retry: {RETRY_MS}\n{id_line}\n").into())]);
    let mut response = typed("text/event-stream", Body::from_stream(hello.chain(following)));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would wait for more.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn encode(batch: &Batch, id: fn(&Event) -> u64) -> Bytes {
    let mut out = Vec::with_capacity(64 + batch.events.iter().map(|event| event.raw().len() * 2).sum::<usize>());
    for event in &batch.events {
        out.extend_from_slice(format!("id: {}\ndata: ", id(event)).as_bytes());
        event_out::write(&mut out, event);
        out.extend_from_slice(b"\n\n");
    }
    // Without data nothing is dispatched, but the browser remembers how far it has come.
    if let (true, Some(covered)) = (batch.events.is_empty(), batch.covered_through) {
        out.extend_from_slice(format!("id: {covered}\n\n").as_bytes());
    }
    out.into()
}

/// A host that stops says nothing: the browser comes back by itself. Anything else is told.
fn farewell(problem: &Problem) -> Bytes {
    if problem.code == Code::Draining {
        return Bytes::from_static(b": the host is stopping\n\n");
    }
    // Who was overtaken by another would overtake it in turn.
    let stay_away = if problem.code == Code::ReplayState { "retry: 86400000\n" } else { "" };
    let data = serde_json::json!({ "code": problem.code.as_str(), "message": problem.message });
    format!("{stay_away}event: problem\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_goes_on_after_the_last_event_that_it_has_seen() {
        let resume = |value: &str| {
            let headers = [(header::HeaderName::from_static("last-event-id"), value.parse().unwrap())];
            resume_after(&HeaderMap::from_iter(headers)).map_err(|problem| problem.code)
        };
        assert_eq!(resume("41"), Ok(Some(42)));
        assert_eq!(resume(""), Ok(None));
        assert_eq!(resume(NOTHING_SEEN), Ok(Some(0)));
        for wrong in ["x", "-2", "9007199254740991", "1.5"] {
            assert_eq!(resume(wrong), Err(Code::InvalidArgument), "{wrong}");
        }
    }
}
