//! The changes of a read model by server-sent events. `id` is a place that a browser goes on after by itself
//! (`Last-Event-ID`). All changes of a commit share a place, so only the last one of a commit has an id: who
//! loses the connection in between gets the whole commit again.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::value::RawValue;
use wasmill_core::code::{Code, Problem};
use wasmill_core::projection::follow::{Place, Update, Wanted};
use wasmill_core::store::DocumentChange;

use super::live::{HEARTBEAT, RETRY_MS, event_stream, farewell};
use super::params::Params;
use super::problem::{Refusal, failed};
use super::request::InPath;
use crate::app::App;
use crate::queries;

pub(super) async fn follow(
    State(app): State<Arc<App>>,
    InPath(projection): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let (collection, prefix) = (params.text("collection"), params.text("prefix").unwrap_or_default());
    params.token();
    params.finish()?;
    let wanted = Wanted { projection, collection, prefix };
    let updates = queries::follow(&app, wanted, last_seen(&headers)?, "sse").map_err(failed)?;
    let events = unfold(Some(updates), |updates| async move {
        let mut updates = updates?;
        let (bytes, updates) = match tokio::time::timeout(HEARTBEAT, updates.next()).await {
            // What was of no interest is behind it too.
            Err(_) => (format!(": still here\nid: {}\n\n", updates.place()).into(), Some(updates)),
            Ok(Ok(update)) => (encode(&update), Some(updates)),
            Ok(Err(problem)) => (farewell(&problem), None),
        };
        Some((Ok::<Bytes, Infallible>(bytes), updates))
    });
    let hello = futures_util::stream::iter([Ok(format!("retry: {RETRY_MS}\n\n").into())]);
    Ok(event_stream(hello.chain(events)))
}

/// Where a client that was here before goes on.
fn last_seen(headers: &HeaderMap) -> Result<Option<Place>, Problem> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    let place = value.to_str().ok().and_then(|text| text.parse::<Place>().ok());
    place.map(Some).ok_or_else(|| {
        let message = "it is the id of an event that was received here, such as 3-1207";
        Problem::new(Code::InvalidArgument, "the place to go on from cannot be read").with("Last-Event-ID", message)
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct At {
    generation: u64,
    next_position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    collection: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    next_position: u64,
}

fn encode(update: &Update) -> Bytes {
    let mut out = Vec::new();
    let at = |place: &Place, reason| At { generation: place.generation.0, next_position: place.next.0, reason };
    match update {
        Update::Begin(place) => event(&mut out, "begin", Some(place), &at(place, None)),
        Update::Reset(place, reason) => event(&mut out, "reset", Some(place), &at(place, Some(reason.as_str()))),
        Update::Changes { changes, place, whole } => {
            for (n, change) in changes.iter().enumerate() {
                let last = *whole && n + 1 == changes.len();
                event(&mut out, "change", Some(place).filter(|_| last), &changed(change, place));
            }
        }
    }
    out.into()
}

fn changed<'a>(DocumentChange { collection, key, value }: &'a DocumentChange, place: &Place) -> Changed<'a> {
    let encode = |value: &Bytes| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value);
    let json = value.as_deref().and_then(one_line);
    Changed {
        collection,
        key,
        value_base64: value.as_ref().filter(|_| json.is_none()).map(encode),
        value: json,
        removed: value.is_none(),
        next_position: place.next.0,
    }
}

/// JSON as one line, which is what an event takes: its line ends are nothing but space.
fn one_line(value: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(value).ok()?;
    RawValue::from_string(text.replace(['\n', '\r'], " ")).ok()
}

fn event(out: &mut Vec<u8>, name: &str, id: Option<&Place>, data: &impl Serialize) {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    write!(out, "event: {name}\n{id}data: ").expect("memory takes everything");
    serde_json::to_writer(&mut *out, data).expect("texts and JSON can always be written");
    out.extend_from_slice(b"\n\n");
}
