//! Failures as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use wasmill_core::code::{Detail, Problem};

use crate::errors::{self, RETRY_AFTER_MS};

/// What a handler returns instead of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(pub(crate) Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// For the end of a call into core: `.map_err(failed)`.
pub(crate) fn failed<E: std::error::Error + Into<Problem>>(error: E) -> Refusal {
    Refusal(errors::report(error))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> axum::response::Response {
        refuse(self.0)
    }
}

/// A response that carries its problem with it until [`render`] writes it out: only there is the
/// correlation id known.
pub(crate) fn refuse(problem: Problem) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = errors::face(problem.code).http;
    response.extensions_mut().insert(Refusal(problem));
    response
}

/// Writes out the problem that a response carries, if it does.
pub(crate) fn render(mut response: Response<Body>, correlation_id: &str, bodiless: bool) -> Response<Body> {
    let Some(Refusal(problem)) = response.extensions_mut().remove::<Refusal>() else { return response };
    let body = body(&problem, correlation_id).to_string();
    let retryable = problem.code.retryable();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if retryable {
        // The header counts whole seconds.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_MS.div_ceil(1000)));
    }
    if problem.code == wasmill_core::code::Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if !bodiless {
        *response.body_mut() = Body::from(body);
    }
    response
}

fn body(problem: &Problem, correlation_id: &str) -> Value {
    let face = errors::face(problem.code);
    let code = problem.code.as_str();
    json!({
        "type": format!("/errors/{code}"),
        "title": face.title,
        "status": face.http.as_u16(),
        "detail": problem.message,
        "code": code,
        "retryable": problem.code.retryable(),
        "details": problem.details.iter().map(detail).collect::<Vec<_>>(),
        "correlationId": correlation_id,
    })
}

pub(crate) fn detail(Detail { at, message, facts }: &Detail) -> Value {
    let facts: Map<String, Value> = facts.iter().map(|(name, value)| (camel(name), fact(value))).collect();
    // A path into the request is written as the request is; anything else is a name.
    let is_path = ["events[", "appends[", "checks[", "conditions["].iter().any(|list| at.starts_with(list));
    let at = if is_path { camel(at) } else { at.clone() };
    json!({ "at": at, "message": message, "facts": facts })
}

/// Numbers as numbers.
fn fact(value: &str) -> Value {
    value.parse::<u64>().map_or_else(|_| value.into(), Value::from)
}

/// `expected_offset` is `expectedOffset` in JSON.
pub(super) fn camel(name: &str) -> String {
    let mut upper = false;
    let mut camel = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c => camel.push(if std::mem::take(&mut upper) { c.to_ascii_uppercase() } else { c }),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use wasmill_core::code::Code;

    use super::*;

    #[test]
    fn a_problem_says_all_that_a_program_needs() {
        let facts = vec![("expected_offset", "3".into()), ("actual_offset", "no_stream".into())];
        let problem = Problem::new(Code::WrongExpectedOffset, "stream `a` is elsewhere").with_detail(Detail {
            at: "a".into(),
            message: "m".into(),
            facts,
        });
        assert_eq!(
            body(&problem, "c"),
            json!({
                "type": "/errors/wrong_expected_offset", "title": "The stream is not where it was expected",
                "status": 412, "detail": "stream `a` is elsewhere", "code": "wrong_expected_offset", "retryable": false,
                "details": [{"at": "a", "message": "m", "facts": {"expectedOffset": 3, "actualOffset": "no_stream"}}],
                "correlationId": "c",
            })
        );
    }

    #[test]
    fn a_head_request_gets_the_headers_alone() {
        let response = render(refuse(Problem::new(Code::Overloaded, "m")), "c", true);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(axum::body::HttpBody::size_hint(response.body()).exact(), Some(0));
    }
}
