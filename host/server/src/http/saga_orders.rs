//! What a person asks of a saga. Each order is a path of its own, and answers how the saga is then.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::saga as limits;
use wasmill_core::saga::Command;

use super::params::Params;
use super::problem::Refusal;
use super::request::{InPath, json_body, shaped};
use super::saga_out::SagaView;
use crate::app::{App, Caller};
use crate::grpc::saga::convert;
use crate::sagas;

/// A note, and the output of a step, which JSON may write twice as long.
const BODY_BYTES_MAX: usize = 2 * limits::OUTPUT_BYTES_MAX;

/// Why; it stands on the timeline, beside who.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Plain {
    note: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Resume {
    note: String,
    revision: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Retry {
    note: String,
    step: Option<String>,
    revision: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Done<'a> {
    note: String,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    output_base64: Option<String>,
}

impl Done<'_> {
    fn output(&self) -> Result<Bytes, Problem> {
        let refuse = |at: &str, what: &str| Problem::new(Code::InvalidArgument, what).with(at, what);
        match (self.output, &self.output_base64) {
            (Some(_), Some(_)) => Err(refuse("outputBase64", "there is `output` as well; give one of the two")),
            (Some(output), None) => Ok(Bytes::copy_from_slice(output.get().as_bytes())),
            (None, Some(coded)) => {
                let decoded = BASE64.decode(coded);
                decoded.map(Bytes::from).map_err(|_| refuse("outputBase64", "it is not base64"))
            }
            (None, None) => Ok(Bytes::new()),
        }
    }
}

/// What every order comes with.
pub(super) type Given = (State<Arc<App>>, Extension<Caller>, InPath<String>, Params, HeaderMap);

/// A body says nothing that an order needs, so it may be missing.
async fn body_of(headers: &HeaderMap, body: Body) -> Result<String, Refusal> {
    let body = json_body(headers, body, BODY_BYTES_MAX).await?;
    Ok(if body.is_empty() { "{}".to_owned() } else { body })
}

async fn order(
    (State(app), Extension(caller), InPath(id), params, _): Given,
    command: Command,
    note: String,
) -> Result<Json<SagaView>, Refusal> {
    params.finish()?;
    let status = sagas::order(&app, sagas::id(&id)?, command, (&caller.principal, note)).await?;
    Ok(Json(convert::saga(status).into()))
}

async fn plain(given: Given, body: Body, command: Command) -> Result<Json<SagaView>, Refusal> {
    let Plain { note } = shaped(&body_of(&given.4, body).await?)?;
    order(given, command, note).await
}

pub(super) async fn cancel(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    plain(given, body, Command::Cancel).await
}

pub(super) async fn pause(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    plain(given, body, Command::Pause).await
}

pub(super) async fn kill(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    plain(given, body, Command::Kill).await
}

pub(super) async fn skip(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    plain(given, body, Command::Skip).await
}

pub(super) async fn resume(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    let Resume { note, revision } = shaped(&body_of(&given.4, body).await?)?;
    order(given, Command::Resume { revision }, note).await
}

pub(super) async fn retry(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    let Retry { note, step, revision } = shaped(&body_of(&given.4, body).await?)?;
    order(given, Command::Retry { step, revision }, note).await
}

pub(super) async fn done(given: Given, body: Body) -> Result<Json<SagaView>, Refusal> {
    let body = body_of(&given.4, body).await?;
    let done: Done<'_> = shaped(&body)?;
    let (output, note) = (done.output()?, done.note);
    order(given, Command::MarkDone { output }, note).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_given_in_one_form() {
        let output = |body: &str| shaped::<Done<'_>>(body).unwrap().output().map_err(|problem| problem.code);
        assert_eq!(output(r#"{"output": {"a": 1.50}}"#).unwrap(), r#"{"a": 1.50}"#);
        assert_eq!(output(r#"{"outputBase64": "/w=="}"#).unwrap(), &b"\xff"[..]);
        assert_eq!(output("{}").unwrap(), "");
        assert_eq!(output(r#"{"outputBase64": "?"}"#), Err(Code::InvalidArgument));
        assert_eq!(output(r#"{"output": 1, "outputBase64": ""}"#), Err(Code::InvalidArgument));
    }

    #[test]
    fn an_order_has_its_own_fields_alone() {
        assert!(shaped::<Plain>(r#"{"note": "n", "step": "ship"}"#).is_err());
        assert!(shaped::<Resume>(r#"{"revision": 2}"#).is_ok());
        assert!(shaped::<Retry>(r#"{"step": "ship", "revision": 2, "note": "n"}"#).is_ok());
    }
}
