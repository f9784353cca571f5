//! Whether the host is well, for people, load balancers and container platforms.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use wasmill_core::group::health::GroupHealth;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::plugin::settings::Wanted;
use wasmill_core::plugin::status::{self, PluginStatus};
use wasmill_core::saga::Load;

use crate::app::{App, Caller};
use crate::plugins;

/// A store that does not answer by then counts as gone.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// The process runs and answers.
pub(super) async fn live() -> impl IntoResponse {
    answer(true, json!({ "status": "live" }))
}

/// The host takes requests.
pub(super) async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    let ready = app.is_ready() && writer_runs(&app) && store_answers(&app).await;
    answer(ready, json!({ "status": if ready { "ready" } else { "not ready" } }))
}

/// Everything at a glance. Names of plugins are for those alone who may see them anyway.
pub(super) async fn health(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> impl IntoResponse {
    let (writer, store) = (writer_runs(&app), store_answers(&app).await);
    let ready = app.is_ready() && writer && store;
    let word = |well: bool| if well { "ok" } else { "failed" };
    let mut body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "live": true,
        "ready": ready,
        "draining": !app.is_ready(),
        "store": word(store),
        "writer": word(writer),
        "uptimeSeconds": app.started.elapsed().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    if app.access.is_trusted(&caller.principal) {
        body["projections"] = projections(&app);
        body["groups"] = groups(&app);
        body["plugins"] = plugins(&app).await;
        if let Some(load) = app.host.sagas.load() {
            body["sagas"] = sagas(&load);
        }
    }
    answer(ready, body)
}

fn projections(app: &App) -> Value {
    let plugins = app.host.plugins.list().into_iter().filter(|plugin| plugin.kind == Kind::Projection);
    let states: Map<String, Value> = plugins
        .filter_map(|plugin| {
            let serving = app.host.plugins.deployment(&plugin.name)?.serving()?;
            let (phase, next) = (serving.progress.borrow().phase, serving.next().0);
            let lag = app.host.reader.tail().next().0.saturating_sub(next);
            Some((plugin.name, json!({ "state": phase.as_str(), "lagEvents": lag })))
        })
        .collect();
    states.into()
}

/// Those that do not go on are degraded: they need a person, or time. What was stopped is meant to be.
async fn plugins(app: &App) -> Value {
    let plugin = |known: &PluginStatus| {
        let degraded = matches!(known.state, status::State::Paused | status::State::Retrying);
        let mut told = json!({
            "status": if degraded { "degraded" } else { "healthy" },
            "kind": known.record.kind.as_str(),
            "state": known.state.as_str(),
            "lagEvents": plugins::lag_events(known),
        });
        if degraded {
            let why = known.failure.as_ref().or(known.last_failure.as_ref()).filter(|_| !is_held(known));
            told["reason"] =
                why.map_or_else(|| "its operator has paused it".to_owned(), |why| why.reason.clone()).into();
        }
        (known.record.name.clone(), told)
    };
    plugins::seen(app).await.iter().map(plugin).collect::<Map<_, _>>().into()
}

fn is_held(status: &PluginStatus) -> bool {
    status.settings.wanted != Wanted::Running
}

/// Sagas that need a person degrade them. Only the host that drives them knows.
fn sagas(load: &Load) -> Value {
    let mut told = json!({
        "status": if load.paused > 0 { "degraded" } else { "healthy" },
        "active": load.active,
        "waiting": load.waiting,
        "paused": load.paused,
    });
    if load.paused > 0 {
        told["reason"] = "some go no further without a person".into();
    }
    told
}

/// A group that is behind is its users' concern: it does not make the host unwell.
fn groups(app: &App) -> Value {
    let group = |health: GroupHealth| {
        let mut told = json!({ "status": health.health.as_str(), "lagEvents": health.lag_events });
        if let Some(reason) = health.reason {
            told["reason"] = reason.into();
        }
        (health.group, told)
    };
    app.host.groups.health().into_iter().map(group).collect::<Map<_, _>>().into()
}

/// A critical task that has failed means that the host is about to stop.
fn writer_runs(app: &App) -> bool {
    app.host.tasks.failure().now_or_never().is_none()
}

async fn store_answers(app: &App) -> bool {
    matches!(tokio::time::timeout(STORE_TIMEOUT, app.host.store.head()).await, Ok(Ok(_)))
}

fn answer(well: bool, body: Value) -> impl IntoResponse {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body))
}
