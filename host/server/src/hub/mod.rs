//! The SignalR hub `/hubs/events`: negotiation and its three transports, as "TransportProtocols.md" of
//! ASP.NET Core describes them.

mod connection;
mod protocol;
mod registry;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{iter, unfold};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};

use crate::app::App;
use crate::http::event_out::{CAMEL, PASCAL, Words};
use crate::http::problem::Refusal;
use crate::http::request::read_body;
use crate::push::websocket::{self, Pings};
use crate::push::{Frame, Heard, line, run};
use crate::receipts;
use connection::Connection;
use protocol::MESSAGE_BYTES_MAX;
pub(crate) use registry::Registry;
use registry::{Found, Polling};

/// How the transports are called in metrics.
const WEBSOCKET: &str = "signalr-websocket";
const SSE: &str = "signalr-sse";
const LONG_POLLING: &str = "signalr-long-polling";

/// A poll without anything to say is answered after this; clients wait 100 s, proxies often 30 s or 60 s.
const POLL_MAX: Duration = Duration::from_secs(25);
/// What one poll is answered with, unless one frame is larger.
const POLL_BYTES_MAX: usize = 256 * 1024;
/// Clients may send several messages at once.
const POST_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// What the hub reads behind the `?`. Other names are the client's own.
struct Asked {
    id: Option<String>,
    version: u32,
    client: Client,
}

/// What a client says of itself.
#[derive(Clone)]
struct Client {
    words: &'static Words,
    /// Under whose name deliveries are noted.
    consumer: Option<Arc<str>>,
}

