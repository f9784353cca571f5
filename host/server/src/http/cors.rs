//! Pages of other origins that were invited (`allowed_origins`): what their browsers want to be told.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

/// A browser's question before a call that is more than a simple one.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

pub(crate) fn preflight(origin: &str) -> Response<Body> {
    const HEADERS: &str = "authorization, content-type, if-match, if-none-match, idempotency-key, last-event-id, \
                           traceparent, x-correlation-id, x-workflow-id, x-causation-id, \
                           x-requested-with, x-signalr-user-agent";
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    allow(headers, origin);
    response
}

/// Lets a page of `origin` read the answer.
pub(crate) fn allow(headers: &mut HeaderMap, origin: &str) {
    const EXPOSED: &str = "etag, retry-after, wasmill-next-position, x-correlation-id";
    let Ok(origin) = HeaderValue::from_str(origin) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    // The SignalR client asks for it. There are no cookies here, and the origin was invited by name.
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}
