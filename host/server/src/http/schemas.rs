//! Schemas of event types.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::publish::EVENT_DATA_BYTES_MAX;
use wasmill_core::limits::read as limits;
use wasmill_core::limits::schema::SCHEMA_BYTES_MAX;
use wasmill_core::schema::{Compatibility, NewSchema, TypeInfo, VersionInfo, Violation};

use super::event_out::rfc3339;
use super::params::{PAGE_DEFAULT, Params};
use super::problem::Refusal;
use super::request::{InPath, json_body, shaped};
use crate::app::App;
use crate::schemas::{self, Checked, Incompatible};

/// A schema that is a little too large is read, so that the answer can say so.
const BODY_BYTES_MAX: usize = 4 * SCHEMA_BYTES_MAX;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSchemaJson<'a> {
    version: Option<u32>,
    #[serde(borrow)]
    schema: &'a RawValue,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompatibilityJson {
    compatibility: Compatibility,
}

fn read(event_type: String, body: &str) -> Result<NewSchema, Problem> {
    let NewSchemaJson { version, schema } = shaped(body)?;
    Ok(NewSchema { event_type, version, schema: schema.get().to_owned() })
}

/// A number, or `latest`.
fn version(text: &str) -> Result<Option<u32>, Problem> {
    match text.parse() {
        Ok(version) if version > 0 => Ok(Some(version)),
        _ if text == "latest" => Ok(None),
        _ => {
            let what = format!("`{}` is neither a whole number from 1 on nor `latest`", text.escape_debug());
            Err(Problem::new(Code::InvalidArgument, "the version is refused").with("version", what))
        }
    }
}

/// Where `latest` would say nothing.
fn number(text: &str) -> Result<u32, Problem> {
    let refused = || Problem::new(Code::InvalidArgument, "the version is refused").with("version", "give its number");
    version(text)?.ok_or_else(refused)
}

pub(super) async fn list(State(app): State<Arc<App>>, mut params: Params) -> Result<Json<Value>, Refusal> {
    let (after, limit) = (params.text("after"), params.limit(PAGE_DEFAULT, limits::LIST_STREAMS_MAX));
    params.finish()?;
    let page = schemas::list(&app, after.as_deref(), limit);
    let mut answer = json!({ "types": page.types.iter().map(type_view).collect::<Vec<_>>() });
    if let Some(last) = page.types.last().filter(|_| page.more) {
        answer["nextAfter"] = last.event_type.as_str().into();
    }
    Ok(Json(answer))
}

pub(super) async fn show_type(
    State(app): State<Arc<App>>,
    InPath(event_type): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(type_view(&schemas::show_type(&app, &event_type)?)))
}

/// Under the version that the body says, or the next.
pub(super) async fn register(
    State(app): State<Arc<App>>,
    InPath(event_type): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    let new = read(event_type, &json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    registered(&app, new).await
}

/// Under the version that the path says; the body is the schema itself.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    InPath((event_type, version)): InPath<(String, String)>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    params.finish()?;
    let version = Some(number(&version)?);
    let schema = json_body(&headers, body, BODY_BYTES_MAX).await?;
    registered(&app, NewSchema { event_type, version, schema }).await
}

async fn registered(app: &App, new: NewSchema) -> Result<Response, Refusal> {
    let registered = schemas::register(app, new).await?;
    let mut view = version_view(&registered.info);
    view["type"] = registered.event_type.as_str().into();
    if !registered.new {
        return Ok(Json(view).into_response());
    }
    let path = format!("/api/schemas/{}/versions/{}", in_path(&registered.event_type), registered.info.version);
    Ok((StatusCode::CREATED, [(header::LOCATION, path)], Json(view)).into_response())
}

/// A name as a part of a path.
fn in_path(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }).collect()
}

pub(super) async fn check(
    State(app): State<Arc<App>>,
    InPath(event_type): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let new = read(event_type, &json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    let Checked { version, incompatibilities } = schemas::check(&app, new).await?;
    let mut answer = json!({
        "compatible": incompatibilities.is_empty(),
        "incompatibilities": incompatibilities.iter().map(incompatible).collect::<Vec<_>>(),
    });
    if let Some(version) = version {
        answer["version"] = version.into();
    }
    Ok(Json(answer))
}

pub(super) async fn compatibility(
    State(app): State<Arc<App>>,
    InPath(event_type): InPath<String>,
    params: Params,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    Ok(Json(mode_view(&schemas::show_type(&app, &event_type)?)))
}

pub(super) async fn set_compatibility(
    State(app): State<Arc<App>>,
    InPath(event_type): InPath<String>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let CompatibilityJson { compatibility } = shaped(&json_body(&headers, body, BODY_BYTES_MAX).await?)?;
    Ok(Json(mode_view(&schemas::set_compatibility(&app, &event_type, compatibility).await?)))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    InPath((event_type, version)): InPath<(String, String)>,
    params: Params,
) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct View<'a> {
        r#type: &'a str,
        #[serde(flatten)]
        version: Value,
        schema: Box<RawValue>,
    }
    params.finish()?;
    let found = schemas::show(&app, &event_type, self::version(&version)?).await?;
    // It was checked to be JSON when it was registered.
    let schema = RawValue::from_string(found.schema).unwrap_or_else(|_| RawValue::NULL.to_owned());
    Ok(Json(View { r#type: &found.event_type, version: version_view(&found.info), schema }).into_response())
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    InPath((event_type, version)): InPath<(String, String)>,
    mut params: Params,
) -> Result<StatusCode, Refusal> {
    let force = params.flag("force").unwrap_or(false);
    params.finish()?;
    schemas::delete(&app, &event_type, number(&version)?, force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body is the data.
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    InPath((event_type, version)): InPath<(String, String)>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    params.finish()?;
    let version = self::version(&version)?;
    let data = json_body(&headers, body, EVENT_DATA_BYTES_MAX).await?;
    let (version, violations) = schemas::validate(&app, &event_type, version, data.as_bytes()).await?;
    let violation = |Violation { at, message }: &Violation| json!({ "at": at, "message": message });
    Ok(Json(json!({
        "valid": violations.is_empty(),
        "version": version,
        "violations": violations.iter().map(violation).collect::<Vec<_>>(),
    })))
}

fn type_view(info: &TypeInfo) -> Value {
    json!({
        "type": info.event_type,
        "compatibility": info.compatibility.as_str(),
        "versions": info.versions.iter().map(version_view).collect::<Vec<_>>(),
    })
}

fn mode_view(info: &TypeInfo) -> Value {
    json!({ "type": info.event_type, "compatibility": info.compatibility.as_str() })
}

fn version_view(info: &VersionInfo) -> Value {
    json!({
        "version": info.version,
        "id": info.id.to_string(),
        "bytes": info.bytes,
        "registeredAt": rfc3339(info.registered_at()),
    })
}

fn incompatible(one: &Incompatible) -> Value {
    let Incompatible { at, message, old_version, new_version, direction, certain } = one;
    json!({
        "at": at,
        "message": message,
        "oldVersion": old_version,
        "newVersion": new_version,
        "direction": direction.as_str(),
        "certain": certain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_the_latest() {
        assert_eq!((version("1").unwrap(), version("latest").unwrap()), (Some(1), None));
        for wrong in ["0", "-1", "v1", "", "4294967296"] {
            assert_eq!(version(wrong).unwrap_err().code, Code::InvalidArgument, "{wrong}");
        }
        assert!(number("latest").is_err());
    }

    #[test]
    fn a_type_may_have_any_characters() {
        assert_eq!(in_path("order.placed/ü 1"), "order.placed%2F%C3%BC%201");
    }
}
