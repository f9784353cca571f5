//! What the host needs of a Wasm engine. `host/wasm` implements it; tests of core bring fake guests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::event::Event;
use crate::handler::outbox::{Outbox, OutboxError};
use crate::plugin::descriptor::Kind;
use crate::plugin::log::PluginLog;
use crate::projection::state::{State, StateError};
use crate::saga::call::{DataError, StepCall, StepOutcome};

/// Turns uploaded bytes into something that runs.
#[async_trait]
pub trait GuestEngine: Send + Sync + 'static {
    /// A component that this engine has compiled before, from its cache.
    async fn cached(&self, sha256: &str) -> Option<Arc<dyn GuestModule>>;

    /// Checks the bytes against the contract and compiles them, off the async threads; the result is
    /// kept in the cache. No code of the guest runs.
    async fn compile(&self, component: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError>;
}

/// A compiled component. Cheap to keep.
#[async_trait]
pub trait GuestModule: Send + Sync {
    /// Lower-case hex hash of the component's bytes.
    fn sha256(&self) -> &str;

    /// Which world of the contract its exports make it.
    fn kind(&self) -> Kind;

    /// Calls `describe` on an instance of its own, with no configuration and no capability.
    async fn describe(&self) -> Result<String, GuestError>;

    /// A fresh instance of a projection or a handler.
    async fn start(&self, environment: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError>;

    /// A fresh instance of an upcaster.
    async fn start_upcaster(&self, environment: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError>;

    /// A fresh instance of a saga; modules of other kinds refuse.
    async fn start_saga(&self, _environment: GuestEnvironment) -> Result<Box<dyn SagaGuest>, GuestError> {
        Err(GuestError::Contract { what: "it is not a saga".into() })
    }
}

/// What an instance is given for its life.
#[derive(Clone, Debug)]
pub struct GuestEnvironment {
    /// What `config` answers, in order.
    pub config: Arc<[(String, String)]>,
    pub log: Arc<PluginLog>,
    /// Bytes that all its memories and tables may hold together; the engine's own limit without.
    pub memory_bytes_max: Option<usize>,
}

/// What one call of a projection or handler works on.
pub struct Batch {
    pub events: Arc<[Event]>,
    pub state: State,
    /// What a handler emits. A projection has no way to reach it.
    pub outbox: Outbox,
}

/// A warm instance of a projection or handler. After an error other than [`GuestError::Failed`] it
/// answers nothing more and has to be dropped.
#[async_trait]
pub trait Guest: Send {
    /// Hands the batch's events to the guest. The batch comes back whatever happened, with what the guest
    /// had written so far; the caller decides what becomes of it.
    async fn call(&mut self, batch: Batch) -> (Batch, Result<(), GuestError>);

    /// Bytes of guest memory in use, all memories together.
    fn memory_bytes(&self) -> usize;

    /// How long the guest has computed in its last call, where that is measured: what it waits for is not in it.
    fn call_time(&self) -> Option<Duration> {
        None
    }
}

/// A warm instance of an upcaster; as [`Guest`].
#[async_trait]
pub trait UpcasterGuest: Send {
    /// One answer for each event, in order.
    async fn upcast(&mut self, events: Arc<[Event]>) -> Result<Vec<Upcasted>, GuestError>;

    fn memory_bytes(&self) -> usize;

    fn call_time(&self) -> Option<Duration> {
        None
    }
}

/// A warm instance of a saga; as [`Guest`].
#[async_trait]
pub trait SagaGuest: Send {
    /// One attempt at a step, in the direction that the call says. The call comes back whatever happened.
    async fn step(&mut self, call: StepCall) -> (StepCall, Result<StepOutcome, GuestError>);

    fn memory_bytes(&self) -> usize;
}

/// What an upcaster made of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upcasted {
    Unchanged,
    Replaced(Lifted),
    Failed(Failure),
}

/// An event in its next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    pub event_type: String,
    pub schema_version: u32,
    pub data: Bytes,
}

/// Why bytes are not a plugin. Nothing of them was kept.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("not a WebAssembly component: {0}")]
    Invalid(String),
    /// Each entry names one thing that is missing or not allowed.
    #[error("the component does not keep the contract: {}", .0.join("; "))]
    Refused(Vec<String>),
    #[error("the component could not be compiled: {0}")]
    Compile(String),
}

