//! Consumer groups: makes, changes, shows and removes them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::group::{GroupConfig, GroupError, GroupStatus, Start};

use super::params::Params;
use super::problem::{Refusal, failed};
use super::request::{InPath, json_body, shaped};
use super::view;
use crate::app::App;
use crate::groups::may_read;
use crate::pages::NUMBER_MAX;

/// Room for a configuration with as many entries as it can have, or for ten thousand tokens.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Creation {
    config: GroupConfig,
    start: Option<StartJson>,
}

/// A place in the log, said in one of five ways.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StartJson {
    first: Option<bool>,
    last: Option<bool>,
    position: Option<u64>,
    offset: Option<u64>,
    time: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    position: u64,
}

pub(super) async fn list(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(json!({ "groups": all(&app).await?.iter().map(view::group).collect::<Vec<_>>() })))
}

/// Every group, in byte order of their names.
pub(super) async fn all(app: &App) -> Result<Vec<GroupStatus>, Refusal> {
    let mut groups = Vec::new();
    for record in app.host.groups.list().await.map_err(failed)? {
        match app.host.groups.status(&record.name).await {
            Ok(status) => groups.push(status),
            // It was removed meanwhile.
            Err(GroupError::NotFound(_)) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(groups)
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    shown(&app, &name).await
}

async fn shown(app: &App, name: &str) -> Result<Json<Value>, Refusal> {
    Ok(Json(view::group(&app.host.groups.status(name).await.map_err(failed)?)))
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    params.finish()?;
    let only_new = only_new(&headers)?;
    let Creation { config, start } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let start = start.map_or(Ok(Start::First), |start| start.read("start."))?;
    may_read(&app, &config)?;
    let created = app.host.groups.create(&name, config, start).await.map_err(failed)?;
    if only_new && !created {
        let message = format!("group `{name}` exists already, and was to be new");
        return Err(Problem::new(Code::GroupExists, message).into());
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, shown(&app, &name).await?))
}

/// `If-None-Match: *`: the group must not exist, not even with the same configuration.
fn only_new(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes()) {
        None => Ok(false),
        Some(b"*") => Ok(true),
        Some(_) => Err(Problem::new(Code::InvalidArgument, "the condition cannot be read")
            .with("If-None-Match", "only * is understood: the group must not exist")),
    }
}

pub(super) async fn configure(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let config: GroupConfig = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    may_read(&app, &config)?;
    app.host.groups.configure(&name, config).await.map_err(failed)?;
    shown(&app, &name).await
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    app.host.groups.delete(&name).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    app.host.groups.pause(&name).await.map_err(failed)?;
    shown(&app, &name).await
}

pub(super) async fn resume(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    app.host.groups.resume(&name).await.map_err(failed)?;
    shown(&app, &name).await
}

pub(super) async fn reset(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let to: StartJson = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let position = app.host.groups.reset(&name, to.read("")?).await.map_err(failed)?;
    Ok(Json(json!({ "position": position.0 })))
}

pub(super) async fn skip(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let Skip { position } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let skipped = app.host.groups.skip(&name, Position(position)).await.map_err(failed)?;
    Ok(Json(json!({ "skipped": skipped })))
}

impl StartJson {
    /// Its fields are named behind `at`.
    pub(super) fn read(self, at: &str) -> Result<Start, Problem> {
        let StartJson { first, last, position, offset, time } = self;
        let given: Vec<&str> = [
            ("first", first.is_some()),
            ("last", last.is_some()),
            ("position", position.is_some()),
            ("offset", offset.is_some()),
            ("time", time.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        let wrong = |name: &str, message: String| {
            Err(Problem::new(Code::InvalidArgument, "it is not clear where to begin")
                .with(format!("{at}{name}"), message))
        };
        if given.len() != 1 {
            let message = "give one of `first`, `last`, `position`, `offset` and `time`".to_owned();
            return wrong(given.get(1).copied().unwrap_or("position"), message);
        }
        match (first, last, position.or(offset), time) {
            (Some(true), ..) => Ok(Start::First),
            (_, Some(true), ..) => Ok(Start::Last),
            (_, _, Some(number), _) if number > NUMBER_MAX => {
                wrong(given[0], format!("{number} is out of range: 0 to {NUMBER_MAX}"))
            }
            (_, _, Some(number), _) if position.is_some() => Ok(Start::Position(number)),
            (_, _, Some(number), _) => Ok(Start::Offset(number)),
            (_, _, _, Some(time)) => match time.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Start::Time(time.as_microsecond())),
                Err(_) => {
                    let time = time.escape_debug();
                    wrong("time", format!("`{time}` is not a time as RFC 3339 writes it, such as 2013-01-01T05:15:00Z"))
                }
            },
            _ => wrong(given[0], "give true, or leave it out".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_said_in_one_way() {
        let read = |json: &str| shaped::<StartJson>(json).unwrap().read("start.");
        assert_eq!(read(r#"{"first":true}"#), Ok(Start::First));
        assert_eq!(read(r#"{"last":true}"#), Ok(Start::Last));
        assert_eq!(read(r#"{"position":7}"#), Ok(Start::Position(7)));
        assert_eq!(read(r#"{"offset":0}"#), Ok(Start::Offset(0)));
        assert_eq!(read(r#"{"time":"1970-01-01T00:00:01Z"}"#), Ok(Start::Time(1_000_000)));
        for (json, at) in [
            ("{}", "start.position"),
            (r#"{"first":false}"#, "start.first"),
            (r#"{"first":true,"offset":1}"#, "start.offset"),
            (r#"{"position":9007199254740992}"#, "start.position"),
            (r#"{"time":"noon"}"#, "start.time"),
        ] {
            let problem = read(json).unwrap_err();
            assert_eq!((problem.code, problem.details[0].at.as_str()), (Code::InvalidArgument, at), "{json}");
        }
    }
}
