//! Requests that a saga's steps send, through the host and to where it was allowed.
//!
//! Each that changes something carries the step's idempotency key, so that a receiver which knows the header does it
//! once, however often the step is attempted; the second different request of an attempt has `.2` behind it. A step
//! that sends them in another order each time, or more after it was woken, gives each a key of its own:
//! [`StepContext::key_for`](crate::StepContext::key_for).

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, host};

const JSON: &str = "application/json";
/// Of a body that stands in a failure.
const SHOWN_CHARS_MAX: usize = 200;

/// A request that is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub timeout_ms: Option<u32>,
}

/// An answer, whatever its status is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no answer. The codes are those of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: String,
    pub message: String,
}

/// Asks for a page.
///
/// # Errors
/// As [`Request::send`].
pub fn get(url: impl Into<String>) -> Result<Response, Failure> {
    Ok(Request::new("GET", url).send()?)
}

/// Sends `body` as JSON.
///
/// # Errors
/// As [`Request::send`].
pub fn post_json(url: impl Into<String>, body: &impl Serialize) -> Result<Response, Failure> {
    Ok(Request::new("POST", url).json(body)?.send()?)
}

impl Request {
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout_ms: None }
    }

    /// In a value, `{{secret:NAME}}` becomes a secret of the host, if the plugin was granted it.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a secret of the host as a bearer token; see [`Descriptor::secret`](crate::Descriptor::secret).
    #[must_use]
    pub fn bearer_secret(self, name: &str) -> Self {
        self.header("authorization", format!("Bearer {{{{secret:{name}}}}}"))
    }

    /// Another idempotency key than the step's.
    #[must_use]
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.header("idempotency-key", key)
    }

    /// # Errors
    /// `http.unwritable` (halt) when `body` cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(body).map_err(|error| Failure::halt("http.unwritable", error.to_string()))?;
        Ok(self.body(JSON, bytes))
    }

    #[must_use]
    pub fn body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.body = body;
        self.header("content-type", content_type)
    }

    /// Shorter than what is left of the attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// The step waits here.
    ///
    /// # Errors
    /// When there was no answer. As a [`Failure`] it is retried, but for what will never work.
    pub fn send(self) -> Result<Response, Error> {
        host::send(self)
    }
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer, if its status says that it was done.
    ///
    /// # Errors
    /// `http.STATUS`: to be retried for 408, 425, 429 and what begins with 5, after the time that the answer names;
    /// rejected for all else.
    pub fn success(self) -> Result<Self, Failure> {
        if self.is_success() {
            return Ok(self);
        }
        let body: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_CHARS_MAX).collect();
        let (code, message) = (format!("http.{}", self.status), format!("the answer is {}: {body}", self.status));
        if !matches!(self.status, 408 | 425 | 429 | 500..=599) {
            return Err(Failure::reject(code, message));
        }
        let failure = Failure::retry(code, message);
        Err(match self.header("retry-after").and_then(|seconds| seconds.trim().parse().ok()) {
            Some(seconds) => failure.after(Duration::from_secs(seconds)),
            None => failure,
        })
    }

    /// # Errors
    /// `http.malformed` (reject) when the body is not JSON of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        crate::json::from_bytes(&self.body).map_err(|error| Failure::reject("http.malformed", error.to_string()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    /// What the network did not do now it may do later. What was refused stays refused.
    fn from(error: Error) -> Self {
        match error.code.as_str() {
            "http.connect" | "http.broken" | "http.timeout" => Failure::retry(error.code, error.message),
            _ => Failure::reject(error.code, error.message),
        }
    }
}
