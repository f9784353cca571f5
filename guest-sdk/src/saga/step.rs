use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Direction, Outcome, StepContext};
use crate::Failure;

/// One step of a [`Saga`](super::Saga): its name, what does it and what undoes it, and its policies.
pub struct Step {
    name: &'static str,
    execute: Box<Call>,
    compensate: Option<Box<Call>>,
    policy: Policy,
}

type Call = dyn Fn(&mut StepContext) -> Result<Outcome, Failure>;

/// What the host is told of a step; what is not said is the host's default.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compensate_retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pivot: bool,
}

/// A step as it stands in the descriptor.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    compensate: bool,
    #[serde(flatten)]
    policy: Policy,
}

/// How often a failed attempt is followed by another, and when.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_percent: Option<u8>,
}

impl Step {
    /// `name` is 1 to 64 of `a-z`, `0-9` and `-`, and begins with a letter. Without [`undone_by`](Self::undone_by) it
    /// does nothing that would have to be undone.
    pub fn new(name: &'static str, execute: impl Fn(&mut StepContext) -> Result<Outcome, Failure> + 'static) -> Self {
        Self { name, execute: Box::new(execute), compensate: None, policy: Policy::default() }
    }

    /// What undoes it. It is also called when nobody knows whether the step was done, so it has to bear that there is
    /// nothing to undo.
    #[must_use]
    pub fn undone_by(mut self, compensate: impl Fn(&mut StepContext) -> Result<Outcome, Failure> + 'static) -> Self {
        self.compensate = Some(Box::new(compensate));
        self
    }

    /// Says what it is for. Up to 1,000 bytes.
    #[must_use]
    pub fn describe(mut self, description: &'static str) -> Self {
        self.policy.description = description;
        self
    }

    /// How often it is attempted. Five times by default.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = Some(retry);
        self
    }

    /// How often undoing it is attempted. Twenty times by default; then a person has to look.
    #[must_use]
    pub fn compensate_retry(mut self, retry: Retry) -> Self {
        self.policy.compensate_retry = Some(retry);
        self
    }

    /// What one attempt may take. 30 s by default.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.policy.attempt_timeout_ms = Some(millis(timeout));
        self
    }

    /// From its first attempt to its completion, waiting included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.policy.timeout_ms = Some(millis(timeout));
        self
    }

    /// Its last failed attempt pauses the saga, for a person to look, instead of undoing it.
    #[must_use]
    pub fn pauses_when_exhausted(mut self) -> Self {
        self.policy.exhausted = Some("pause");
        self
    }

    /// Once it is completed the saga only goes forward. At most one step.
    #[must_use]
    pub fn pivot(mut self) -> Self {
        self.policy.pivot = true;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn declared(&self) -> Declared {
        Declared { name: self.name, compensate: self.compensate.is_some(), policy: self.policy.clone() }
    }

    pub(super) fn call(&self, direction: Direction, context: &mut StepContext) -> Result<Outcome, Failure> {
        match (direction, &self.compensate) {
            (Direction::Execute, _) => (self.execute)(context),
            (Direction::Compensate, Some(compensate)) => compensate(context),
            (Direction::Compensate, None) => Ok(Outcome::done()),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
impl Declared {
    pub(crate) fn is_pivot(&self) -> bool {
        self.policy.pivot
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Retry {
    /// The first attempt included.
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// The first pause. 100 ms by default.
    #[must_use]
    pub fn base(mut self, pause: Duration) -> Self {
        self.base_ms = Some(millis(pause));
        self
    }

    /// Each pause is so many times the one before. 2 by default.
    #[must_use]
    pub fn factor(mut self, factor: u64) -> Self {
        self.factor = Some(factor);
        self
    }

    /// No pause is longer. A minute by default.
    #[must_use]
    pub fn longest(mut self, pause: Duration) -> Self {
        self.longest_ms = Some(millis(pause));
        self
    }

    /// Each pause is shortened at random by up to this part of it. 20 by default.
    #[must_use]
    pub fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = Some(percent);
        self
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
