//! Queries of read models, and what two generations differ in.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::limits::read as limits;
use wasmill_core::projection::diff::{
    CollectionCounts, Diff, DiffPlace, DiffRequest, Difference, DifferenceKind, Side, ValueChange,
};
use wasmill_core::projection::query::WaitFor;
use wasmill_core::projection::query::find::{Count, Query};
use wasmill_core::record::GenerationId;

use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, failed};
use super::projections::{NEXT_POSITION_HEADER, wait_for};
use super::request::{InPath, json_body, shaped};
use super::view;
use crate::app::App;
use crate::queries::{self, Asked};

/// A condition with lists of values, and a cursor.
const BODY_BYTES_MAX: usize = limits::CONDITION_BYTES_MAX + 8 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    documents: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    count_at_least: bool,
    /// By what they come: an indexed field, or `$key`.
    by: String,
    next_position: u64,
    generation: u64,
}

/// The short form: `where` any number of times.
pub(super) async fn query_by_parameters(
    app: &App,
    name: &str,
    collection: &str,
    mut params: Params,
) -> Result<Response<Body>, Refusal> {
    let (short, prefix, sort) = (params.every("where"), params.text("prefix").unwrap_or_default(), params.text("sort"));
    let (limit, count) = (params.limit(PAGE_DEFAULT, limits::LIST_DOCUMENTS_MAX), params.flag("count"));
    let (cursor, wait_for) = (params.text("cursor"), wait_for(&mut params));
    if params.is_given("after") {
        let _ = params.text("after");
        params.refuse("after", "it goes with the plain list; a query goes on with `cursor`");
    }
    params.finish()?;
    let cursor = cursor.as_deref().map(read_cursor).transpose()?;
    let asked = Asked {
        short: &short,
        json: None,
        prefix: &prefix,
        sort: sort.as_deref(),
        limit,
        cursor: cursor.as_deref(),
        count: count.unwrap_or(false),
    };
    answer(app, name, collection, queries::query(asked, ["where", "where"])?, wait_for).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct QueryBody<'a> {
    #[serde(borrow, default, rename = "where")]
    condition: Option<&'a RawValue>,
    #[serde(default)]
    prefix: String,
    sort: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    count: bool,
    wait_for: Option<u64>,
    timeout: Option<String>,
}

/// The general form.
pub(super) async fn query(
    State(app): State<Arc<App>>,
    InPath((name, collection)): InPath<(String, String)>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let text = json_body(&headers, body, BODY_BYTES_MAX).await?;
    let body: QueryBody<'_> = shaped(&text)?;
    let refuse = |at: &str, what: String| {
        Refusal(Problem::new(Code::InvalidArgument, "the body is not as it should be").with(at, what))
    };
    let limit = body.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=limits::LIST_DOCUMENTS_MAX).contains(&limit) {
        return Err(refuse("limit", format!("{limit} is out of range: 1 to {}", limits::LIST_DOCUMENTS_MAX)));
    }
    let timeout = body.timeout.as_deref().map(|text| {
        let time = humantime::parse_duration(text).ok().filter(|time| *time <= WaitFor::TIMEOUT_MAX);
        time.ok_or_else(|| refuse("timeout", "give a time with its unit, such as 250ms, up to 60s".into()))
    });
    let timeout: Option<Duration> = timeout.transpose()?;
    let wait_for = body
        .wait_for
        .map(|position| WaitFor { position: Position(position), timeout: timeout.unwrap_or(WaitFor::TIMEOUT_DEFAULT) });
    let cursor = body.cursor.as_deref().map(read_cursor).transpose()?;
    let asked = Asked {
        short: &[],
        json: body.condition.map(RawValue::get),
        prefix: &body.prefix,
        sort: body.sort.as_deref(),
        limit,
        cursor: cursor.as_deref(),
        count: body.count,
    };
    answer(&app, &name, &collection, queries::query(asked, ["where", "where"])?, wait_for).await
}

