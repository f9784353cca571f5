//! What a saga declares of itself: its steps in order, each with its policies, and what starts it.

use serde::{Deserialize, Serialize};

use crate::limits::saga as limits;
use crate::log::filter::{Filter, FilterTerm};
use crate::name::Pattern;
use crate::plugin::descriptor::Descriptor;

/// A step of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Whether `compensate` undoes it; one that does nothing that lasts says no.
    #[serde(default = "yes")]
    pub compensate: bool,
    #[serde(default)]
    pub retry: Retry,
    #[serde(default = "Retry::of_compensation")]
    pub compensate_retry: Retry,
    /// Of one attempt, in the host's time.
    #[serde(default = "attempt_timeout")]
    pub attempt_timeout_ms: u64,
    /// From its first attempt to its completion, waiting included, in the saga's time.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// What its last failed attempt means.
    #[serde(default)]
    pub exhausted: Exhausted,
    /// Once it is completed the saga only goes forward: nothing compensates it any more.
    #[serde(default)]
    pub pivot: bool,
}

/// How often a failed attempt is followed by another, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Retry {
    /// The first one included.
    pub attempts: u32,
    pub base_ms: u64,
    pub factor: u64,
    /// No pause is longer.
    pub longest_ms: u64,
    /// Each pause is shortened at random by up to this part of it, so that many do not return together.
    pub jitter_percent: u8,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: limits::ATTEMPTS,
            base_ms: limits::RETRY_BASE_MS,
            factor: limits::RETRY_FACTOR,
            longest_ms: limits::RETRY_LONGEST_MS,
            jitter_percent: limits::JITTER_PERCENT,
        }
    }
}

impl Retry {
    fn of_compensation() -> Self {
        Self { attempts: limits::COMPENSATION_ATTEMPTS, ..Self::default() }
    }

    /// The pause after so many failed attempts, in microseconds; `chance` is below 2^32.
    pub fn pause_us(&self, failed: u32, chance: u32) -> i64 {
        let factor = self.factor.saturating_pow(failed.saturating_sub(1));
        let pause_us = self.base_ms.saturating_mul(factor).min(self.longest_ms).saturating_mul(1_000);
        let part = u128::from(pause_us) * u128::from(self.jitter_percent.min(100)) / 100;
        let less = (part * u128::from(chance)) >> 32;
        i64::try_from(u128::from(pause_us) - less).unwrap_or(i64::MAX)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exhausted {
    #[default]
    Compensate,
    /// A person looks at it.
    Pause,
}

/// What holds for a saga as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Options {
    /// From its start to its end, in the saga's time. When it passes, the saga is compensated.
    pub timeout_ms: Option<u64>,
    pub clock: SagaClock,
    /// Events that start one. Without any, only calls do.
    pub starts_on: Vec<StartsOn>,
    /// How long one that has ended can be looked at, in the host's time; 30 days without.
    pub keep_ended_ms: Option<u64>,
}

/// Whose time a saga's waits and time-outs are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SagaClock {
    #[default]
    Host,
    /// That of events, those of the streams that the saga is started from: replaying a year in a minute fires a
    /// year's timers.
    Event,
}

/// Events that start a saga: every list that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct StartsOn {
    pub streams: Vec<String>,
    pub types: Vec<String>,
    pub tags: Vec<String>,
    /// Where the correlation id stands: `key`, `correlationId`, or a field of the data, `data.order.id`.
    /// Events of one correlation id start one saga.
    pub correlation: Correlation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Correlation {
    #[default]
    Key,
    CorrelationId,
    /// Names of the fields from the outside inwards.
    Data(Vec<String>),
}

impl TryFrom<String> for Correlation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "key" => return Ok(Correlation::Key),
            "correlationId" => return Ok(Correlation::CorrelationId),
            _ => {}
        }
        let path: Vec<String> = text.strip_prefix("data.").unwrap_or_default().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!("`{text}` is not a place of a correlation id: key, correlationId or data.FIELD"));
        }
        Ok(Correlation::Data(path))
    }
}

impl From<Correlation> for String {
    fn from(correlation: Correlation) -> Self {
        match correlation {
            Correlation::Key => "key".into(),
            Correlation::CorrelationId => "correlationId".into(),
            Correlation::Data(path) => format!("data.{}", path.join(".")),
        }
    }
}

impl Options {
    /// The events whose times move the clock of events for this saga: those of the streams that it is started from,
    /// or all if it does not name any.
    pub fn moved_by(&self) -> Filter {
        let streams = |on: &StartsOn| FilterTerm { streams: patterns(&on.streams), ..FilterTerm::default() };
        Filter::new(self.starts_on.iter().map(streams).collect())
    }
}

fn patterns(globs: &[String]) -> Vec<Pattern> {
    globs.iter().filter_map(|glob| Pattern::new(glob).ok()).collect()
}

