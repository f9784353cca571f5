//! Queues: streams of which each message is handed to one consumer and leaves when it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::group::{GroupError, Token};
use wasmill_core::limits::group as limits;
use wasmill_core::log::publish::Append;
use wasmill_core::name::StreamName;
use wasmill_core::stream::Caller;

use super::consume::{RefusalJson, VIA, Wrong, handed, outcomes};
use super::event_in;
use super::groups::BODY_BYTES_MAX;
use super::params::Params;
use super::problem::{Refusal, failed};
use super::publish::{BODY_BYTES_MAX as MESSAGES_BYTES_MAX, defaults, layout, queued};
use super::request::{InPath, json_body, read_body, shaped};
use super::view;
use crate::app::App;
use crate::deliveries::{self, Wanted};
use crate::publish::{self, Answer, Publication};
use crate::queues;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Take {
    consumer: String,
    limit: Option<u64>,
    wait_ms: Option<u64>,
    visibility_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    consumer: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nack {
    consumer: String,
    tokens: Vec<Token>,
    refusal: RefusalJson,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extend {
    consumer: String,
    tokens: Vec<Token>,
    visibility_ms: u64,
}

/// Those that have a group, which comes with the first call to a queue, and that clients may read.
pub(super) async fn list(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let mut shown = Vec::new();
    for record in app.host.groups.list().await.map_err(failed)? {
        let Some(stream) = record.config.only_stream().filter(|_| record.queue) else { continue };
        if !app.host.stream_configs.may_read(&StreamName::from_stored(stream), Caller::Api) {
            continue;
        }
        match app.host.groups.status(&record.name).await {
            Ok(status) => shown.push(view::queue(stream, &status)),
            // It was removed meanwhile.
            Err(GroupError::NotFound(_)) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(Json(json!({ "queues": shown })))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let (stream, group) = queues::group(&app, &name).await?;
    let status = app.host.groups.status(&group).await.map_err(failed)?;
    Ok(Json(view::queue(stream.as_str(), &status)))
}

pub(super) async fn put(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<axum::response::Response, Refusal> {
    params.finish()?;
    let layout = layout(&headers)?;
    let body = read_body(&headers, body, MESSAGES_BYTES_MAX).await?;
    queues::group(&app, &name).await?;
    let events = event_in::messages(&body, layout, &defaults(&headers)?)?;
    let append = Append { stream: name, events, ..Append::default() };
    match publish::append(&app, Publication { append, ..Publication::default() }).await? {
        Answer::Stored(appended) => {
            let answer = json!({
                "firstOffset": appended.first_offset.0,
                "lastOffset": appended.last_offset().0,
                "duplicate": appended.duplicate,
            });
            Ok((StatusCode::CREATED, Json(answer)).into_response())
        }
        Answer::Queued => Ok(queued()),
    }
}

pub(super) async fn take(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let Take { consumer, limit, wait_ms, visibility_ms } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    let limit = wrong.range("limit", limit.unwrap_or(1), 1, limits::PULL_EVENTS_MAX as u64);
    let wait_ms = wrong.range("waitMs", wait_ms.unwrap_or(0), 0, limits::PULL_WAIT_MS_MAX);
    let lease_ms = visibility_ms.map(|ms| visibility(&mut wrong, ms));
    wrong.finish()?;
    let consumer = queues::consumer(&app, &name, &consumer).await?;
    let wanted =
        Wanted { events_max: usize::try_from(limit).unwrap_or(1), wait: Duration::from_millis(wait_ms), lease_ms };
    let handings = deliveries::pull(&app, VIA, &consumer, wanted).await;
    Ok(handed("messages", &handings.map_err(failed)?))
}

fn visibility(wrong: &mut Wrong, ms: u64) -> u64 {
    wrong.range("visibilityMs", ms, limits::TIMEOUT_MS_MIN, limits::TIMEOUT_MS_MAX)
}

pub(super) async fn ack(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Ack { consumer, tokens } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    wrong.tokens(&tokens);
    wrong.finish()?;
    let consumer = queues::consumer(&app, &name, &consumer).await?;
    Ok(outcomes(&consumer.ack(tokens).await.map_err(failed)?))
}

pub(super) async fn nack(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Nack { consumer, tokens, refusal } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    wrong.tokens(&tokens);
    let refusal = refusal.read(&mut wrong);
    wrong.finish()?;
    let consumer = queues::consumer(&app, &name, &consumer).await?;
    Ok(outcomes(&consumer.nack(tokens, refusal).await.map_err(failed)?))
}

pub(super) async fn extend(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Extend { consumer, tokens, visibility_ms } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    wrong.tokens(&tokens);
    visibility(&mut wrong, visibility_ms);
    wrong.finish()?;
    let consumer = queues::consumer(&app, &name, &consumer).await?;
    Ok(outcomes(&consumer.extend(tokens, visibility_ms).await.map_err(failed)?))
}
