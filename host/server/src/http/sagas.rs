//! Sagas: started, looked at, sent events, forgotten.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmill_core::limits::{publish, saga as limits};
use wasmill_core::saga::view::Query;
use wasmill_core::saga::{Activity, SagaEvent, StartSaga, model};

use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, failed};
use super::request::{InPath, json_body, shaped};
use super::saga_out::{FactView, SagaView, SummaryView};
use super::view;
use crate::app::{App, origin_of};
use crate::grpc::saga::convert;
use crate::sagas;

/// What was started, and how it is after a wait.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartedView {
    saga_id: String,
    correlation_id: String,
    created: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<SagaView>,
}

/// The body is the input. The correlation id stands in the query or the header, so that a body that is handed
/// through from elsewhere need not be changed.
pub(super) async fn start(
    State(app): State<Arc<App>>,
    InPath(saga_type): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (correlation_id, wait_ms) = (params.text("correlationId"), params.number("waitMs").unwrap_or(0));
    params.finish()?;
    let wait = sagas::wait_time(wait_ms, "waitMs")?;
    let correlation_id = correlation_id.or(origin_of(&headers)?.correlation_id);
    let input = json_body(&headers, body, limits::INPUT_BYTES_MAX).await?;
    if !input.is_empty() {
        shaped::<&RawValue>(&input)?;
    }
    let start = StartSaga { saga_type, correlation_id, input: input.into() };
    let (started, known) = sagas::start(&app, start, wait).await?;
    let status = if started.new { StatusCode::CREATED } else { StatusCode::OK };
    let place = format!("/api/sagas/{}/status", started.id);
    let answer = StartedView {
        saga_id: started.id.to_string(),
        correlation_id: started.correlation_id,
        created: started.new,
        status: known.map(|known| convert::saga(known).into()),
    };
    Ok((status, [(header::LOCATION, place)], Json(answer)).into_response())
}

/// Also at the path of the saga itself.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    mut params: Params,
) -> Result<Json<SagaView>, Refusal> {
    let wait_ms = params.number("waitMs").unwrap_or(0);
    params.finish()?;
    let wait = sagas::wait_time(wait_ms, "waitMs")?;
    Ok(Json(convert::saga(sagas::status(&app, sagas::id(&id)?, wait).await?).into()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListView {
    sagas: Vec<SummaryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>, mut params: Params) -> Result<Json<ListView>, Refusal> {
    let query = Query {
        saga_type: params.text("type"),
        state: one_of(&mut params, "state", &model::State::ALL, model::State::as_str),
        activity: one_of(&mut params, "activity", &Activity::ALL, Activity::as_str),
        correlation_id: params.text("correlationId"),
        step: params.text("step"),
        older_than_ms: params.duration("olderThan").map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        after: after(&mut params),
        limit: params.limit(PAGE_DEFAULT, limits::PAGE),
    };
    params.finish()?;
    let page = convert::page(app.host.sagas.list(&query).await.map_err(failed)?);
    let next_after = Some(page.next_after).filter(|after| !after.is_empty());
    Ok(Json(ListView { sagas: page.sagas.into_iter().map(SummaryView::from).collect(), next_after }))
}

/// A parameter that has one of a few words.
fn one_of<T: Copy>(params: &mut Params, name: &'static str, all: &[T], word: impl Fn(T) -> &'static str) -> Option<T> {
    let given = params.text(name)?;
    let found = all.iter().copied().find(|one| word(*one) == given);
    if found.is_none() {
        let words = all.iter().map(|one| word(*one)).collect::<Vec<_>>().join(", ");
        params.refuse(name, format!("`{}` is none of {words}", given.escape_debug()));
    }
    found
}

fn after(params: &mut Params) -> Option<uuid::Uuid> {
    let id = params.text("after")?;
    convert::after(&id).map_err(|problem| params.refuse("after", problem.message)).ok()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TimelineView {
    saga_id: String,
    facts: Vec<FactView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

pub(super) async fn timeline(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    mut params: Params,
) -> Result<Json<TimelineView>, Refusal> {
    let (from, limit) = (params.number("from").unwrap_or(0), params.limit(PAGE_DEFAULT, limits::PAGE));
    params.finish()?;
    let id = sagas::id(&id)?;
    // Beyond all rows there are none.
    let from = u32::try_from(from).unwrap_or(u32::MAX);
    let page = convert::timeline(app.host.sagas.timeline(id, from, limit).await.map_err(failed)?);
    let facts = page.facts.into_iter().map(FactView::from).collect();
    Ok(Json(TimelineView { saga_id: id.to_string(), facts, next: page.next }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventJson<'a> {
    #[serde(rename = "type")]
    event_type: String,
    key: Option<String>,
    stream: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// JSON has escapes and the names of the fields on top of what is stored.
const EVENT_BODY_BYTES_MAX: usize = 2 * publish::EVENT_DATA_BYTES_MAX;

pub(super) async fn send(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    let body = json_body(&headers, body, EVENT_BODY_BYTES_MAX).await?;
    let EventJson { event_type, key, stream, data } = shaped(&body)?;
    let event = SagaEvent { stream, event_type, key, data: Bytes::copy_from_slice(data.get().as_bytes()) };
    let appended = sagas::send(&app, sagas::id(&id)?, event).await?;
    Ok((StatusCode::CREATED, Json(view::appended(&appended))).into_response())
}

pub(super) async fn forget(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    app.host.sagas.forget(sagas::id(&id)?).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}
