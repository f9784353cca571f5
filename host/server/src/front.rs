//! Where every request comes in, gRPC and HTTP alike: it gets its correlation id, is let in or not,
//! goes to its face, is counted, and goes out again.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use futures_util::FutureExt;
use hyper::body::Incoming;
use tonic::Status;
use tower::ServiceExt;
use tracing::Instrument;
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::publish::ID_BYTES_MAX;
use wasmill_core::log_id;

use crate::app::{App, CORRELATION_HEADER, Caller};
use crate::grpc::status as grpc_status;
use crate::http::{cors, problem};

/// Shared by all connections.
pub(crate) struct Front {
    app: Arc<App>,
    grpc: Router,
    http: Router,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Face {
    Grpc,
    Http,
}

impl Front {
    pub(crate) fn new(app: Arc<App>, grpc: Router, http: Router) -> Self {
        Self { app, grpc, http }
    }

    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let started = Instant::now();
        let correlation_id = correlation_id(request.headers());
        let (method, path) = (request.method().as_str(), request.uri().path());
        let span = tracing::info_span!("request", correlation_id = &*correlation_id, method, path);
        let answered = async {
            let face = face_of(request.headers());
            let path = (face == Face::Grpc).then(|| request.uri().path().to_owned());
            let mut response = self.admit_and_dispatch(face, request, &correlation_id).await;
            let (route, status) = match path {
                Some(path) => grpc_outcome(path, &response),
                None => http_outcome(&response),
            };
            self.count(face, &route, &status, started.elapsed());
            if let Ok(value) = HeaderValue::from_str(&correlation_id) {
                response.headers_mut().insert(CORRELATION_HEADER, value);
            }
            response
        };
        Ok(answered.instrument(span).await)
    }

    async fn admit_and_dispatch(
        &self,
        face: Face,
        mut request: Request<Incoming>,
        correlation_id: &Arc<str>,
    ) -> Response<Body> {
        let invited = self.app.access.invited(request.headers()).map(str::to_owned);
        let bodiless = request.method() == Method::HEAD;
        let admitted = match cors::is_preflight(request.method(), request.headers()) && invited.is_some() {
            // A browser asks beforehand, and without the token.
            true => return cors::preflight(invited.as_deref().unwrap_or_default()),
            false => self.app.access.admit(request.uri(), request.headers()),
        };
        let response = match admitted {
            Ok(principal) => {
                request.extensions_mut().insert(Caller { principal });
                self.dispatch(face, request).await
            }
            Err(refused) => {
                let (event_id, code) = (log_id::REQUEST_REFUSED, refused.code.as_str());
                tracing::info!(event_id, code, reason = refused.message, "a caller was turned away");
                refusal(face, refused)
            }
        };
        let mut response = match face {
            Face::Grpc => in_our_terms(response),
            Face::Http => problem::render(response, correlation_id, bodiless),
        };
        if let Some(origin) = invited {
            cors::allow(response.headers_mut(), &origin);
        }
        response
    }

    async fn dispatch(&self, face: Face, request: Request<Incoming>) -> Response<Body> {
        let deadline = grpc_timeout(request.headers()).filter(|_| face == Face::Grpc);
        let router = match face {
            Face::Grpc => &self.grpc,
            Face::Http => &self.http,
        };
        let answer = AssertUnwindSafe(router.clone().oneshot(request)).catch_unwind();
        let answered = match deadline {
            None => answer.await,
            Some(deadline) => match tokio::time::timeout(deadline, answer).await {
                Ok(answered) => answered,
                Err(_) => return Status::deadline_exceeded("the call's own deadline has passed").into_http(),
            },
        };
        match answered {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_panic) => {
                let event_id = log_id::REQUEST_FAILED;
                tracing::error!(event_id, "a request made the host panic; the message stands on the standard error");
                refusal(face, Problem::new(Code::Internal, "the host has a defect that this request has met"))
            }
        }
    }

    fn count(&self, face: Face, route: &str, status: &str, took: Duration) {
        let api = match face {
            Face::Grpc => "grpc",
            Face::Http => "http",
        };
        let metrics = &self.app.host.metrics;
        metrics.requests.with_label_values(&[api, route, status]).inc();
        metrics.request_seconds.with_label_values(&[api, route]).observe(took.as_secs_f64());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(event_id = log_id::REQUEST_DONE, api, route, status, took_us, "request answered");
    }
}

fn face_of(headers: &HeaderMap) -> Face {
    let grpc = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+") || rest.starts_with(b";"))
    });
    if grpc { Face::Grpc } else { Face::Http }
}

/// The caller's, if it can stand in a log line; else one of our own.
fn correlation_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(CORRELATION_HEADER).and_then(|value| value.to_str().ok());
    match given.filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX) {
        Some(given) => given.into(),
        None => Uuid::now_v7().to_string().into(),
    }
}

fn refusal(face: Face, problem: Problem) -> Response<Body> {
    match face {
        Face::Grpc => grpc_status::status(&problem).into_http(),
        Face::Http => problem::refuse(problem),
    }
}

/// What the gRPC framework answered by itself gets a code of ours.
fn in_our_terms(response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    match status.and_then(|status| grpc_status::rewritten(&status)) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// Route and status for the metrics. Paths that are no methods share one name, or a scanner could
/// make as many series as it likes.
fn grpc_outcome(path: String, response: &Response<Body>) -> (String, String) {
    let status = Status::from_header_map(response.headers()).map_or(tonic::Code::Ok, |status| status.code());
    let route =
        if status == tonic::Code::Unimplemented || response.status() != StatusCode::OK { "other".into() } else { path };
    (route, format!("{status:?}"))
}

fn http_outcome(response: &Response<Body>) -> (String, String) {
    let route = response.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    (route.to_owned(), response.status().as_str().to_owned())
}

/// The header `grpc-timeout`: up to 8 digits and a unit. A broken one is no deadline.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn the_face_is_told_by_the_content_type() {
        let grpc = |value| face_of(&headers("content-type", value)) == Face::Grpc;
        assert!(grpc("application/grpc") && grpc("application/grpc+proto") && grpc("application/grpc;x=y"));
        assert!(!grpc("application/grpc-web") && !grpc("application/json") && !grpc("text/plain"));
    }

    #[test]
    fn a_callers_correlation_id_is_kept_unless_it_is_unfit() {
        assert_eq!(&*correlation_id(&headers(CORRELATION_HEADER, "order 7")), "order 7");
        assert!(Uuid::try_parse(&correlation_id(&headers(CORRELATION_HEADER, &"x".repeat(201)))).is_ok());
        assert!(Uuid::try_parse(&correlation_id(&HeaderMap::new())).is_ok());
    }

    #[test]
    fn deadlines_are_read_with_their_units() {
        let timeout = |value| grpc_timeout(&headers("grpc-timeout", value));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for broken in ["", "m", "5", "999999999m", "-1S", "5x"] {
            assert_eq!(timeout(broken), None, "{broken}");
        }
    }
}