/// How a call into a guest went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GuestError {
    #[error("{0}")]
    Failed(Failure),
    #[error("the plugin crashed: {reason}")]
    Trapped { reason: String },
    /// A crash at a limit that has no figures worth telling.
    #[error("the plugin crashed: {reason}")]
    Exhausted { limit: Limit, reason: String },
    #[error("the plugin used more than its {limit_ms} ms for one call")]
    DeadlineExceeded { limit_ms: u64 },
    #[error("the plugin asked for {asked_bytes} bytes of memory; its limit is {limit_bytes}")]
    OutOfMemory { asked_bytes: u64, limit_bytes: u64 },
    #[error("the host ended the call: {0}")]
    State(#[from] Arc<StateError>),
    #[error("the host ended the call: {0}")]
    Outbox(#[from] OutboxError),
    #[error("the host ended the call: {0}")]
    Data(#[from] DataError),
    /// It gave the host something that is not what the contract says.
    #[error("the plugin does not keep the contract: {what}")]
    Contract { what: String },
}

/// A limit of the sandbox, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    CallTime,
    Memory,
    Stack,
    /// Streams, pollables and other things of the host that an instance holds.
    Handles,
    /// One document, or its key; the data of one saga.
    Document,
    /// All that a checkpoint changes.
    Changes,
    /// What one call emits.
    Outbox,
    /// Streams that it may append to.
    Grants,
    LogLines,
}

impl Limit {
    pub const ALL: [Self; 9] = [
        Self::CallTime,
        Self::Memory,
        Self::Stack,
        Self::Handles,
        Self::Document,
        Self::Changes,
        Self::Outbox,
        Self::Grants,
        Self::LogLines,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Limit::CallTime => "call_time",
            Limit::Memory => "memory",
            Limit::Stack => "stack",
            Limit::Handles => "handles",
            Limit::Document => "document",
            Limit::Changes => "changes",
            Limit::Outbox => "outbox",
            Limit::Grants => "grants",
            Limit::LogLines => "log_lines",
        }
    }
}

impl GuestError {
    pub const REASONS: [&str; 8] = ["failed", "trapped", "deadline", "memory", "state", "outbox", "data", "contract"];

    /// The limit that it has met, if that was the reason.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            GuestError::DeadlineExceeded { .. } => Some(Limit::CallTime),
            GuestError::OutOfMemory { .. } => Some(Limit::Memory),
            GuestError::Exhausted { limit, .. } => Some(*limit),
            GuestError::State(error) => match **error {
                StateError::DocumentTooLarge { .. } | StateError::KeyLength { .. } => Some(Limit::Document),
                StateError::OverlayFull | StateError::TooManyChanges => Some(Limit::Changes),
                StateError::Undeclared { .. } | StateError::KeyNul { .. } | StateError::Store(_) => None,
            },
            GuestError::Outbox(OutboxError::Full) => Some(Limit::Outbox),
            GuestError::Outbox(OutboxError::NotGranted { .. }) => Some(Limit::Grants),
            GuestError::Failed(_)
            | GuestError::Trapped { .. }
            | GuestError::Outbox(_)
            | GuestError::Data(DataError::Key { .. })
            | GuestError::Contract { .. } => None,
            GuestError::Data(DataError::Full) => Some(Limit::Document),
        }
    }

    /// One word for metrics, one of [`REASONS`](Self::REASONS).
    pub fn reason(&self) -> &'static str {
        match self {
            GuestError::Failed(_) => "failed",
            GuestError::Trapped { .. } | GuestError::Exhausted { .. } => "trapped",
            GuestError::DeadlineExceeded { .. } => "deadline",
            GuestError::OutOfMemory { .. } => "memory",
            GuestError::State(_) => "state",
            GuestError::Outbox(_) => "outbox",
            GuestError::Data(_) => "data",
            GuestError::Contract { .. } => "contract",
        }
    }
}

/// A failure that the guest reports itself (`outcomes.failure` of the contract).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub disposition: Disposition,
    pub code: String,
    pub message: String,
    pub retry_after_ms: Option<u32>,
    pub event_index: Option<u32>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the plugin answered {}: {} ({})", self.disposition.as_str(), self.message, self.code)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    Retry,
    Reject,
    Halt,
}

impl Disposition {
    pub fn as_str(self) -> &'static str {
        match self {
            Disposition::Retry => "retry",
            Disposition::Reject => "reject",
            Disposition::Halt => "halt",
        }
    }
}