fn read_cursor(text: &str) -> Result<Vec<u8>, Refusal> {
    let message = "it is not one that was answered here";
    let refuse = |_| Refusal(Problem::new(Code::InvalidArgument, message).with("cursor", message));
    BASE64.decode(text).map_err(refuse)
}

async fn answer(
    app: &App,
    name: &str,
    collection: &str,
    query: Query,
    wait_for: Option<WaitFor>,
) -> Result<Response<Body>, Refusal> {
    let answer = app.host.projections.find(name, collection, &query, wait_for).await.map_err(failed)?;
    let (found, next_position) = (answer.value, answer.next_position.0);
    let page = Page {
        documents: found.documents.iter().map(view::document).collect(),
        next_cursor: found.cursor.map(|cursor| BASE64.encode(cursor.to_bytes())),
        count: found.count.map(|count: Count| count.documents),
        count_at_least: found.count.is_some_and(|count| count.at_least),
        by: found.by.map_or_else(|| "$key".to_owned(), |by| by.to_string()),
        next_position,
        generation: found.generation.0,
    };
    Ok(([(NEXT_POSITION_HEADER, next_position.to_string())], Json(page)).into_response())
}

pub(super) async fn diff(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let (collection, limit) = (params.text("collection"), params.limit(PAGE_DEFAULT, limits::LIST_DOCUMENTS_MAX));
    let (before, after) = (params.number("before"), params.number("after"));
    let cursor = params.text("cursor");
    if before.is_some() != after.is_some() {
        params.refuse(if before.is_some() { "after" } else { "before" }, "give both generations, or none");
    }
    params.finish()?;
    let place = cursor.as_deref().map(read_place).transpose()?;
    let generations = before.zip(after).map(|(before, after)| (GenerationId(before), GenerationId(after)));
    let request = DiffRequest { generations, collection, after: place, limit };
    Ok(Json(diff_view(&app.host.projections.diff(&name, &request).await.map_err(failed)?)))
}

/// The two parts of a place, with a separator that no name of a collection has.
fn read_place(text: &str) -> Result<DiffPlace, Refusal> {
    let bytes = read_cursor(text)?;
    let place = std::str::from_utf8(&bytes).ok().and_then(|text| text.split_once('/'));
    let (collection, key) = place.ok_or_else(|| {
        let message = "it is not one that was answered here";
        Refusal(Problem::new(Code::InvalidArgument, message).with("cursor", message))
    })?;
    Ok(DiffPlace { collection: collection.into(), key: key.into() })
}

fn diff_view(diff: &Diff) -> Value {
    let side = |side: &Side| {
        json!({
            "generation": side.generation.0,
            "revision": side.revision,
            "state": side.phase.as_str(),
            "nextPosition": side.next_position.0,
        })
    };
    let mut view = json!({
        "before": side(&diff.before),
        "after": side(&diff.after),
        "samePosition": diff.same_position,
        "differences": diff.differences.iter().map(difference).collect::<Vec<_>>(),
        "lookedAt": diff.looked_at,
    });
    if !diff.collections.is_empty() {
        let counts = |CollectionCounts { name, before, after }: &CollectionCounts| json!({ "name": name, "before": before, "after": after });
        view["collections"] = diff.collections.iter().map(counts).collect();
    }
    if let Some(DiffPlace { collection, key }) = &diff.next {
        view["nextCursor"] = BASE64.encode(format!("{collection}/{key}")).into();
    }
    view
}

fn difference(difference: &Difference) -> Value {
    let Difference { collection, key, kind } = difference;
    let mut view = json!({ "collection": collection, "key": key, "kind": kind.as_str() });
    if let DifferenceKind::Changed(values) = kind {
        let value = |ValueChange { path, before, after }: &ValueChange| {
            let mut view = json!({ "path": path });
            for (name, value) in [("before", before), ("after", after)] {
                if let Some(value) = value {
                    view[name] = value.as_str().into();
                }
            }
            view
        };
        view["values"] = values.iter().map(value).collect();
    }
    view
}
