//! Sagas: long-running processes of declared steps, which are undone backwards when one fails.
//!
//! A plugin of kind saga [declares](definition) its steps and their policies, and does them one by one when it is
//! [called](call). Everything that happens to a saga is a [fact](fact); what a saga [is](model) follows from its facts
//! by one pure transition function (`next.rs`), so that a crash anywhere is mended by replaying what was stored. One
//! host drives the sagas of a store (`engine.rs`, `drive.rs`); all hosts start them, show them and take orders for them
//! ([`Sagas`]).

mod attempt;
mod book;
pub mod call;
mod control;
pub mod definition;
mod drive;
mod engine;
pub mod fact;
mod feed;
pub mod http;
pub mod model;
mod next;
mod registry;
mod rows;
mod start;
mod sweep;
pub mod view;

use uuid::Uuid;

pub use control::{Command, EVENTS, Load, SagaEvent, Sagas, StartSaga, Watch};
pub(crate) use engine::Parts;
pub use next::Refused;
pub use rows::{Activity, Head};
pub use start::Started;

use crate::code::{Code, Problem};
use crate::limits::saga as limits;
use crate::log::commit::CommitError;
use crate::log::publish::AppendError;
use crate::store::StoreError;
use engine::BookError;
use model::State;

/// Why something cannot be done with a saga.
#[derive(Debug, thiserror::Error)]
pub enum SagaError {
    #[error("no saga is deployed as `{0}`")]
    NoType(String),
    #[error("saga {0} does not exist")]
    NotFound(Uuid),
    #[error("there is no saga `{saga_type}` with correlation id `{correlation_id}`")]
    NoneOf { saga_type: String, correlation_id: String },
    #[error("saga {id} is {}, and {why}", .state.as_str())]
    State { id: Uuid, why: Refused, state: State },
    #[error("it has {bytes} bytes; the limit is {}", limits::INPUT_BYTES_MAX)]
    InputTooLarge { bytes: usize },
    #[error(
        "a correlation id has 1 to {} bytes and no control characters; this one has {bytes}",
        limits::CORRELATION_BYTES_MAX
    )]
    CorrelationId { bytes: usize },
    #[error("a note has at most {} bytes", limits::NOTE_BYTES_MAX)]
    NoteTooLong,
    #[error("there is no step `{step}`; there are {steps}")]
    NoStep { step: String, steps: String },
    #[error("revision {revision} does not begin with the steps that the saga has come to; it has {steps}")]
    OtherSteps { revision: u32, steps: String },
    #[error("{0}")]
    Revision(String),
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl SagaError {
    /// Trying again would not help.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self, SagaError::Store(_) | SagaError::Commit(_))
    }
}

impl From<BookError> for SagaError {
    fn from(error: BookError) -> Self {
        match error {
            BookError::Store(error) => SagaError::Store(error),
            error => SagaError::Revision(error.to_string()),
        }
    }
}

impl From<SagaError> for Problem {
    fn from(error: SagaError) -> Self {
        let code = match &error {
            SagaError::NoType(_) => Code::PluginNotFound,
            SagaError::NotFound(_) | SagaError::NoneOf { .. } => Code::SagaNotFound,
            SagaError::State { .. } | SagaError::OtherSteps { .. } => Code::SagaState,
            SagaError::InputTooLarge { .. } => Code::LimitReached,
            SagaError::CorrelationId { .. } | SagaError::NoteTooLong | SagaError::NoStep { .. } => {
                Code::InvalidArgument
            }
            SagaError::Revision(_) => Code::PluginConflict,
            SagaError::Store(_) | SagaError::Commit(_) | SagaError::Append(_) => {
                return match error {
                    SagaError::Store(error) => Problem::from(&error),
                    SagaError::Commit(error) => error.into(),
                    SagaError::Append(error) => error.into(),
                    _ => unreachable!("the arms above name them"),
                };
            }
        };
        Problem::new(code, error.to_string())
    }
}
