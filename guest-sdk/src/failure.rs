use std::fmt;
use std::time::Duration;

/// What the host should do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Transient: roll back, back off, call again with the same input.
    Retry,
    /// This input can never work: roll back and set it aside.
    Reject,
    /// The plugin itself cannot go on: roll back, pause it, raise an alert.
    Halt,
}

/// Why a call failed, and what the host should do about it. Everything that the call changed is
/// rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub disposition: Disposition,
    /// Stable and machine-readable, e.g. `payment.declined`.
    pub code: String,
    pub message: String,
    /// Overrides the host's back-off before the next attempt only. At most 2^32 - 1 ms.
    pub retry_after_ms: Option<u32>,
    /// Which event of the batch. The SDK fills it in when a plugin fails on an event.
    pub event_index: Option<u32>,
    pub attributes: Vec<(String, String)>,
}

impl Failure {
    /// Try again later: the same input may work then.
    pub fn retry(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Disposition::Retry, code.into(), message.into())
    }

    /// This event can never work.
    pub fn reject(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Disposition::Reject, code.into(), message.into())
    }

    /// The plugin cannot go on, whatever the event.
    pub fn halt(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Disposition::Halt, code.into(), message.into())
    }

    /// Asks for this pause before the next attempt.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.retry_after_ms = Some(u32::try_from(pause.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Adds a fact for whoever reads the failure.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Names the event of the batch, unless the plugin has done so.
    pub(crate) fn at(mut self, index: u32) -> Self {
        self.event_index.get_or_insert(index);
        self
    }

    fn new(disposition: Disposition, code: String, message: String) -> Self {
        Self { disposition, code, message, retry_after_ms: None, event_index: None, attributes: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}
