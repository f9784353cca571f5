//! Plugins: upload, check, list, remove, logs.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use wasmill_core::limits::plugin as limits;
use wasmill_core::plugin::log::{Level, LogLine};

use super::live;
use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, failed};
use super::request::{InPath, media_type, read_body, unsupported};
use super::streams::typed;
use super::{plugin_life, plugin_out, view};
use crate::app::App;
use crate::{convert, plugin_logs, plugins};

async fn uploaded(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    match media_type(headers).as_deref() {
        None | Some("application/wasm" | "application/octet-stream") => {}
        Some(other) => return Err(unsupported(other, "a component's bytes as application/wasm")),
    }
    read_body(headers, body, limits::COMPONENT_BYTES_MAX).await
}

pub(super) async fn deploy(
    State(app): State<Arc<App>>,
    mut params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let options = plugin_life::deploy_options(&mut params);
    params.finish()?;
    let component = uploaded(&headers, body).await?;
    let done = plugins::deploy(&app, component, &options, "from").await?;
    let status = if done.changed { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(plugin_out::done(&done))))
}

pub(super) async fn check(
    State(app): State<Arc<App>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let component = uploaded(&headers, body).await?;
    Ok(Json(view::checked(&app.host.plugins.check(component).await.map_err(failed)?)))
}

pub(super) async fn list(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(json!({ "plugins": plugins::list(&app).await?.iter().map(plugin_out::plugin).collect::<Vec<_>>() })))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(plugin_out::plugin(&plugins::status(&app, &name).await?)))
}

/// The bytes of a revision, which never change: their hash is their version.
pub(super) async fn component(
    State(app): State<Arc<App>>,
    InPath((name, number)): InPath<(String, u32)>,
    params: Params,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let (revision, component) = plugins::component(&app, &name, Some(number)).await?;
    let mut response = typed("application/wasm", Body::from(component));
    let hash = HeaderValue::from_str(&format!("\"{}\"", revision.record.sha256));
    response.headers_mut().insert(ETAG, hash.expect("a hash is hex"));
    Ok(response)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<StatusCode, Refusal> {
    let force = params.flag("force").unwrap_or(false);
    params.finish()?;
    plugins::remove(&app, &name, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn logs(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let limit = params.limit(PAGE_DEFAULT, limits::LOG_LINES_MAX);
    let level = level(&mut params);
    params.finish()?;
    let lines = app.host.plugins.logs(&name, limit, level).map_err(failed)?;
    Ok(Json(json!({ "lines": lines.iter().map(view::log_line).collect::<Vec<_>>() })))
}

/// Every line as it comes, as server-sent events; their ids are the numbers of the lines.
pub(super) async fn follow_logs(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let (level, from) = (level(&mut params), params.number("from"));
    params.token();
    params.finish()?;
    let from = live::resume_after(&headers)?.or(from);
    let pages = plugin_logs::follow(&app, name, from, level)?;
    Ok(live::pieces(pages.map(|page| page.map(|page| encode(&page.lines))), None))
}

fn encode(lines: &[LogLine]) -> Bytes {
    let mut out = String::new();
    for line in lines {
        // Writing to a string cannot fail.
        let _ = write!(out, "id: {}\ndata: {}\n\n", line.number, view::log_line(line));
    }
    out.into()
}

fn level(params: &mut Params) -> Level {
    let level = convert::level(&params.text("level").unwrap_or_default());
    level.unwrap_or_else(|mistake| {
        params.refuse("level", mistake);
        Level::Trace
    })
}
