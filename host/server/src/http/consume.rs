//! Members of groups over single calls: join, pull, settle, leave.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::group::{Handing, Membership, Nack, Settled, Token};
use wasmill_core::limits::group as limits;

use super::event_out;
use super::groups::BODY_BYTES_MAX;
use super::params::Params;
use super::problem::{Refusal, failed};
use super::request::{InPath, json_body, shaped};
use super::streams::typed;
use crate::app::App;
use crate::deliveries::{self, PULL_DEFAULT, Wanted};

/// How deliveries are counted.
pub(super) const VIA: &str = "http";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    member: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pull {
    session: String,
    limit: Option<u64>,
    wait_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ack {
    session: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refuse {
    session: String,
    tokens: Vec<Token>,
    refusal: RefusalJson,
}

/// A member's no, said in one of four ways.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct RefusalJson {
    retry: Option<String>,
    delay_ms: Option<u64>,
    park: Option<String>,
    skip: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extend {
    session: String,
    tokens: Vec<Token>,
    ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSession {
    session: String,
}

/// Gathers what is wrong with a body.
pub(crate) struct Wrong(Problem);

impl Wrong {
    pub(crate) fn new() -> Self {
        Self(Problem::new(Code::InvalidArgument, "the body is not as it should be"))
    }

    fn add(&mut self, at: &str, message: impl Into<String>) {
        let problem = std::mem::replace(&mut self.0, Problem::new(Code::InvalidArgument, ""));
        self.0 = problem.with(at, message);
    }

    pub(crate) fn range(&mut self, at: &str, number: u64, min: u64, max: u64) -> u64 {
        if !(min..=max).contains(&number) {
            self.add(at, format!("{number} is out of range: {min} to {max}"));
        }
        number
    }

    fn session(&mut self, text: &str) -> Uuid {
        Uuid::try_parse(text).unwrap_or_else(|_| {
            self.add("session", format!("`{}` is not a session, which is a UUID", text.escape_debug()));
            Uuid::nil()
        })
    }

    pub(crate) fn tokens(&mut self, tokens: &[Token]) {
        self.range("tokens", tokens.len() as u64, 1, limits::TOKENS_MAX as u64);
    }

    fn error(&mut self, at: &str, text: &str) {
        if text.len() > limits::ERROR_BYTES_MAX {
            self.add(at, format!("it has {} bytes, which is more than {}", text.len(), limits::ERROR_BYTES_MAX));
        }
    }

    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.details.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

async fn member(app: &App, group: &str, session: Uuid) -> Result<Membership, Refusal> {
    app.host.groups.member(group, session).await.map_err(failed)
}

pub(super) async fn join(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    params.finish()?;
    let Join { member } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let membership = app.host.groups.join(&name, &member).await.map_err(failed)?;
    Ok((StatusCode::CREATED, Json(json!({ "session": membership.session().to_string() }))))
}

pub(super) async fn leave(
    State(app): State<Arc<App>>,
    InPath((name, session)): InPath<(String, String)>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    let mut wrong = Wrong::new();
    let session = wrong.session(&session);
    wrong.finish()?;
    member(&app, &name, session).await?.leave().await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pull(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Refusal> {
    params.finish()?;
    let Pull { session, limit, wait_ms } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    let session = wrong.session(&session);
    let limit = wrong.range("limit", limit.unwrap_or(PULL_DEFAULT as u64), 1, limits::PULL_EVENTS_MAX as u64);
    let wait_ms = wrong.range("waitMs", wait_ms.unwrap_or(0), 0, limits::PULL_WAIT_MS_MAX);
    wrong.finish()?;
    let member = member(&app, &name, session).await?;
    let events_max = usize::try_from(limit).unwrap_or(PULL_DEFAULT);
    let wanted = Wanted { events_max, wait: Duration::from_millis(wait_ms), lease_ms: None };
    let handings = deliveries::pull(&app, VIA, &member, wanted).await;
    Ok(handed("deliveries", &handings.map_err(failed)?))
}

/// Deliveries, in a list of that name.
pub(super) fn handed(list: &str, handings: &[Handing]) -> Response<Body> {
    let mut out = Vec::with_capacity(32 + handings.iter().map(|one| 64 + one.event.raw().len() * 2).sum::<usize>());
    out.extend_from_slice(format!("{{\"{list}\":[").as_bytes());
    for (index, one) in handings.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'{');
        delivery(&mut out, one);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    typed("application/json", Body::from(out))
}

/// The fields of a delivery, without the braces.
pub(crate) fn delivery(out: &mut Vec<u8>, Handing { token, event, tries }: &Handing) {
    let head = format!("\"token\":{token},\"refused\":{},\"lost\":{},\"event\":", tries.refused, tries.lost);
    out.extend_from_slice(head.as_bytes());
    event_out::write(out, event);
}

pub(super) async fn ack(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Ack { session, tokens } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    let session = wrong.session(&session);
    wrong.tokens(&tokens);
    wrong.finish()?;
    let member = member(&app, &name, session).await?;
    Ok(outcomes(&member.ack(tokens).await.map_err(failed)?))
}

pub(super) async fn nack(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Refuse { session, tokens, refusal } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    let session = wrong.session(&session);
    wrong.tokens(&tokens);
    let nack = refusal.read(&mut wrong);
    wrong.finish()?;
    let member = member(&app, &name, session).await?;
    Ok(outcomes(&member.nack(tokens, nack).await.map_err(failed)?))
}

impl RefusalJson {
    pub(crate) fn read(self, wrong: &mut Wrong) -> Nack {
        match self {
            RefusalJson { retry: Some(error), delay_ms: None, park: None, skip: None } => {
                wrong.error("refusal.retry", &error);
                Nack::Retry { error, after_ms: None }
            }
            RefusalJson { retry: None, delay_ms: Some(ms), park: None, skip: None } => {
                Nack::Delay { ms: wrong.range("refusal.delayMs", ms, 0, limits::RETRY_MS_MAX) }
            }
            RefusalJson { retry: None, delay_ms: None, park: Some(error), skip: None } => {
                wrong.error("refusal.park", &error);
                Nack::Park { error }
            }
            RefusalJson { retry: None, delay_ms: None, park: None, skip: Some(true) } => Nack::Skip,
            _ => {
                wrong.add("refusal", "give one of `retry: WHY`, `delayMs: NUMBER`, `park: WHY` and `skip: true`");
                Nack::Skip
            }
        }
    }
}

pub(super) async fn extend(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Extend { session, tokens, ms } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    let session = wrong.session(&session);
    wrong.tokens(&tokens);
    wrong.range("ms", ms, 1, limits::TIMEOUT_MS_MAX);
    wrong.finish()?;
    let member = member(&app, &name, session).await?;
    Ok(outcomes(&member.extend(tokens, ms).await.map_err(failed)?))
}

pub(super) async fn commit(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let committed = of_session(&app, &name, &headers, body).await?.commit().await.map_err(failed)?;
    Ok(Json(json!({ "committed": committed })))
}

pub(super) async fn heartbeat(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    of_session(&app, &name, &headers, body).await?.heartbeat().await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn of_session(app: &App, group: &str, headers: &HeaderMap, body: Body) -> Result<Membership, Refusal> {
    let OfSession { session } = shaped(&json_body(headers, body, BODY_BYTES_MAX).await?)?;
    let mut wrong = Wrong::new();
    let session = wrong.session(&session);
    wrong.finish()?;
    member(app, group, session).await
}

pub(super) fn outcomes(settled: &[Settled]) -> Json<Value> {
    Json(json!({ "outcomes": words(settled) }))
}

/// What became of each delivery.
pub(crate) fn words(settled: &[Settled]) -> Vec<&'static str> {
    let word = |settled: &Settled| match settled {
        Settled::Durable => "durable",
        Settled::Noted => "noted",
        Settled::Superseded => "superseded",
    };
    settled.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_said_in_one_way() {
        let read = |json: &str| {
            let mut wrong = Wrong::new();
            let nack = shaped::<RefusalJson>(json).unwrap().read(&mut wrong);
            wrong.finish().map(|()| nack).map_err(|problem| problem.details[0].at.clone())
        };
        assert_eq!(read(r#"{"retry":"busy"}"#), Ok(Nack::Retry { error: "busy".into(), after_ms: None }));
        assert_eq!(read(r#"{"delayMs":0}"#), Ok(Nack::Delay { ms: 0 }));
        assert_eq!(read(r#"{"park":""}"#), Ok(Nack::Park { error: String::new() }));
        assert_eq!(read(r#"{"skip":true}"#), Ok(Nack::Skip));
        for wrong in ["{}", r#"{"skip":false}"#, r#"{"skip":true,"park":"x"}"#] {
            assert_eq!(read(wrong), Err("refusal".into()), "{wrong}");
        }
        assert_eq!(read(r#"{"delayMs":86400001}"#), Err("refusal.delayMs".into()));
        assert_eq!(read(&format!(r#"{{"park":"{}"}}"#, "x".repeat(5_000))), Err("refusal.park".into()));
    }

    #[test]
    fn every_mistake_of_a_body_is_told() {
        let mut wrong = Wrong::new();
        wrong.session("7");
        wrong.tokens(&[]);
        wrong.range("waitMs", 60_001, 0, limits::PULL_WAIT_MS_MAX);
        let problem = wrong.finish().unwrap_err();
        let at: Vec<_> = problem.details.iter().map(|detail| detail.at.as_str()).collect();
        assert_eq!(at, ["session", "tokens", "waitMs"]);
    }
}