impl StartsOn {
    /// What matches; the descriptor was checked.
    pub fn filter(&self) -> Filter {
        let term = FilterTerm {
            streams: patterns(&self.streams),
            types: patterns(&self.types),
            tags: self.tags.clone(),
            ..FilterTerm::default()
        };
        Filter::new(vec![term])
    }
}

/// A saga as a revision of its plugin declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub name: String,
    pub revision: u32,
    pub steps: Vec<Step>,
    pub options: Options,
}

impl Definition {
    pub fn of(descriptor: &Descriptor, revision: u32) -> Self {
        Self {
            name: descriptor.name.clone(),
            revision,
            steps: descriptor.steps.clone(),
            options: descriptor.saga.clone().unwrap_or_default(),
        }
    }

    pub fn step_named(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }
}

/// Hands every rule that a saga's descriptor breaks to `refuse`: where, and what would be right.
pub(crate) fn check(descriptor: &Descriptor, refuse: &mut impl FnMut(String, String)) {
    for (i, step) in descriptor.steps.iter().enumerate() {
        check_retry(&format!("steps[{i}].retry"), &step.retry, refuse);
        check_retry(&format!("steps[{i}].compensateRetry"), &step.compensate_retry, refuse);
        let attempt = step.attempt_timeout_ms;
        if !(limits::ATTEMPT_MS_MIN..=limits::ATTEMPT_MS_MAX).contains(&attempt) {
            let (min, max) = (limits::ATTEMPT_MS_MIN, limits::ATTEMPT_MS_MAX);
            refuse(format!("steps[{i}].attemptTimeoutMs"), format!("{attempt} is not within {min} to {max}"));
        }
        check_time(&format!("steps[{i}].timeoutMs"), step.timeout_ms, refuse);
    }
    if descriptor.steps.iter().filter(|step| step.pivot).count() > 1 {
        refuse("steps".into(), "at most one step is the pivot".into());
    }
    let Some(options) = &descriptor.saga else { return };
    check_time("saga.timeoutMs", options.timeout_ms, refuse);
    check_time("saga.keepEndedMs", options.keep_ended_ms, refuse);
    if options.starts_on.len() > limits::STARTS_MAX {
        refuse("saga.startsOn".into(), format!("it has at most {} entries", limits::STARTS_MAX));
    }
    for (i, start) in options.starts_on.iter().enumerate() {
        if start.types.is_empty() && start.streams.is_empty() && start.tags.is_empty() {
            refuse(format!("saga.startsOn[{i}]"), "it names at least one stream, type or tag".into());
        }
        for (list, globs) in [("streams", &start.streams), ("types", &start.types)] {
            for (j, glob) in globs.iter().enumerate() {
                if let Err(error) = Pattern::new(glob) {
                    refuse(format!("saga.startsOn[{i}].{list}[{j}]"), error.to_string());
                }
            }
        }
    }
}

fn check_retry(at: &str, retry: &Retry, refuse: &mut impl FnMut(String, String)) {
    let mut within = |field: &str, value: u64, (min, max): (u64, u64)| {
        if !(min..=max).contains(&value) {
            refuse(format!("{at}.{field}"), format!("{value} is not within {min} to {max}"));
        }
    };
    within("attempts", u64::from(retry.attempts), (1, u64::from(limits::ATTEMPTS_MAX)));
    within("baseMs", retry.base_ms, (1, limits::RETRY_MS_MAX));
    within("factor", retry.factor, (1, limits::RETRY_FACTOR_MAX));
    within("longestMs", retry.longest_ms, (1, limits::RETRY_MS_MAX));
    within("jitterPercent", u64::from(retry.jitter_percent), (0, 100));
}

fn check_time(at: &str, time_ms: Option<u64>, refuse: &mut impl FnMut(String, String)) {
    if let Some(time) = time_ms.filter(|time| !(1..=limits::TIMEOUT_MS_MAX).contains(time)) {
        refuse(at.into(), format!("{time} is not within 1 to {}", limits::TIMEOUT_MS_MAX));
    }
}

fn yes() -> bool {
    true
}

fn attempt_timeout() -> u64 {
    limits::ATTEMPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_cap_and_jitter_only_shortens_them() {
        let retry = Retry { attempts: 9, base_ms: 100, factor: 2, longest_ms: 1_000, jitter_percent: 0 };
        let pauses: Vec<i64> = (1..6).map(|failed| retry.pause_us(failed, u32::MAX) / 1_000).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000]);
        let jitter = Retry { jitter_percent: 50, ..retry };
        assert_eq!(jitter.pause_us(1, 0), 100_000);
        assert!((50_000..50_010).contains(&jitter.pause_us(1, u32::MAX)));
        assert_eq!(Retry { factor: 100, ..retry }.pause_us(u32::MAX, 0), 1_000_000, "it does not overflow");
    }

    #[test]
    fn a_correlation_id_stands_in_one_of_three_places() {
        for text in ["key", "correlationId", "data.order.id"] {
            let correlation = Correlation::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(correlation), text);
        }
        for text in ["", "data", "data.", "data..a", "order"] {
            assert!(Correlation::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
