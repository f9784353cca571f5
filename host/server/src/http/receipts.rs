//! Receipts: who was delivered, and who has read, which event.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::clock::Timestamp;
use wasmill_core::limits::receipt as limits;
use wasmill_core::receipt::{Progress, Receipt};

use super::event_out::rfc3339;
use super::groups::BODY_BYTES_MAX;
use super::params::{PAGE_DEFAULT, Params};
use super::problem::Refusal;
use super::request::{InPath, json_body, shaped};
use crate::app::App;
use crate::receipts::{self, Wanted};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    consumer: String,
    #[serde(default)]
    delivered: Vec<u64>,
    #[serde(default)]
    read: Vec<u64>,
}

pub(super) async fn note(
    State(app): State<Arc<App>>,
    InPath(stream): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    let Note { consumer, delivered, read } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    receipts::note(&app, &stream, &consumer, delivered, read).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn of_event(
    State(app): State<Arc<App>>,
    InPath(stream): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let (offset, after, limit) = (params.number("offset"), params.text("after"), limit(&mut params));
    if offset.is_none() && !params.is_given("offset") {
        params.refuse("offset", "it is missing: give the offset of an event");
    }
    params.finish()?;
    let offset = offset.unwrap_or_default();
    let (found, next_after) = receipts::of_event(&app, &stream, offset, after.as_deref(), limit).await?;
    Ok(page("receipts", found.iter().map(receipt), next_after))
}

pub(super) async fn consumers(
    State(app): State<Arc<App>>,
    InPath(stream): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let (after, limit) = (params.text("after"), limit(&mut params));
    params.finish()?;
    let (found, next_after) = receipts::consumers(&app, &stream, after.as_deref(), limit).await?;
    Ok(page("consumers", found.iter().map(|(name, is)| progress("consumer", name, is)), next_after))
}

pub(super) async fn streams_of(
    State(app): State<Arc<App>>,
    InPath(consumer): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let (after, limit) = (params.text("after"), limit(&mut params));
    params.finish()?;
    let (found, next_after) = receipts::streams_of(&app, &consumer, after.as_deref(), limit).await?;
    Ok(page("streams", found.iter().map(|(name, is)| progress("stream", name, is)), next_after))
}

pub(super) async fn of_consumer(
    State(app): State<Arc<App>>,
    InPath(consumer): InPath<String>,
    mut params: Params,
) -> Result<Json<Value>, Refusal> {
    let (stream, offset, only) = (params.text("stream"), params.number("offset"), params.flag("only"));
    let (unread, limit) = (params.flag("unread").unwrap_or(false), limit(&mut params));
    for (at, given) in [("offset", offset.is_some()), ("only", only == Some(true))] {
        if given && stream.is_none() {
            params.refuse(at, "it needs a `stream`");
        }
    }
    params.finish()?;
    // A stream by itself is the one that is wanted; with an offset it is where to go on.
    let only = only.unwrap_or(offset.is_none());
    let from = stream.clone().zip(offset.or((!only).then_some(0)));
    let wanted = Wanted { stream: stream.filter(|_| only), from, unread, limit };
    let found = receipts::of_consumer(&app, &consumer, wanted).await?;
    let mut answer = json!({ "receipts": found.receipts.iter().map(receipt).collect::<Vec<_>>() });
    if let Some(next) = found.next {
        answer["next"] = json!({ "stream": next.stream, "offset": next.offset.0 });
    }
    Ok(Json(answer))
}

fn limit(params: &mut Params) -> usize {
    params.limit(PAGE_DEFAULT, limits::PAGE)
}

fn page(name: &str, entries: impl Iterator<Item = Value>, next_after: Option<String>) -> Json<Value> {
    let mut answer = json!({ name: entries.collect::<Vec<_>>() });
    if let Some(next_after) = next_after {
        answer["nextAfter"] = next_after.into();
    }
    Json(answer)
}

fn receipt(receipt: &Receipt) -> Value {
    let mut view = json!({
        "stream": receipt.stream.as_str(),
        "offset": receipt.offset.0,
        "consumer": receipt.consumer,
        "deliveredAt": rfc3339(receipt.delivered_at),
        "reminders": receipt.reminders,
        "deadLetter": receipt.dead_letter,
    });
    for (name, time) in [("readAt", receipt.read_at), ("remindedAt", receipt.reminded_at)] {
        if let Some(time) = time {
            view[name] = rfc3339(time).into();
        }
    }
    view
}

/// How far a consumer is; `of` says whether the name is its own or a stream's.
fn progress(of: &str, name: &str, progress: &Progress) -> Value {
    let mut view = json!({
        of: name,
        "delivered": progress.delivered,
        "read": progress.read,
        "updatedAt": rfc3339(Timestamp(progress.updated_at_us)),
    });
    for (name, offset) in [("lastDelivered", progress.last_delivered), ("lastRead", progress.last_read)] {
        if let Some(offset) = offset {
            view[name] = offset.into();
        }
    }
    view
}
