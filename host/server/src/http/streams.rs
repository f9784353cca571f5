//! Reading: the log, the streams, and their events in pages or lines.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, pin_mut};
use serde_json::{Value, json};
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::limits::read as limits;
use wasmill_core::log::read::ReadError;
use wasmill_core::store::Direction;

use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, failed};
use super::publish::etag;
use super::request::{InPath, wants_lines};
use super::{event_out, view};
use crate::app::App;
use crate::convert::stream_name;
use crate::pages::{self, Batch, How};
use crate::rights;

/// How events are read here.
fn how(params: &mut Params) -> How {
    How { via: "http", raw: params.flag("raw").unwrap_or(false) }
}

pub(super) async fn log(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let next_position = app.host.reader.tail().next().0;
    Ok(Json(json!({ "logId": app.host.log_id.to_string(), "nextPosition": next_position })))
}

pub(super) async fn list(State(app): State<Arc<App>>, mut params: Params) -> Result<Json<Value>, Refusal> {
    let (pattern, after) = (params.pattern("pattern"), params.text("after"));
    let limit = params.limit(PAGE_DEFAULT, limits::LIST_STREAMS_MAX);
    params.finish()?;
    let page = pages::list_streams(&app, pattern.as_ref(), after.as_deref(), limit).await.map_err(failed)?;
    let mut answer = json!({ "streams": page.streams.iter().map(view::stream).collect::<Vec<_>>() });
    if let Some(next_after) = page.next_after {
        answer["nextAfter"] = next_after.into();
    }
    Ok(Json(answer))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let name = stream_name(&name)?;
    rights::may_read(&app.host.stream_configs, &name)?;
    let info = app.host.store.stream(&name).await.map_err(ReadError::Store).map_err(failed)?;
    let info = info.ok_or_else(|| failed(ReadError::StreamNotFound(name)))?;
    let last = info.next_offset.0.checked_sub(1).map(|last| [(header::ETAG, etag(Offset(last)))]);
    Ok((last, Json(view::stream(&info))).into_response())
}

pub(super) async fn events_of_stream(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let stream = stream_name(&name)?;
    let lines = wants_lines(&headers);
    let (range, how) = (params.range(lines, Offset), how(&mut params));
    params.finish()?;
    rights::may_read(&app.host.stream_configs, &stream)?;
    let batches = pages::read_stream(&app, how, &range, stream).await.map_err(failed)?;
    answer(batches, range.direction, lines).await
}

pub(super) async fn events_of_log(
    State(app): State<Arc<App>>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let lines = wants_lines(&headers);
    let (range, filter, how) = (params.range(lines, Position), params.filter(), how(&mut params));
    params.finish()?;
    let batches = pages::read_log(&app, how, &range, filter).await.map_err(failed)?;
    answer(batches, range.direction, lines).await
}

async fn answer(
    batches: impl Stream<Item = Result<Batch, ReadError>> + Send + 'static,
    direction: Direction,
    lines: bool,
) -> Result<Response<Body>, Refusal> {
    if lines { in_lines(batches).await } else { in_page(batches, direction).await }
}

/// The first batch alone is the page.
async fn in_page(
    batches: impl Stream<Item = Result<Batch, ReadError>> + Send,
    direction: Direction,
) -> Result<Response<Body>, Refusal> {
    pin_mut!(batches);
    let Batch { events, covered_through, more } = batches.next().await.transpose().map_err(failed)?.unwrap_or_default();
    let mut out = Vec::with_capacity(64 + events.iter().map(|event| event.raw().len() * 2).sum::<usize>());
    out.extend_from_slice(b"{\"events\":[");
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        event_out::write(&mut out, event);
    }
    out.push(b']');
    if let Some(covered) = covered_through {
        out.extend_from_slice(format!(",\"coveredThrough\":{covered}").as_bytes());
        let next = match direction {
            Direction::Forward => covered.checked_add(1),
            Direction::Backward => covered.checked_sub(1),
        };
        if let Some(next) = next.filter(|_| more) {
            out.extend_from_slice(format!(",\"next\":{next}").as_bytes());
        }
    }
    out.push(b'}');
    Ok(typed("application/json", Body::from(out)))
}

/// One event a line. A failure before the first line is a proper answer; after it the body breaks off,
/// which the client sees, since it has no length.
async fn in_lines(
    batches: impl Stream<Item = Result<Batch, ReadError>> + Send + 'static,
) -> Result<Response<Body>, Refusal> {
    let mut batches = Box::pin(batches);
    let first = batches.next().await.transpose().map_err(failed)?.unwrap_or_default();
    let rest = batches.map(|batch| batch.map(|batch| lines_of(&batch.events)));
    let all = futures_util::stream::iter([Ok(lines_of(&first.events))]).chain(rest);
    Ok(typed("application/x-ndjson", Body::from_stream(all)))
}

fn lines_of(events: &[Event]) -> Bytes {
    let mut out = Vec::with_capacity(events.iter().map(|event| event.raw().len() * 2).sum());
    for event in events {
        event_out::write(&mut out, event);
        out.push(b'\n');
    }
    out.into()
}

pub(super) fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
