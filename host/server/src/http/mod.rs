//! The HTTP face: converts, calls, converts. JSON in camelCase, problem+json for every failure.

pub(crate) mod cors;
pub(crate) mod problem;

pub(crate) mod event_in;
pub(crate) mod event_out;
pub(crate) mod params;
pub(crate) mod request;
pub(crate) mod transaction_in;
mod view;

mod changes;
pub(crate) mod consume;
mod dead_letters;
mod docs;
mod groups;
mod health;
mod lifecycle;
mod live;
mod metrics;
mod plugin_life;
mod plugin_out;
mod plugins;
mod projections;
mod publish;
mod queues;
mod read_models;
mod receipts;
pub(crate) mod replay_out;
mod replays;
mod saga_orders;
pub(crate) mod saga_out;
mod sagas;
pub(crate) mod schedule_out;
mod schedules;
mod schemas;
mod streams;
mod subscriptions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use wasmill_core::code::{Code, Problem};

use crate::app::App;
use crate::hub;
use crate::ws;
use problem::Refusal;

/// One path, with its methods.
struct Route {
    path: &'static str,
    methods: &'static [&'static str],
    handlers: MethodRouter<Arc<App>>,
}

fn route(path: &'static str, methods: &'static [&'static str], handlers: MethodRouter<Arc<App>>) -> Route {
    Route { path, methods, handlers }
}

const DELETE: &[&str] = &["DELETE"];
const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const PUT: &[&str] = &["PUT"];

/// Every path that there is. `openapi.json` describes the same ones, which a test makes sure of.
fn table() -> Vec<Route> {
    vec![
        route("/", GET, get(docs::index)),
        route("/openapi.json", GET, get(docs::openapi)),
        route("/errors/{code}", GET, get(docs::error)),
        route("/health", GET, get(health::health)),
        route("/health/live", GET, get(health::live)),
        route("/health/ready", GET, get(health::ready)),
        route("/metrics", GET, get(metrics::metrics)),
        route("/api/log", GET, get(streams::log)),
        route("/api/events", GET, get(streams::events_of_log)),
        route("/api/events/live", GET, get(live::log)),
        route("/api/event-streams", GET, get(streams::list)),
        route("/api/event-streams/{name}", &["DELETE", "GET"], get(streams::show).merge(delete(lifecycle::delete))),
        route("/api/event-streams/{name}/truncate", POST, post(lifecycle::truncate)),
        route(
            "/api/event-streams/{name}/config",
            &["DELETE", "GET", "PUT"],
            get(lifecycle::show_of_stream).put(lifecycle::put_of_stream).delete(lifecycle::remove_of_stream),
        ),
        route("/api/stream-configs", GET, get(lifecycle::list)),
        route(
            "/api/stream-configs/{pattern}",
            &["DELETE", "GET", "PUT"],
            get(lifecycle::show_of_pattern).put(lifecycle::put_of_pattern).delete(lifecycle::remove_of_pattern),
        ),
        route(
            "/api/event-streams/{name}/events",
            &["GET", "POST"],
            get(streams::events_of_stream).post(publish::append),
        ),
        route("/api/event-streams/{name}/events/live", GET, get(live::stream)),
        route("/api/transactions", POST, post(publish::transact)),
        route("/api/groups", GET, get(groups::list)),
        route(
            "/api/groups/{name}",
            &["DELETE", "GET", "PUT"],
            get(groups::show).put(groups::create).delete(groups::delete),
        ),
        route("/api/groups/{name}/config", PUT, put(groups::configure)),
        route("/api/groups/{name}/pause", POST, post(groups::pause)),
        route("/api/groups/{name}/resume", POST, post(groups::resume)),
        route("/api/groups/{name}/reset", POST, post(groups::reset)),
        route("/api/groups/{name}/skip", POST, post(groups::skip)),
        route("/api/groups/{name}/members", POST, post(consume::join)),
        route("/api/groups/{name}/members/{session}", DELETE, delete(consume::leave)),
        route("/api/groups/{name}/pull", POST, post(consume::pull)),
        route("/api/groups/{name}/ack", POST, post(consume::ack)),
        route("/api/groups/{name}/nack", POST, post(consume::nack)),
        route("/api/groups/{name}/extend", POST, post(consume::extend)),
        route("/api/groups/{name}/commit", POST, post(consume::commit)),
        route("/api/groups/{name}/heartbeat", POST, post(consume::heartbeat)),
        route("/api/groups/{name}/dead-letters", GET, get(dead_letters::list)),
        route("/api/groups/{name}/dead-letters/replay", POST, post(dead_letters::replay)),
        route("/api/groups/{name}/dead-letters/purge", POST, post(dead_letters::purge)),
        route("/api/groups/{name}/dead-letters/{position}", GET, get(dead_letters::show)),
        route("/api/groups/{name}/dead-letters/{position}/send", POST, post(dead_letters::send)),
        route("/api/queues", GET, get(queues::list)),
        route("/api/queues/{name}", GET, get(queues::show)),
        route("/api/queues/{name}/messages", POST, post(queues::put)),
        route("/api/queues/{name}/dequeue", POST, post(queues::take)),
        route("/api/queues/{name}/ack", POST, post(queues::ack)),
        route("/api/queues/{name}/nack", POST, post(queues::nack)),
        route("/api/queues/{name}/extend", POST, post(queues::extend)),
        route("/api/schedules", &["GET", "POST"], get(schedules::list).post(schedules::create)),
        route(
            "/api/schedules/{name}",
            &["DELETE", "GET", "PUT"],
            get(schedules::show).put(schedules::put).delete(schedules::remove),
        ),
        route("/api/schedules/{name}/pause", POST, post(schedules::pause)),
        route("/api/schedules/{name}/resume", POST, post(schedules::resume)),
        route("/api/schemas", GET, get(schemas::list)),
        route("/api/schemas/{type}", &["GET", "POST"], get(schemas::show_type).post(schemas::register)),
        route("/api/schemas/{type}/check", POST, post(schemas::check)),
        route(
            "/api/schemas/{type}/compatibility",
            &["GET", "PUT"],
            get(schemas::compatibility).put(schemas::set_compatibility),
        ),
        route(
            "/api/schemas/{type}/versions/{version}",
            &["DELETE", "GET", "PUT"],
            get(schemas::show).put(schemas::put).delete(schemas::delete),
        ),
        route("/api/schemas/{type}/versions/{version}/validate", POST, post(schemas::validate)),
        route("/api/event-streams/{name}/receipts", &["GET", "POST"], get(receipts::of_event).post(receipts::note)),
        route("/api/event-streams/{name}/consumers", GET, get(receipts::consumers)),
        route("/api/consumers/{consumer}", GET, get(receipts::streams_of)),
        route("/api/consumers/{consumer}/receipts", GET, get(receipts::of_consumer)),
        route("/api/event-streams/subscriptions", GET, get(subscriptions::list)),
        route("/api/event-streams/subscriptions/{id}", GET, get(subscriptions::show)),
        route(
            "/api/event-streams/subscriptions/{id}/consumers",
            &["GET", "POST"],
            get(subscriptions::consumers).post(subscriptions::join),
        ),
        route(
            "/api/event-streams/subscriptions/{id}/consumers/{consumerId}",
            &["DELETE", "GET"],
            get(subscriptions::consumer).merge(delete(subscriptions::remove)),
        ),
        route(
            "/api/event-streams/subscriptions/{id}/consumers/{consumerId}/reset-offset",
            POST,
            post(subscriptions::reset_offset),
        ),
        route("/api/replays", &["GET", "POST"], get(replays::list).post(replays::start)),
        route("/api/replays/{id}", GET, get(replays::show)),
        route("/api/replays/{id}/pause", POST, post(replays::pause)),
        route("/api/replays/{id}/resume", POST, post(replays::resume)),
        route("/api/replays/{id}/cancel", POST, post(replays::cancel)),
        route("/api/replays/{id}/events", GET, get(replays::events)),
        route("/api/sagas", GET, get(sagas::list)),
        route("/api/sagas/{name}/start", POST, post(sagas::start)),
        route("/api/sagas/{id}", &["DELETE", "GET"], get(sagas::status).merge(delete(sagas::forget))),
        route("/api/sagas/{id}/status", GET, get(sagas::status)),
        route("/api/sagas/{id}/timeline", GET, get(sagas::timeline)),
        route("/api/sagas/{id}/events", POST, post(sagas::send)),
        route("/api/sagas/{id}/cancel", POST, post(saga_orders::cancel)),
        route("/api/sagas/{id}/pause", POST, post(saga_orders::pause)),
        route("/api/sagas/{id}/resume", POST, post(saga_orders::resume)),
        route("/api/sagas/{id}/kill", POST, post(saga_orders::kill)),
        route("/api/sagas/{id}/retry", POST, post(saga_orders::retry)),
        route("/api/sagas/{id}/skip", POST, post(saga_orders::skip)),
        route("/api/sagas/{id}/done", POST, post(saga_orders::done)),
        route("/api/ws", GET, get(ws::connect)),
        route("/hubs/events", &["DELETE", "GET", "POST"], get(hub::connect).post(hub::send).delete(hub::disconnect)),
        route("/hubs/events/negotiate", POST, post(hub::negotiate)),
        route("/api/plugins", &["GET", "POST"], get(plugins::list).post(plugins::deploy)),
        route("/api/plugins/check", POST, post(plugins::check)),
        route("/api/plugins/{name}", &["DELETE", "GET"], get(plugins::show).merge(delete(plugins::remove))),
        route("/api/plugins/{name}/logs", GET, get(plugins::logs)),
        route("/api/plugins/{name}/logs/live", GET, get(plugins::follow_logs)),
        route("/api/plugins/{name}/status", GET, get(plugin_life::status)),
        route("/api/plugins/{name}/revisions", GET, get(plugin_life::revisions)),
        route("/api/plugins/{name}/revisions/{number}/component", GET, get(plugins::component)),
        route(
            "/api/plugins/{name}/settings",
            &["GET", "PATCH"],
            get(plugin_life::settings).patch(plugin_life::change_settings),
        ),
        route("/api/plugins/{name}/configure", POST, post(plugin_life::configure)),
        route("/api/plugins/{name}/start", POST, post(plugin_life::run)),
        route("/api/plugins/{name}/stop", POST, post(plugin_life::stop)),
        route("/api/plugins/{name}/pause", POST, post(plugin_life::pause)),
        route("/api/plugins/{name}/resume", POST, post(plugin_life::run)),
        route("/api/plugins/{name}/rollback", POST, post(plugin_life::roll_back)),
        route("/api/plugins/{name}/drain", POST, post(plugin_life::drain)),
        route("/api/plugins/{name}/confirm", POST, post(plugin_life::confirm)),
        route("/api/projections", GET, get(projections::list)),
        route("/api/projections/{name}", GET, get(projections::show)),
        route("/api/projections/{name}/rebuild", POST, post(projections::rebuild)),
        route("/api/projections/{name}/changes", GET, get(changes::follow)),
        route("/api/projections/{name}/diff", GET, get(read_models::diff)),
        route("/api/projections/{name}/query/{collection}", POST, post(read_models::query)),
        route("/api/projections/{name}/documents/{collection}", GET, get(projections::documents)),
        route("/api/projections/{name}/documents/{collection}/{*key}", GET, get(projections::document)),
    ]
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for Route { path, methods, handlers } in table() {
        let refuse = move || async move { not_allowed(methods) };
        router = router.route(path, handlers.fallback(refuse));
    }
    router.route_layer(middleware::from_fn(remember_route)).fallback(nothing_here).with_state(app)
}

async fn nothing_here(request: Request) -> Refusal {
    let path = request.uri().path();
    let message = format!("there is nothing at {}; /openapi.json lists what there is", path.escape_debug());
    Problem::new(Code::NotFound, message).into()
}

fn not_allowed(methods: &'static [&'static str]) -> Refusal {
    let message = format!("this path has {}", methods.join(" and "));
    Problem::new(Code::MethodNotAllowed, message).into()
}

/// Leaves the matched path on the response, where the metrics find it.
async fn remember_route(matched: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(matched);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_and_the_routes_are_the_same() {
        let document: serde_json::Value = serde_json::from_str(docs::OPENAPI).unwrap();
        let described: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let served: BTreeSet<String> = table()
            .iter()
            .flat_map(|route| route.methods.iter().map(|method| format!("{method} {}", route.path.replace("{*", "{"))))
            .collect();
        assert_eq!(described, served);
    }

    #[test]
    fn every_code_is_described() {
        let document: serde_json::Value = serde_json::from_str(docs::OPENAPI).unwrap();
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(document["components"]["schemas"]["Code"]["enum"], serde_json::json!(codes));
    }
}
