//! Why an append did not happen.

use crate::code::{Code, Detail, Problem};
use crate::limits::publish as limits;
use crate::log::commit::CommitError;
use crate::name::InvalidName;
use crate::store::StoreError;

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("stream name: {0}")]
    StreamName(#[source] InvalidName),
    #[error("an append has 1 to {} events; this one has none", limits::APPEND_EVENTS_MAX)]
    Empty,
    #[error("an append has 1 to {} events; this one has {events}", limits::APPEND_EVENTS_MAX)]
    TooManyEvents { events: usize },
    #[error("an append has at most {} bytes; this one has {bytes}", limits::APPEND_BYTES_MAX)]
    TooManyBytes { bytes: usize },
    #[error("an event's data has at most {limit} bytes")]
    EventTooLarge { limit: usize, details: Vec<Detail> },
    #[error("events break the rules; nothing was appended")]
    InvalidEvents(Vec<Detail>),
    #[error("the transaction breaks the rules; nothing was appended")]
    InvalidTransaction(Vec<Detail>),
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
            AppendError::EventTooLarge { details, .. } => with(Code::EventTooLarge, details),
            AppendError::InvalidEvents(details) => with(Code::InvalidEvent, details),
            AppendError::InvalidTransaction(details) => with(Code::InvalidArgument, details),
            AppendError::Store(store) => Problem::from(&store),
            AppendError::Commit(commit) => commit.into(),
        }
    }
}
