//! The paths under which groups were known before: a subscription is a group, a consumer one of its members.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::group::{GroupStatus, MemberStatus, Start};

use super::groups::{BODY_BYTES_MAX, all};
use super::params::Params;
use super::problem::{Refusal, failed};
use super::request::{InPath, json_body, shaped};
use super::view;
use crate::app::App;
use crate::pages::NUMBER_MAX;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Join {
    consumer_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResetOffset {
    offset: Option<u64>,
    position: Option<u64>,
}

fn subscription(status: &GroupStatus) -> Value {
    let mut view = view::group(status);
    view["id"] = view["name"].take();
    if let Some(fields) = view.as_object_mut() {
        fields.remove("name");
        fields.remove("members");
    }
    view["consumers"] = status.members.iter().map(|member| consumer_view(status, member)).collect();
    view
}

fn consumer_view(status: &GroupStatus, member: &MemberStatus) -> Value {
    let mut view = view::group_member(member);
    view["consumerId"] = view["name"].take();
    if let Some(fields) = view.as_object_mut() {
        fields.remove("name");
    }
    view["group"] = status.record.name.as_str().into();
    view["groupPosition"] = status.position.0.into();
    view
}

pub(super) async fn list(State(app): State<Arc<App>>, params: Params) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(json!({ "subscriptions": all(&app).await?.iter().map(subscription).collect::<Vec<_>>() })))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(subscription(&app.host.groups.status(&id).await.map_err(failed)?)))
}

pub(super) async fn consumers(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let status = app.host.groups.status(&id).await.map_err(failed)?;
    let consumers: Vec<_> = status.members.iter().map(|member| consumer_view(&status, member)).collect();
    Ok(Json(json!({ "consumers": consumers })))
}

pub(super) async fn join(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    params.finish()?;
    let Join { consumer_id } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let session = app.host.groups.join(&id, &consumer_id).await.map_err(failed)?.session().to_string();
    Ok((StatusCode::CREATED, Json(json!({ "consumerId": consumer_id, "group": id, "session": session }))))
}

pub(super) async fn consumer(
    State(app): State<Arc<App>>,
    InPath((id, consumer)): InPath<(String, String)>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let status = app.host.groups.status(&id).await.map_err(failed)?;
    Ok(Json(consumer_view(&status, named(&status, &consumer)?)))
}

fn named<'a>(status: &'a GroupStatus, name: &str) -> Result<&'a MemberStatus, Problem> {
    status.members.iter().find(|member| &*member.name == name).ok_or_else(|| no_member(&status.record.name, name))
}

fn no_member(group: &str, name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("group `{group}` has no member `{}`", name.escape_debug()))
}

/// Ends a member's session, whoever has it. What it has goes back and does not count as an attempt.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    InPath((id, consumer)): InPath<(String, String)>,
    params: Params,
) -> Result<StatusCode, Refusal> {
    params.finish()?;
    if app.host.groups.remove_member(&id, &consumer).await.map_err(failed)? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(no_member(&id, &consumer).into())
}

pub(super) async fn reset_offset(
    State(app): State<Arc<App>>,
    InPath((id, consumer)): InPath<(String, String)>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let to = shaped::<ResetOffset>(&json_body(&headers, body, BODY_BYTES_MAX).await?)?.read()?;
    let position = app.host.groups.reset(&id, to).await.map_err(failed)?.0;
    let message = format!(
        "the whole group was reset: all of its members go on from position {position}, not `{}` alone",
        consumer.escape_debug()
    );
    Ok(Json(json!({ "group": id, "position": position, "scope": "group", "message": message })))
}

impl ResetOffset {
    fn read(self) -> Result<Start, Problem> {
        let (start, at, number) = match self {
            ResetOffset { offset: Some(offset), position: None } => (Start::Offset(offset), "offset", offset),
            ResetOffset { offset: None, position: Some(position) } => (Start::Position(position), "position", position),
            ResetOffset { .. } => {
                return Err(Problem::new(Code::InvalidArgument, "it is not clear where to go on")
                    .with("offset", "give one of `offset` and `position`"));
            }
        };
        if number > NUMBER_MAX {
            let message = format!("{number} is out of range: 0 to {NUMBER_MAX}");
            return Err(Problem::new(Code::InvalidArgument, "it is not clear where to go on").with(at, message));
        }
        Ok(start)
    }
}
