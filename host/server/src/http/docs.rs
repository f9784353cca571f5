//! What the host says about itself: a page of links, the description of the API, and what each error
//! code means.

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::Html;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wasmill_core::code::{Code, Problem};

use super::problem::Refusal;
use super::request::InPath;
use crate::errors;

pub(super) const OPENAPI: &str = include_str!("openapi.json");

pub(super) async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// The page that the `type` of a problem names.
pub(super) async fn error(InPath(name): InPath<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let Some(code) = errors::by_name(&name) else {
        let message = format!("there is no error code `{}`", name.escape_debug());
        return Err(Problem::new(Code::NotFound, message).into());
    };
    let face = errors::face(code);
    let (title, advice, status, retryable) = (face.title, face.advice, face.http.as_u16(), code.retryable());
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("application/json") {
        let grpc = format!("{:?}", face.grpc);
        let body = json!({ "code": name, "title": title, "advice": advice, "status": status, "grpc": grpc, "retryable": retryable });
        return Ok(Json(body).into_response());
    }
    let retry = if retryable { "The same request may succeed later." } else { "Repeating it unchanged does not help." };
    let text = format!("{name}\n{title}. (HTTP {status}, gRPC {:?})\n\n{advice}\n{retry}\n", face.grpc);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
