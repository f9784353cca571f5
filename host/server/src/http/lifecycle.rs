//! How streams are treated and how they end: configurations, truncation, deletion.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Offset;
use wasmill_core::limits::read as limits;
use wasmill_core::limits::stream::CONFIG_BYTES_MAX;
use wasmill_core::stream::configs::Subject;

use super::event_in::{cause, malformed};
use super::params::{PAGE_DEFAULT, Params};
use super::problem::{Refusal, failed};
use super::publish::expected;
use super::request::{InPath, json_body};
use super::view;
use crate::app::App;
use crate::convert::stream_name;
use crate::pages::NUMBER_MAX;
use crate::{rights, stream_configs};

/// One number.
const TRUNCATE_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Truncate {
    before: u64,
}

pub(super) async fn truncate(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let (stream, expected) = (stream_name(&name)?, expected(&headers)?);
    let before = before(&json_body(&headers, body, TRUNCATE_BYTES_MAX).await?)?;
    rights::may_publish(&app.host.stream_configs, &stream)?;
    let info = app.host.streams.truncate_before(&stream, before, expected).await.map_err(failed)?;
    Ok(Json(view::stream(&info)))
}

fn before(json: &str) -> Result<Offset, Problem> {
    let wrong = |message: String| {
        Err(Problem::new(Code::InvalidArgument, "it is not clear what is to be removed").with("before", message))
    };
    match serde_json::from_str(json) {
        Ok(Truncate { before }) if before <= NUMBER_MAX => Ok(Offset(before)),
        Ok(Truncate { before }) => wrong(format!("{before} is no offset: 0 to {NUMBER_MAX}")),
        Err(error) if error.is_data() => wrong(format!("{}; give {{\"before\": OFFSET}}", cause(&error))),
        Err(error) => Err(malformed(&error, 0)),
    }
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let mode = params.delete_mode();
    params.finish()?;
    let (stream, expected) = (stream_name(&name)?, expected(&headers)?);
    rights::may_publish(&app.host.stream_configs, &stream)?;
    let info = app.host.streams.delete(&stream, mode, expected).await.map_err(failed)?;
    Ok(Json(view::stream(&info)))
}

/// What holds for a stream, and who says so.
pub(super) async fn show_of_stream(
    State(app): State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let stream = stream_name(&name)?;
    let own = app.host.stream_configs.get(&Subject::Stream(stream.clone()));
    Ok(Json(view::explained(&stream, own.as_deref(), &app.host.stream_configs.explain(&stream))))
}

pub(super) async fn put_of_stream(
    state: State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    put(state, stream_configs::of_stream(&name)?, params, headers, body).await
}

pub(super) async fn remove_of_stream(
    state: State<Arc<App>>,
    InPath(name): InPath<String>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    remove(state, stream_configs::of_stream(&name)?, params).await
}

pub(super) async fn show_of_pattern(
    State(app): State<Arc<App>>,
    InPath(pattern): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let subject = stream_configs::of_pattern(&pattern)?;
    Ok(Json(view::stream_config(&subject, &*stream_configs::get(&app, &subject)?)))
}

pub(super) async fn put_of_pattern(
    state: State<Arc<App>>,
    InPath(pattern): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    put(state, stream_configs::of_pattern(&pattern)?, params, headers, body).await
}

pub(super) async fn remove_of_pattern(
    state: State<Arc<App>>,
    InPath(pattern): InPath<String>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    remove(state, stream_configs::of_pattern(&pattern)?, params).await
}

pub(super) async fn list(State(app): State<Arc<App>>, mut params: Params) -> Result<Json<Value>, Refusal> {
    let (after, limit) = (params.text("after"), params.limit(PAGE_DEFAULT, limits::LIST_STREAMS_MAX));
    params.finish()?;
    let page = stream_configs::list(&app, after.as_deref(), limit);
    let configs: Vec<_> = page.configs.iter().map(|(subject, config)| view::stream_config(subject, config)).collect();
    let mut answer = json!({ "configs": configs });
    if let Some(next_after) = page.next_after {
        answer["nextAfter"] = next_after.into();
    }
    Ok(Json(answer))
}

async fn put(
    State(app): State<Arc<App>>,
    subject: Subject,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let json = json_body(&headers, body, CONFIG_BYTES_MAX).await?;
    stream_configs::put(&app, &subject, &json).await?;
    Ok(Json(view::stream_config(&subject, &*stream_configs::get(&app, &subject)?)))
}

async fn remove(State(app): State<Arc<App>>, subject: Subject, params: Params) -> Result<StatusCode, Refusal> {
    params.finish()?;
    stream_configs::remove(&app, &subject).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_removed_is_one_number() {
        assert_eq!(before(r#"{"before":7}"#).unwrap(), Offset(7));
        for (json, code, word) in [
            (r#"{"before":-1}"#, Code::InvalidArgument, "-1"),
            (r#"{"before":9007199254740992}"#, Code::InvalidArgument, "9007199254740992"),
            (r#"{"before":1,"after":2}"#, Code::InvalidArgument, "after"),
            ("{}", Code::InvalidArgument, "before"),
            ("{", Code::MalformedBody, "line 1"),
        ] {
            let problem = before(json).unwrap_err();
            assert_eq!(problem.code, code, "{json}");
            assert!(format!("{problem:?}").contains(word), "{json}: {problem:?}");
        }
    }
}
