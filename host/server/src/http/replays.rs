//! Replays: the past once more, at a pace, beside what is new.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::group::Start;
use wasmill_core::replay::{NewReplay, Pace, Source, Target};

use super::groups::StartJson;
use super::live;
use super::params::Params;
use super::problem::{Refusal, failed};
use super::replay_out::{ReplayView, view};
use super::request::{InPath, json_body, shaped};
use crate::app::App;
use crate::replays;

/// Room for a filter with as many entries as it can have.
const BODY_BYTES_MAX: usize = 256 * 1024;
const VIA: &str = "sse";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReplayJson {
    group: Option<String>,
    projection: Option<String>,
    client: Option<bool>,
    #[serde(default)]
    source: SourceJson,
    from: Option<StartJson>,
    until: Option<StartJson>,
    events_per_second: Option<u64>,
    speed: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SourceJson {
    streams: Vec<String>,
    types: Vec<String>,
    keys: Vec<String>,
    tags: Vec<String>,
    correlation_ids: Vec<String>,
}

fn read(body: &str) -> Result<NewReplay, Problem> {
    let ReplayJson { group, projection, client, source, from, until, events_per_second, speed } = shaped(body)?;
    let target = match (group, projection, client) {
        (Some(group), None, None) => Target::Group(group),
        (None, Some(projection), None) => Target::Projection(projection),
        (None, None, Some(true)) => Target::Client,
        _ => {
            let what = "say who gets the events: one of `group`, `projection` and `client: true`";
            return Err(Problem::new(Code::InvalidArgument, what).with("group", what));
        }
    };
    let SourceJson { streams, types, keys, tags, correlation_ids } = source;
    Ok(NewReplay {
        source: Source { streams, types, keys, tags, correlation_ids },
        from: from.map_or(Ok(Start::First), |from| from.read("from."))?,
        until: until.map(|until| until.read("until.")).transpose()?,
        target,
        pace: Pace { events_per_second, speed },
    })
}

pub(super) async fn list(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let replays = app.host.replays.list().await.map_err(failed)?;
    Ok(Json(json!({ "replays": replays.into_iter().map(view).collect::<Vec<_>>() })))
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let new = read(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let begun = view(replays::start(&app, new).await?);
    let place = format!("/api/replays/{}", begun.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(begun)).into_response())
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<Json<ReplayView>, Refusal> {
    params.finish()?;
    Ok(Json(view(app.host.replays.get(replays::id(&id)?).await.map_err(failed)?)))
}

pub(super) async fn pause(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<Json<ReplayView>, Refusal> {
    params.finish()?;
    Ok(Json(view(app.host.replays.pause(replays::id(&id)?).await.map_err(failed)?)))
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<Json<ReplayView>, Refusal> {
    params.finish()?;
    Ok(Json(view(app.host.replays.resume(replays::id(&id)?).await.map_err(failed)?)))
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<Json<ReplayView>, Refusal> {
    params.finish()?;
    Ok(Json(view(app.host.replays.cancel(replays::id(&id)?).await.map_err(failed)?)))
}

/// Server-sent events, which end with one of the type `done`.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let after = params.number("after");
    params.token();
    params.finish()?;
    let id = replays::id(&id)?;
    // A client that comes back says by itself where it was.
    let seen = live::resume_after(&headers)?.and_then(|next| next.checked_sub(1));
    let batches = replays::receive(&app, VIA, id, seen.or(after).map(Position)).await?;
    Ok(live::replayed(batches))
}
