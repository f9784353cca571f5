//! What the host needs of a Wasm engine. `host/wasm` implements it; tests of core bring fake guests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::event::Event;
use crate::plugin::descriptor::Kind;
use crate::plugin::log::PluginLog;
use crate::projection::state::{State, StateError};

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

    /// A fresh instance of a projection.
    async fn projection(&self, environment: GuestEnvironment) -> Result<Box<dyn ProjectionGuest>, GuestError>;
}

/// What an instance is given for its life.
#[derive(Clone, Debug)]
pub struct GuestEnvironment {
    /// What `config` answers, in order.
    pub config: Arc<[(String, String)]>,
    pub log: Arc<PluginLog>,
}

/// A warm instance of a projection. After an error other than [`GuestError::Failed`] it answers
/// nothing more and has to be dropped.
#[async_trait]
pub trait ProjectionGuest: Send {
    /// Folds `events` into `state`. State comes back whatever happened, with what the guest had
    /// written so far; the caller decides what becomes of it.
    async fn apply(&mut self, events: Arc<[Event]>, state: State) -> (State, Result<(), GuestError>);

    /// Bytes of guest memory in use, all memories together.
    fn memory_bytes(&self) -> usize;
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
    #[error("the plugin used more than its {limit_ms} ms for one call")]
    DeadlineExceeded { limit_ms: u64 },
    #[error("the plugin asked for {asked_bytes} bytes of memory; its limit is {limit_bytes}")]
    OutOfMemory { asked_bytes: u64, limit_bytes: u64 },
    #[error("the host ended the call: {0}")]
    State(#[from] Arc<StateError>),
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
