//! Read models: how they are doing, and what is in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_core::event::Position;
use wasmill_core::limits::read as limits;
use wasmill_core::projection::query::WaitFor;
use wasmill_core::store::Document;

use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, failed};
use super::request::InPath;
use super::{read_models, view};
use crate::app::App;

pub(super) const NEXT_POSITION_HEADER: &str = "wasmill-next-position";

pub(super) async fn list(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let projections = app.host.projections.list().await.map_err(failed)?;
    Ok(Json(json!({ "projections": projections.iter().map(view::projection).collect::<Vec<_>>() })))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(view::projection(&app.host.projections.get(&name).await.map_err(failed)?)))
}

pub(super) async fn rebuild(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    params.finish()?;
    let generation = app.host.projections.rebuild(&name).await.map_err(failed)?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "generation": generation.0 }))))
}

/// `waitFor` is the position of an event that has to be in the answer, `timeout` how long it may take.
pub(super) fn wait_for(params: &mut Params) -> Option<WaitFor> {
    let (position, timeout) = (params.number("waitFor").map(Position), params.duration("timeout"));
    if timeout.is_some() && position.is_none() {
        params.refuse("timeout", "it goes with waitFor, which is missing");
    }
    if timeout.is_some_and(|timeout| timeout > WaitFor::TIMEOUT_MAX) {
        params.refuse("timeout", format!("it is longer than {:?}", WaitFor::TIMEOUT_MAX));
    }
    Some(WaitFor { position: position?, timeout: timeout.unwrap_or(WaitFor::TIMEOUT_DEFAULT) })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    documents: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
    next_position: u64,
}

pub(super) async fn documents(
    State(app): State<Arc<App>>,
    InPath((name, collection)): InPath<(String, String)>,
    mut params: Params,
) -> Result<Response<Body>, Refusal> {
    if ["where", "sort", "cursor", "count"].iter().any(|name| params.is_given(name)) {
        return read_models::query_by_parameters(&app, &name, &collection, params).await;
    }
    let (prefix, after) = (params.text("prefix").unwrap_or_default(), params.text("after"));
    let (limit, wait_for) = (params.limit(PAGE_DEFAULT, limits::LIST_DOCUMENTS_MAX), wait_for(&mut params));
    params.finish()?;
    let answer = app.host.projections.documents(&name, &collection, &prefix, after.as_deref(), limit, wait_for);
    let answer = answer.await.map_err(failed)?;
    let (page, next_position) = (answer.value, answer.next_position.0);
    let next_after = page.documents.last().filter(|_| page.more).map(|last| last.key.clone());
    let documents = page.documents.iter().map(view::document).collect();
    let page = Json(Page { documents, next_after, next_position });
    Ok(([(NEXT_POSITION_HEADER, next_position.to_string())], page).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    projection: &'a str,
    collection: &'a str,
    /// Texts, not values: numbers keep all their digits, as they do in a page.
    #[serde(flatten)]
    document: BTreeMap<String, Box<RawValue>>,
    next_position: u64,
}

pub(super) async fn document(
    State(app): State<Arc<App>>,
    InPath((name, collection, key)): InPath<(String, String, String)>,
    mut params: Params,
) -> Result<Response<Body>, Refusal> {
    let wait_for = wait_for(&mut params);
    params.finish()?;
    let answer = app.host.projections.document(&name, &collection, &key, wait_for).await.map_err(failed)?;
    let next_position = answer.next_position.0;
    let document = view::document(&Document { key, value: answer.value });
    let document = serde_json::from_str(document.get()).unwrap_or_default();
    let one = Json(One { projection: &name, collection: &collection, document, next_position });
    Ok(([(NEXT_POSITION_HEADER, next_position.to_string())], one).into_response())
}
