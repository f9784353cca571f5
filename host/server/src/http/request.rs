//! Reading requests: parameters, path, headers and bodies, with an error that names each mistake.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::read::FILTER_TERMS_MAX;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::name::Pattern;
use wasmill_core::store::Direction;

use super::problem::Refusal;
use crate::pages::NUMBER_MAX;

/// A client that sends nothing for so long has lost its turn.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is read of a body that is refused.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// The parts of a path that stand in braces in its route.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::from_request_parts(parts, state).await;
        let refuse = |rejection: PathRejection| {
            Problem::new(Code::InvalidArgument, "the path cannot be read").with("path", rejection.body_text())
        };
        Ok(path.map(|Path(path)| Self(path)).map_err(refuse)?)
    }
}

/// The parameters behind `?`. Each is taken by its name; at the end all mistakes are told at once,
/// unknown names included.
#[derive(Debug)]
pub(crate) struct Params {
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
    problem: Problem,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::from_request_parts(parts, state).await;
        let refuse = |rejection: QueryRejection| {
            Problem::new(Code::InvalidArgument, "the query cannot be read").with("query", rejection.body_text())
        };
        let Query(given) = query.map_err(refuse)?;
        Ok(Self::new(given))
    }
}

impl Params {
    fn new(given: Vec<(String, String)>) -> Self {
        Self {
            given,
            known: Vec::new(),
            problem: Problem::new(Code::InvalidArgument, "parameters are not as they should be"),
        }
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut values = self.given.iter().filter(|(given, _)| given == name).map(|(_, value)| value);
        let value = values.next().cloned();
        if values.next().is_some() {
            self.refuse(name, "it stands there more than once");
        }
        value
    }

    /// Values separated by commas, or given several times.
    fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let values = self.given.iter().filter(|(given, _)| given == name).flat_map(|(_, value)| value.split(','));
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// An offset, a position or another number that JSON can carry.
    pub(crate) fn number(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(number) if number <= NUMBER_MAX => Some(number),
            Ok(_) | Err(_) => {
                self.refuse(name, format!("`{}` is not a whole number from 0 to {NUMBER_MAX}", text.escape_debug()));
                None
            }
        }
    }

    pub(crate) fn limit(&mut self, default: usize, max: usize) -> usize {
        match self.number("limit").map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)) {
            None => default,
            Some(limit) if (1..=max).contains(&limit) => limit,
            Some(limit) => {
                self.refuse("limit", format!("{limit} is out of range: 1 to {max}"));
                default
            }
        }
    }

    pub(crate) fn direction(&mut self) -> Direction {
        match self.text("direction").as_deref() {
            None | Some("forward") => Direction::Forward,
            Some("backward") => Direction::Backward,
            Some(other) => {
                self.refuse("direction", format!("`{}` is neither forward nor backward", other.escape_debug()));
                Direction::Forward
            }
        }
    }

    pub(crate) fn duration(&mut self, name: &'static str) -> Option<Duration> {
        let text = self.text(name)?;
        let parsed = humantime::parse_duration(&text);
        if parsed.is_err() {
            self.refuse(name, format!("`{}` is not a time with its unit, such as 250ms or 5s", text.escape_debug()));
        }
        parsed.ok()
    }

    pub(crate) fn pattern(&mut self, name: &'static str) -> Option<Pattern> {
        let glob = self.text(name).filter(|glob| !glob.is_empty())?;
        Pattern::new(&glob).map_err(|error| self.refuse(name, error.to_string())).ok()
    }

    /// `streams` and `types`, globs: an event must match one of each.
    pub(crate) fn filter(&mut self) -> Filter {
        let mut patterns = |name: &'static str| -> Vec<Pattern> {
            let globs = self.texts(name);
            if globs.len() > FILTER_TERMS_MAX {
                self.refuse(name, format!("there are {}; the limit is {FILTER_TERMS_MAX}", globs.len()));
                return Vec::new();
            }
            let mut one =
                |glob: &String| Pattern::new(glob).map_err(|error| self.refuse(name, format!("`{glob}`: {error}")));
            globs.iter().filter_map(|glob| one(glob).ok()).collect()
        };
        Filter::new(vec![FilterTerm {
            streams: patterns("streams"),
            types: patterns("types"),
            ..FilterTerm::default()
        }])
    }

    pub(crate) fn refuse(&mut self, name: &'static str, message: impl Into<String>) {
        let problem = std::mem::replace(&mut self.problem, Problem::new(Code::InvalidArgument, ""));
        self.problem = problem.with(name, message);
    }

    /// All mistakes, if there are any.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        for (name, _) in &self.given {
            if !self.known.contains(&name.as_str()) && self.problem.details.len() < 20 {
                let known = if self.known.is_empty() { "none are".into() } else { self.known.join(", ") };
                let message = format!("there is no such parameter here; known: {known}");
                self.problem = self.problem.with(name.escape_debug().to_string(), message);
            }
        }
        if self.problem.details.is_empty() { Ok(()) } else { Err(Refusal(self.problem)) }
    }
}

