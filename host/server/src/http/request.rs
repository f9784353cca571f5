//! Reading requests: path, headers and bodies, with an error that names each mistake.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasmill_core::code::{Code, Problem};

use super::event_in::{cause, malformed, utf8};
use super::problem::Refusal;

/// A client that sends nothing for so long has lost its turn.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is read of a body that is refused.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// The parts of a path that stand in braces in its route.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        let refuse = |rejection: PathRejection| {
            Problem::new(Code::InvalidArgument, "the path cannot be read").with("path", rejection.body_text())
        };
        Ok(path.map(|Path(path)| Self(path)).map_err(refuse)?)
    }
}

/// The media type of the body, without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

pub(crate) fn unsupported(given: &str, known: &str) -> Refusal {
    let message = format!("`{}` is not understood here; send {known}", given.escape_debug());
    Refusal(Problem::new(Code::UnsupportedMediaType, message))
}

/// Whether the client would rather have lines than one JSON text.
pub(crate) fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("application/x-ndjson") || accept.contains("application/jsonl")
}

/// Reads a whole body of at most `max` bytes. What is announced larger is not read at all.
pub(crate) async fn read_body(headers: &HeaderMap, mut body: Body, max: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal(Problem::new(Code::BodyTooLarge, format!("a body here has at most {max} bytes")));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        // Who asks first (`Expect: 100-continue`) has sent nothing yet.
        if !headers.contains_key(header::EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large());
    }
    let broken = |what: &str| Refusal(Problem::new(Code::MalformedBody, format!("the body ended early: {what}")));
    let mut whole = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(BODY_PAUSE_MAX, body.frame()).await;
        let frame = frame.map_err(|_| broken(&format!("nothing came for {BODY_PAUSE_MAX:?}")))?;
        let Some(frame) = frame else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|_| broken("the connection was lost"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > max {
            discard(&mut body).await;
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
}

/// A body that is JSON, as it was sent.
pub(crate) async fn json_body(headers: &HeaderMap, body: Body, max: usize) -> Result<String, Refusal> {
    match media_type(headers).as_deref() {
        None | Some("application/json") => {}
        Some(other) => return Err(unsupported(other, "application/json")),
    }
    let body = read_body(headers, body, max).await?;
    Ok(utf8(&body)?.to_owned())
}

/// Reads JSON into a shape, and names the field that does not fit.
pub(crate) fn shaped<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Problem> {
    let mut reading = serde_json::Deserializer::from_str(json);
    let read = serde_path_to_error::deserialize(&mut reading).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { "body".to_owned() } else { path };
        match error.into_inner() {
            error if error.is_data() => {
                Problem::new(Code::InvalidArgument, "the body is not as it should be").with(at, cause(&error))
            }
            error => malformed(&error, 0),
        }
    })?;
    reading.end().map_err(|error| malformed(&error, 0))?;
    Ok(read)
}

/// Takes in what a refused client still sends, within bounds: one that is cut off in the middle of its
/// body loses its connection before it sees the answer.
async fn discard(body: &mut Body) {
    let discarding = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    // A slow client may lose its answer after all.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, discarding).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_beyond_its_limit_is_refused() {
        let announced = HeaderMap::from_iter([(header::CONTENT_LENGTH, "11".parse().unwrap())]);
        let refused = read_body(&announced, Body::empty(), 10).await.unwrap_err().0;
        assert_eq!(refused.code, Code::BodyTooLarge);
        let refused = read_body(&HeaderMap::new(), Body::from(vec![0; 11]), 10).await.unwrap_err().0;
        assert_eq!(refused.code, Code::BodyTooLarge);
        assert_eq!(read_body(&HeaderMap::new(), Body::from(vec![0; 10]), 10).await.unwrap().len(), 10);
    }
    #[test]
    fn the_field_that_does_not_fit_is_named() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Shape {
            numbers: Vec<u64>,
        }
        let at = |json: &str| {
            let problem = shaped::<Shape>(json).unwrap_err();
            (problem.code, problem.details.into_iter().map(|detail| detail.at).collect::<String>())
        };
        assert_eq!(at(r#"{"numbers":[1,"2"]}"#), (Code::InvalidArgument, "numbers[1]".into()));
        assert_eq!(at(r#"{"numbers":[],"colour":1}"#), (Code::InvalidArgument, "colour".into()));
        assert_eq!(at("[7]").0, Code::InvalidArgument);
        assert_eq!(at(r#"{"numbers":"#).0, Code::MalformedBody);
        assert_eq!(at(r#"{"numbers":[]} {}"#).0, Code::MalformedBody);
        assert!(shaped::<Shape>(r#"{"numbers":[1]}"#).is_ok());
    }
}
