//! `POST /api/event-streams/{name}/events`, and what it shares with `POST /api/transactions`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Offset;
use wasmill_core::limits::publish as limits;
use wasmill_core::log::publish::Append;
use wasmill_core::store::Expected;

use super::event_in::{self, Defaults, Layout};
use super::params::Params;
use super::problem::Refusal;
use super::request::{InPath, media_type, read_body, unsupported};
use super::{transaction_in, view};
use crate::app::{App, origin_of};
use crate::pages::NUMBER_MAX;
use crate::publish::{self, Answer, Publication};

/// JSON has escapes, base64 and the names of the fields on top of what is stored.
pub(super) const BODY_BYTES_MAX: usize = 2 * limits::APPEND_BYTES_MAX;
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

pub(super) async fn append(
    State(app): State<Arc<App>>,
    InPath(stream): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let durability = params.durability();
    params.finish()?;
    let layout = layout(&headers)?;
    let expected = expected(&headers)?;
    let body_bytes = read_body(&headers, body, BODY_BYTES_MAX).await?;
    let events = event_in::events(&body_bytes, layout, &defaults(&headers)?)?;
    let append = Append { stream, expected, events };
    match publish::append(&app, Publication { append, durability, ..Publication::default() }).await? {
        Answer::Stored(appended) => {
            let etag = etag(appended.last_offset());
            Ok((StatusCode::CREATED, [(header::ETAG, etag)], Json(view::appended(&appended))).into_response())
        }
        Answer::Queued => Ok(queued()),
    }
}

/// `POST /api/transactions`
pub(super) async fn transact(
    State(app): State<Arc<App>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    match media_type(&headers).as_deref() {
        None | Some("application/json") => {}
        Some(other) => return Err(unsupported(other, "application/json")),
    }
    let body = read_body(&headers, body, BODY_BYTES_MAX).await?;
    let (transaction, durability) = transaction_in::read(&body, &defaults(&headers)?)?;
    match publish::transact(&app, transaction, durability).await? {
        Answer::Stored(appends) => {
            let appends: Vec<_> = appends.iter().map(view::appended).collect();
            Ok((StatusCode::CREATED, Json(json!({ "appends": appends }))).into_response())
        }
        Answer::Queued => Ok(queued()),
    }
}

pub(super) fn queued() -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "queued": true }))).into_response()
}

pub(super) fn defaults(headers: &HeaderMap) -> Result<Defaults, Problem> {
    Ok(Defaults { origin: origin_of(headers)?, idempotency_key: idempotency_key(headers)? })
}

/// The offset of a stream's last event, as HTTP names a state.
pub(super) fn etag(last_offset: Offset) -> String {
    format!("\"{last_offset}\"")
}

pub(super) fn layout(headers: &HeaderMap) -> Result<Layout, Refusal> {
    match media_type(headers).as_deref() {
        None | Some("application/json") => Ok(Layout::Json),
        Some("application/x-ndjson" | "application/jsonl") => Ok(Layout::Lines),
        Some(other) => Err(unsupported(other, "application/json, or application/x-ndjson with one event a line")),
    }
}

/// `If-Match: "7"`: the last event has offset 7. `If-Match: *`: there is a stream.
/// `If-None-Match: *`: there is none. Neither: any.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let refuse = |name: &str, message: &str| {
        Err(Problem::new(Code::InvalidArgument, "the expected offset cannot be read").with(name, message))
    };
    let (matching, none) = (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH));
    match (matching.map(|value| value.as_bytes()), none.map(|value| value.as_bytes())) {
        (None, None) => Ok(Expected::Any),
        (Some(b"*"), None) => Ok(Expected::Exists),
        (None, Some(b"*")) => Ok(Expected::NoStream),
        (Some(tag), None) => match std::str::from_utf8(tag).ok().and_then(offset_in_quotes) {
            Some(offset) => Ok(Expected::Exactly(offset)),
            None => refuse("If-Match", "give the last offset in quotes, such as \"7\", or * for a stream that exists"),
        },
        (None, Some(_)) => refuse("If-None-Match", "only * is understood: the stream must not exist"),
        (Some(_), Some(_)) => refuse("If-None-Match", "there is If-Match as well; give one of the two"),
    }
}

fn offset_in_quotes(tag: &str) -> Option<Offset> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    digits.parse().ok().filter(|offset| *offset <= NUMBER_MAX).map(Offset)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => {
            let message = format!("it has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} characters of visible ASCII");
            Err(Problem::new(Code::InvalidArgument, "the idempotency key cannot be read")
                .with("Idempotency-Key", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_expected_offset_stands_in_the_headers() {
        let read = |pairs: &[(&'static str, &str)]| expected(&headers(pairs)).map_err(|problem| problem.code);
        assert_eq!(read(&[]), Ok(Expected::Any));
        assert_eq!(read(&[("if-match", "\"7\"")]), Ok(Expected::Exactly(Offset(7))));
        assert_eq!(read(&[("if-match", "*")]), Ok(Expected::Exists));
        assert_eq!(read(&[("if-none-match", "*")]), Ok(Expected::NoStream));
        for wrong in ["7", "\"-1\"", "W/\"7\"", "\"7\", \"8\"", "\"9007199254740992\"", ""] {
            assert_eq!(read(&[("if-match", wrong)]), Err(Code::InvalidArgument), "{wrong}");
        }
        assert_eq!(read(&[("if-none-match", "\"7\"")]), Err(Code::InvalidArgument));
        assert_eq!(read(&[("if-match", "*"), ("if-none-match", "*")]), Err(Code::InvalidArgument));
    }

    #[test]
    fn a_form_is_no_event() {
        let wrong = layout(&headers(&[("content-type", "application/x-www-form-urlencoded")])).unwrap_err().0;
        assert_eq!(wrong.code, Code::UnsupportedMediaType);
        assert_eq!(layout(&headers(&[("content-type", "Application/JSON; charset=utf-8")])).unwrap(), Layout::Json);
        assert_eq!(layout(&headers(&[])).unwrap(), Layout::Json);
    }
}
