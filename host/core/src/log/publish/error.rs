//! Why an append did not happen.

use crate::code::{Code, Detail, Problem};
use crate::limits::publish as limits;
use crate::log::commit::CommitError;
use crate::name::{InvalidName, StreamName};
use crate::store::{Expected, Rejection, StoreError, WrongOffset};

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("stream name: {0}")]
    StreamName(#[source] InvalidName),
    #[error("an append has 1 to {} events; this one has none", limits::APPEND_EVENTS_MAX)]
    Empty,
    #[error("an append has 1 to {} events; this one has {events}", limits::APPEND_EVENTS_MAX)]
    TooManyEvents { events: usize },
    /// More than a stream's configuration allows.
    #[error("a stream takes fewer events in one append")]
    TooManyForStream(Vec<Detail>),
    #[error("an append has at most {} bytes; this one has {bytes}", limits::APPEND_BYTES_MAX)]
    TooManyBytes { bytes: usize },
    #[error("an event's data has at most {limit} bytes")]
    EventTooLarge { limit: usize, details: Vec<Detail> },
    #[error("events break the rules; nothing was appended")]
    InvalidEvents(Vec<Detail>),
    /// Against the schemas of their types, which the stream asks for.
    #[error("events break the schemas of their types; nothing was appended")]
    SchemaViolation(Vec<Detail>),
    #[error("the stream takes only events whose type and version have a schema; nothing was appended")]
    SchemaNotFound(Vec<Detail>),
    #[error("a schema could not be read")]
    Schema(#[source] StoreError),
    #[error("the transaction breaks the rules; nothing was appended")]
    InvalidTransaction(Vec<Detail>),
    /// A stream's configuration does not let an append make it.
    #[error(
        "stream `{0}` does not exist, and its configuration has `autoCreate: false`; give the stream a \
         configuration of its own with `autoCreate: true`, or append to one that exists",
        missing.first().map_or("", StreamName::as_str)
    )]
    StreamNotFound {
        missing: Vec<StreamName>,
        /// The other checks that do not hold.
        beside: Box<Rejection>,
    },
    #[error("the cause of an event could not be looked up")]
    Store(#[source] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        let with = |code, details: Vec<Detail>| Problem { code, message: message.clone(), details };
        match error {
            AppendError::StreamName(name) => Problem::new(Code::InvalidName, message).with("stream", name.to_string()),
            AppendError::Empty => Problem::new(Code::EmptyAppend, message),
            AppendError::TooManyEvents { .. } | AppendError::TooManyBytes { .. } => {
                Problem::new(Code::AppendTooLarge, message)
            }
            AppendError::TooManyForStream(details) => with(Code::AppendTooLarge, details),
            AppendError::EventTooLarge { details, .. } => with(Code::EventTooLarge, details),
            AppendError::InvalidEvents(details) => with(Code::InvalidEvent, details),
            AppendError::SchemaViolation(details) => with(Code::SchemaViolation, details),
            AppendError::SchemaNotFound(details) => with(Code::SchemaNotFound, details),
            AppendError::Schema(store) => Problem::from(&store),
            AppendError::InvalidTransaction(details) => with(Code::InvalidArgument, details),
            AppendError::StreamNotFound { missing, beside } => {
                let missing = missing.iter().map(|stream| Detail {
                    at: stream.to_string(),
                    message: "it does not exist, and no append may make it".into(),
                    facts: vec![("auto_create", "false".into())],
                });
                with(Code::StreamNotFound, missing.chain(Problem::from(*beside).details).collect())
            }
            AppendError::Store(store) => Problem::from(&store),
            AppendError::Commit(commit) => commit.into(),
        }
    }
}

impl AppendError {
    /// `guarded` are the streams that had to exist because no append may make them.
    pub(super) fn of_commit(error: CommitError, guarded: &[StreamName]) -> Self {
        let is_missing = |wrong: &WrongOffset| {
            wrong.expected == Expected::Exists && wrong.actual.is_none() && guarded.contains(&wrong.stream)
        };
        match error {
            CommitError::Rejected(Rejection::ChecksFailed { offsets, conditions })
                if offsets.iter().any(is_missing) =>
            {
                let (missing, offsets): (Vec<_>, Vec<_>) = offsets.into_iter().partition(is_missing);
                let missing = missing.into_iter().map(|wrong| wrong.stream).collect();
                let beside = Box::new(Rejection::ChecksFailed { offsets, conditions });
                AppendError::StreamNotFound { missing, beside }
            }
            error => AppendError::Commit(error),
        }
    }
}
