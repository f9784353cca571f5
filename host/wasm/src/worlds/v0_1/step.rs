//! Between an attempt of core and the contract's `step-context` and `step-outcome`.

use wasmill_core::clock::Timestamp;
use wasmill_core::guest::GuestError;
use wasmill_core::limits::{publish, saga as limits};
use wasmill_core::name;
use wasmill_core::saga::call::{Direction, StepContext, StepOutcome, Wait};

use super::bindings::exports::wasmill::plugin::saga;
use super::types;

/// Holds what a context of the contract borrows beside its texts.
pub(super) struct Lowered<'a> {
    context: &'a StepContext,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Lowered<'a> {
    pub(super) fn of(context: &'a StepContext) -> Self {
        let attributes = context.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self { context, attributes }
    }

    pub(super) fn context(&self) -> saga::StepContext<'_> {
        let context = self.context;
        saga::StepContext {
            saga_id: &context.saga_id,
            saga_type: &context.saga_type,
            correlation_id: &context.correlation_id,
            step: &context.step,
            attempt: context.attempt,
            idempotency_key: &context.idempotency_key,
            input: &context.input,
            output: context.output.as_deref(),
            woken_by: context.woken_by.as_ref().map(types::lower),
            deadline_us: u64::try_from(context.deadline.0).unwrap_or(0),
            attributes: &self.attributes,
        }
    }
}

pub(super) fn outcome(outcome: saga::StepOutcome, direction: Direction) -> Result<StepOutcome, GuestError> {
    let broken = |what: String| GuestError::Contract { what: format!("`{}` {what}", direction.as_str()) };
    match outcome {
        saga::StepOutcome::Completed(output) if output.len() > limits::OUTPUT_BYTES_MAX => {
            let (bytes, most) = (output.len(), limits::OUTPUT_BYTES_MAX);
            Err(broken(format!("answered an output of {bytes} bytes; a step has at most {most}")))
        }
        saga::StepOutcome::Completed(output) => Ok(StepOutcome::Completed(output.into())),
        saga::StepOutcome::Suspended(wait) => checked(wait).map(StepOutcome::Suspended).map_err(broken),
    }
}

fn checked(wait: saga::Wait) -> Result<Wait, String> {
    let saga::Wait { until_us, event_type, match_key } = wait;
    if (until_us, &event_type, &match_key) == (None, &None, &None) {
        return Err("waits for neither a time nor an event".into());
    }
    if let Some(event_type) = &event_type {
        name::check(event_type).map_err(|error| format!("waits for a type of events: {error}"))?;
    }
    if match_key.as_ref().is_some_and(|key| key.len() > publish::KEY_BYTES_MAX) {
        return Err(format!("waits for a key of more than {} bytes, which no event has", publish::KEY_BYTES_MAX));
    }
    let until = until_us.map(|us| Timestamp(i64::try_from(us).unwrap_or(i64::MAX)));
    Ok(Wait { until, event_type, match_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(
        until_us: Option<u64>,
        event_type: Option<&str>,
        match_key: Option<&str>,
    ) -> Result<StepOutcome, GuestError> {
        let (event_type, match_key) = (event_type.map(str::to_owned), match_key.map(str::to_owned));
        let wait = saga::Wait { until_us, event_type, match_key };
        outcome(saga::StepOutcome::Suspended(wait), Direction::Execute)
    }

    #[test]
    fn a_wait_is_for_something() {
        let wait = |until: Option<i64>, event_type: Option<&str>, match_key: Option<&str>| {
            let (event_type, match_key) = (event_type.map(str::to_owned), match_key.map(str::to_owned));
            StepOutcome::Suspended(Wait { until: until.map(Timestamp), event_type, match_key })
        };
        assert_eq!(waits(Some(7), None, None).unwrap(), wait(Some(7), None, None));
        assert_eq!(waits(Some(u64::MAX), Some("a"), Some("k")).unwrap(), wait(Some(i64::MAX), Some("a"), Some("k")));
        assert_eq!(waits(None, Some("a"), None).unwrap(), wait(None, Some("a"), None));
        let long = "k".repeat(257);
        for (until, event_type, match_key) in
            [(None, None, None), (None, Some(""), None), (None, Some("a"), Some(long.as_str()))]
        {
            let error = waits(until, event_type, match_key).unwrap_err();
            assert!(matches!(error, GuestError::Contract { .. }), "{error}");
        }
    }

    #[test]
    fn an_output_is_bounded() {
        let answered = |bytes: usize| outcome(saga::StepOutcome::Completed(vec![0; bytes]), Direction::Compensate);
        assert!(answered(limits::OUTPUT_BYTES_MAX).is_ok());
        let error = answered(limits::OUTPUT_BYTES_MAX + 1).unwrap_err().to_string();
        assert!(error.contains("`compensate` answered an output of"), "{error}");
    }
}