impl Asked {
    fn read(query: &HashMap<String, String>) -> Result<Self, Problem> {
        let words = match query.get("case").map(String::as_str) {
            None | Some("camel") => &CAMEL,
            Some("pascal") => &PASCAL,
            Some(other) => {
                let message = format!("`{}` is neither camel nor pascal", other.escape_debug());
                return Err(Problem::new(Code::InvalidArgument, format!("case: {message}")).with("case", message));
            }
        };
        let version = query.get("negotiateVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let consumer = query.get("consumer").map(|consumer| receipts::consumer(consumer)).transpose()?;
        let id = query.get("id").filter(|id| !id.is_empty()).cloned();
        Ok(Self { id, version, client: Client { words, consumer } })
    }

    fn id(self) -> Result<String, Problem> {
        let problem = || Problem::new(Code::InvalidArgument, "say which connection").with("id", "it is not there");
        self.id.ok_or_else(problem)
    }
}

type Given = Query<HashMap<String, String>>;

pub(crate) async fn negotiate(State(app): State<Arc<App>>, Query(query): Given) -> Result<Json<Value>, Refusal> {
    let asked = Asked::read(&query)?;
    let token = app.hub.negotiate(Instant::now())?;
    let transports: Vec<Value> = ["WebSockets", "ServerSentEvents", "LongPolling"]
        .map(|name| json!({ "transport": name, "transferFormats": ["Text"] }))
        .into();
    // From version 1 on, the id may be shown to others: the token is what connects.
    Ok(Json(match asked.version {
        0 => json!({ "negotiateVersion": 0, "connectionId": token, "availableTransports": transports }),
        _ => json!({
            "negotiateVersion": 1,
            "connectionId": Uuid::new_v4().simple().to_string(),
            "connectionToken": token,
            "availableTransports": transports,
        }),
    }))
}

/// Which transport is meant is told by what the request asks for.
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    Query(query): Given,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response<Body>, Refusal> {
    let asked = Asked::read(&query)?;
    if headers.contains_key(header::UPGRADE) {
        let upgrade = upgrade.map_err(|rejection| websocket::refused(&rejection))?;
        return Ok(over_websocket(app, asked, upgrade)?);
    }
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (listens, client) = (accept.contains("text/event-stream"), asked.client.clone());
    let id = asked.id()?;
    match app.hub.find(&id)? {
        Found::New if listens => Ok(over_sse(app, &id, client)?),
        Found::New => {
            begin_polling(app, &id, client)?;
            Ok(polled(Some(Frame::new())))
        }
        Found::Polling(polling) if !listens => Ok(poll(&app, &id, &polling).await),
        Found::Polling(_) | Found::Listening => Err(elsewhere().into()),
    }
}

fn elsewhere() -> Problem {
    Problem::new(Code::InvalidArgument, "the connection of that id uses another transport")
}

/// Without an id the client has not negotiated, which it need not over this transport.
fn over_websocket(app: Arc<App>, asked: Asked, upgrade: WebSocketUpgrade) -> Result<Response<Body>, Problem> {
    let place = app.push.enter(WEBSOCKET)?;
    if let Some(id) = &asked.id {
        app.hub.claim(id, Instant::now())?;
    }
    let drain = app.drain.clone();
    let connection = Connection::new(app, WEBSOCKET, asked.client);
    Ok(websocket::accept(upgrade, MESSAGE_BYTES_MAX, place, drain, Pings::Spared, connection))
}

fn over_sse(app: Arc<App>, id: &str, client: Client) -> Result<Response<Body>, Problem> {
    let place = app.push.enter(SSE)?;
    app.hub.claim(id, Instant::now())?;
    let (line, wire) = line();
    app.hub.listening(id, wire.heard);
    let (drain, id) = (app.drain.clone(), id.to_owned());
    tokio::spawn(async move {
        let connection = Connection::new(Arc::clone(&app), SSE, client);
        place.hold(run(connection, line, drain)).await;
        app.hub.forget(&id);
    });
    let frames = unfold(wire.frames, |mut frames| async move { Some((frames.recv().await?, frames)) });
    // The first line tells the client, and whoever buffers on the way, that the answer has begun.
    let hello = iter([Ok::<_, Infallible>(Bytes::from_static(b":\n\n"))]);
    let body = Body::from_stream(hello.chain(frames.map(|frame| Ok(as_sse(&frame)))));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would wait for more.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// No message has a line break in it.
fn as_sse(frame: &Frame) -> Bytes {
    let mut out = Vec::with_capacity(frame.iter().map(|message| message.len() + 8).sum());
    for message in frame {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(message);
        out.extend_from_slice(b"\n\n");
    }
    out.into()
}

fn begin_polling(app: Arc<App>, id: &str, client: Client) -> Result<(), Problem> {
    let place = app.push.enter(LONG_POLLING)?;
    app.hub.claim(id, Instant::now())?;
    let (line, wire) = line();
    app.hub.polling(id, wire);
    let drain = app.drain.clone();
    // What it says last stays in the registry until it is polled for.
    tokio::spawn(place.hold(run(Connection::new(app, LONG_POLLING, client), line, drain)));
    Ok(())
}

async fn poll(app: &App, id: &str, polling: &Polling) -> Response<Body> {
    let frame = polling.poll(POLL_MAX, POLL_BYTES_MAX).await;
    if frame.is_none() {
        app.hub.forget(id);
    }
    polled(frame)
}

fn polled(frame: Option<Frame>) -> Response<Body> {
    let mut response = Response::new(Body::from(frame.as_deref().unwrap_or_default().concat()));
    if frame.is_none() {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a client says that listens by server-sent events or polls.
pub(crate) async fn send(
    State(app): State<Arc<App>>,
    Query(query): Given,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let heard = app.hub.sender(&Asked::read(&query)?.id()?)?;
    let body = read_body(&headers, body, POST_BYTES_MAX).await?;
    // It waits when the connection does not keep up, and fails when that has ended.
    let ended = |_| Problem::new(Code::NotFound, "the connection of that id has ended");
    heard.send(Heard::Data(body)).await.map_err(ended)?;
    Ok(StatusCode::OK)
}

pub(crate) async fn disconnect(State(app): State<Arc<App>>, Query(query): Given) -> Result<StatusCode, Refusal> {
    let id = Asked::read(&query)?.id()?;
    let heard = app.hub.sender(&id)?;
    app.hub.forget(&id);
    // Who has ended already need not be told.
    let _ = heard.send(Heard::Gone).await;
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_chosen_by_the_url() {
        let read = |query: &[(&str, &str)]| {
            Asked::read(&query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
        };
        let asked = read(&[("case", "pascal"), ("negotiateVersion", "1"), ("id", "x"), ("_", "7")]).unwrap();
        assert!(std::ptr::eq(asked.client.words, &PASCAL) && asked.version == 1);
        assert_eq!(asked.id().unwrap(), "x");
        assert_eq!(read(&[]).unwrap().id().unwrap_err().code, Code::InvalidArgument);
        assert_eq!(read(&[("consumer", "ann")]).unwrap().client.consumer.as_deref(), Some("ann"));
        assert_eq!(read(&[("consumer", "")]).err().unwrap().code, Code::InvalidArgument);
        assert_eq!(read(&[("case", "kebab")]).err().unwrap().code, Code::InvalidArgument);
    }

    #[test]
    fn each_message_is_a_server_sent_event() {
        let frame = vec![Bytes::from_static(b"{}\x1e"), Bytes::from_static(b"{\"type\":6}\x1e")];
        assert_eq!(as_sse(&frame), "data: {}\x1e\n\ndata: {\"type\":6}\x1e\n\n");
    }
}
