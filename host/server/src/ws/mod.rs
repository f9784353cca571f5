//! The plain WebSocket `/api/ws`: subscriptions with credit and acknowledgement, and members of groups, in
//! JSON messages. `examples/browser/README.md` describes them.

mod member;
mod protocol;
mod session;
mod subscription;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::Response;

use crate::app::App;
use crate::http::params::Params;
use crate::http::problem::Refusal;
use crate::push::websocket::{self, Pings};
use protocol::MESSAGE_BYTES_MAX;
use session::{Session, WEBSOCKET};

pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    mut params: Params,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response<Body>, Refusal> {
    params.token();
    params.finish()?;
    let upgrade = upgrade.map_err(|rejection| websocket::refused(&rejection))?;
    let place = app.push.enter(WEBSOCKET)?;
    let drain = app.drain.clone();
    Ok(websocket::accept(upgrade, MESSAGE_BYTES_MAX, place, drain, Pings::Sent, Session::new(app)))
}
