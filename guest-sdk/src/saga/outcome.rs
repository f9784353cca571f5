use std::time::Duration;

use serde::Serialize;

use super::StepContext;
use crate::Failure;

/// What becomes of a step that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, with its output.
    Completed(Vec<u8>),
    /// It is called again when what it waits for is there.
    Suspended(Wait),
}

/// What a step waits for: a time, an event, or whichever comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    pub until_us: Option<u64>,
    pub event_type: Option<String>,
    pub match_key: Option<String>,
}

impl Outcome {
    /// Done, with nothing to say.
    pub fn done() -> Self {
        Self::Completed(Vec::new())
    }

    /// Done; the output is kept as JSON, for later steps and for the one that undoes it.
    ///
    /// # Errors
    /// `output.unwritable` (halt) when it cannot be written as JSON.
    pub fn completed(output: &impl Serialize) -> Result<Self, Failure> {
        let unwritable = |error: serde_json::Error| Failure::halt("output.unwritable", error.to_string());
        Ok(Self::Completed(serde_json::to_vec(output).map_err(unwritable)?))
    }
}

impl Wait {
    /// Until a time, in microseconds since the Unix epoch, of the saga's clock.
    pub fn until_us(until_us: u64) -> Self {
        Self { until_us: Some(until_us), ..Self::default() }
    }

    /// For a while, by the saga's clock.
    pub fn a_while(context: &StepContext, duration: Duration) -> Self {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self::until_us(context.now_us().saturating_add(us))
    }

    /// For an event of this type whose key is the saga's correlation id. One that came after the saga began, or was
    /// woken last, is found as well.
    pub fn for_event(event_type: impl Into<String>) -> Self {
        Self { event_type: Some(event_type.into()), ..Self::default() }
    }

    /// The event has this key instead.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.match_key = Some(key.into());
        self
    }

    /// Not longer than until this time.
    #[must_use]
    pub fn but_until_us(mut self, until_us: u64) -> Self {
        self.until_us = Some(until_us);
        self
    }

    /// Not longer than a while, by the saga's clock.
    #[must_use]
    pub fn but_a_while(self, context: &StepContext, duration: Duration) -> Self {
        let Self { until_us, .. } = Self::a_while(context, duration);
        Self { until_us, ..self }
    }
}

/// A step that returns a wait is called again.
impl From<Wait> for Outcome {
    fn from(wait: Wait) -> Self {
        Outcome::Suspended(wait)
    }
}