/// The media type of the body, without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

pub(crate) fn unsupported(given: &str, known: &str) -> Refusal {
    let message = format!("`{}` is not understood here; send {known}", given.escape_debug());
    Refusal(Problem::new(Code::UnsupportedMediaType, message))
}

/// Whether the client would rather have lines than one JSON text.
pub(crate) fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("application/x-ndjson") || accept.contains("application/jsonl")
}

/// Reads a whole body of at most `max` bytes. What is announced larger is not read at all.
pub(crate) async fn read_body(headers: &HeaderMap, mut body: Body, max: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal(Problem::new(Code::BodyTooLarge, format!("a body here has at most {max} bytes")));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        // Who asks first (`Expect: 100-continue`) has sent nothing yet.
        if !headers.contains_key(header::EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large());
    }
    let broken = |what: &str| Refusal(Problem::new(Code::MalformedBody, format!("the body ended early: {what}")));
    let mut whole = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(BODY_PAUSE_MAX, body.frame()).await;
        let frame = frame.map_err(|_| broken(&format!("nothing came for {BODY_PAUSE_MAX:?}")))?;
        let Some(frame) = frame else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|_| broken("the connection was lost"))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > max {
            discard(&mut body).await;
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
}

/// Takes in what a refused client still sends, within bounds: one that is cut off in the middle of its
/// body loses its connection before it sees the answer.
async fn discard(body: &mut Body) {
    let discarding = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    // A slow client may lose its answer after all.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, discarding).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &[(&str, &str)]) -> Params {
        Params::new(query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let mut query =
            params(&[("from", "-1"), ("limit", "0"), ("direction", "up"), ("colour", "red"), ("types", "a\u{7}")]);
        query.number("from");
        query.limit(10, 100);
        query.direction();
        query.filter();
        let problem = query.finish().unwrap_err().0;
        let at: Vec<_> = problem.details.iter().map(|detail| detail.at.as_str()).collect();
        assert_eq!(at, ["from", "limit", "direction", "types", "colour"]);
    }

    #[test]
    fn a_parameter_stands_once() {
        let mut query = params(&[("from", "1"), ("from", "2")]);
        query.number("from");
        assert!(query.finish().is_err());
    }

    #[test]
    fn globs_may_be_joined_or_repeated() {
        let mut query = params(&[("types", "a,b"), ("types", "c"), ("streams", "*")]);
        let terms = FilterTerm {
            streams: vec![Pattern::new("*").unwrap()],
            types: ["a", "b", "c"].map(|glob| Pattern::new(glob).unwrap()).into(),
            ..FilterTerm::default()
        };
        assert_eq!(query.filter(), Filter::new(vec![terms]));
        assert!(query.finish().is_ok());
    }

    #[tokio::test]
    async fn a_body_beyond_its_limit_is_refused() {
        let announced = HeaderMap::from_iter([(header::CONTENT_LENGTH, "11".parse().unwrap())]);
        let refused = read_body(&announced, Body::empty(), 10).await.unwrap_err().0;
        assert_eq!(refused.code, Code::BodyTooLarge);
        let refused = read_body(&HeaderMap::new(), Body::from(vec![0; 11]), 10).await.unwrap_err().0;
        assert_eq!(refused.code, Code::BodyTooLarge);
        assert_eq!(read_body(&HeaderMap::new(), Body::from(vec![0; 10]), 10).await.unwrap().len(), 10);
    }
}
