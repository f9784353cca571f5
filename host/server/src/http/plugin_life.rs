//! The life of a plugin: how it is, its revisions and settings, and what is done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::settings::Wanted;
use wasmill_core::plugin::setup::SetupChange;

use super::groups::BODY_BYTES_MAX;
use super::params::{PAGE_DEFAULT, Params};
use super::plugin_out;
use super::problem::Refusal;
use super::request::{InPath, json_body, shaped};
use crate::app::App;
use crate::convert;
use crate::plugins::{self, DRAIN_DEFAULT, DRAIN_MAX, REVISIONS_MAX};

/// Configuration and grants as a body has them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Change {
    set: BTreeMap<String, String>,
    unset: BTreeSet<String>,
    grant: BTreeSet<String>,
    revoke: BTreeSet<String>,
    grant_all: bool,
}

/// The same as parameters, for a deployment, whose body is the component: `set=NAME=VALUE` and so on.
pub(super) fn deploy_options(params: &mut Params) -> DeployOptions {
    let mut set = BTreeMap::new();
    for pair in params.each("set") {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => drop(set.insert(name.to_owned(), value.to_owned())),
            Some(_) | None => params.refuse("set", format!("`{}` is not NAME=VALUE", pair.escape_debug())),
        }
    }
    let mut texts = |name| params.each(name).into_iter().collect();
    let (unset, grant, revoke) = (texts("unset"), texts("grant"), texts("revoke"));
    let grant_all = params.flag("grantAll").unwrap_or(false);
    let start = params.text("from").and_then(|place| {
        let start = convert::place(&place);
        start.map_err(|mistake| params.refuse("from", format!("`{}`: {mistake}", place.escape_debug()))).ok()
    });
    DeployOptions { setup: SetupChange { set, unset, grant, revoke, grant_all }, start }
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(plugin_out::status(&plugins::overview(&app, &name).await?)))
}

pub(super) async fn revisions(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let limit = params.limit(PAGE_DEFAULT, REVISIONS_MAX);
    params.finish()?;
    let revisions = plugins::revisions(&app, &name, limit).await?;
    Ok(Json(json!({ "revisions": revisions.iter().map(plugin_out::revision).collect::<Vec<_>>() })))
}

pub(super) async fn configure(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Change { set, unset, grant, revoke, grant_all } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let change = SetupChange { set, unset, grant, revoke, grant_all };
    Ok(Json(plugin_out::done(&plugins::configure(&app, &name, change).await?)))
}

pub(super) async fn settings(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(plugins::settings_json(&plugins::settings(&app, &name).await?)))
}

pub(super) async fn change_settings(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let patch: Value = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    Ok(Json(plugins::settings_json(&plugins::change_settings(&app, &name, &patch).await?)))
}

/// `start`, `stop`, `pause` and `resume` are paths of their own.
async fn want(app: &App, name: &str, params: Params, wanted: Wanted) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(plugin_out::status(&plugins::want(app, name, wanted).await?)))
}

/// Also `resume`: there is one way to run.
pub(super) async fn run(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    want(&app, &name, params, Wanted::Running).await
}

pub(super) async fn stop(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    want(&app, &name, params, Wanted::Stopped).await
}

pub(super) async fn pause(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    want(&app, &name, params, Wanted::Paused).await
}

pub(super) async fn roll_back(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let to = params.number("to").and_then(|number| {
        let revision = u32::try_from(number);
        revision.map_err(|_| params.refuse("to", format!("{number} is not the number of a revision"))).ok()
    });
    params.finish()?;
    Ok(Json(plugin_out::plugin(&plugins::roll_back(&app, &name, to).await?)))
}

pub(super) async fn drain(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let timeout = params.duration("timeout").unwrap_or(DRAIN_DEFAULT);
    if timeout > DRAIN_MAX {
        params.refuse("timeout", format!("it is longer than {DRAIN_MAX:?}"));
    }
    params.finish()?;
    Ok(Json(json!({ "drained": plugins::drain(&app, &name, timeout).await? })))
}

pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let drop_standby = params.flag("dropStandby").unwrap_or(false);
    params.finish()?;
    Ok(Json(json!({ "done": plugins::confirm(&app, &name, drop_standby).await? })))
}
