//! What a group is: what it reads, who gets it, and what happens to what is not settled.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::code::{Code, Problem};
use crate::event::Position;
use crate::limits::{group as limits, publish, read};
use crate::log::filter::{Filter, FilterTerm};
use crate::name::{self, InvalidName, Pattern};

pub use crate::stream::config::ParkedKeys;

/// As it is stored, and as it is told. Fields that a client leaves out have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Names of streams, or patterns of them. Each list that is not empty must have a match; without any the
    /// group reads the whole log. See [`FilterTerm`].
    pub streams: Vec<String>,
    pub types: Vec<String>,
    pub keys: Vec<String>,
    pub tags: Vec<String>,
    pub correlation_ids: Vec<String>,
    /// What a handler subscribes to: one of these has to match. Groups that are made by hand have none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Choice>,
    pub mode: Mode,
    pub delivery: Delivery,
    pub commit: CommitStrategy,
    /// Between two commits of the strategy `periodic`.
    pub commit_every_ms: Option<u64>,
    /// How long a member may work on an event before it is handed to someone else, unless it asks for more.
    pub ack_timeout_ms: Option<u64>,
    /// How long a member may be silent before its events are handed to others.
    pub session_timeout_ms: Option<u64>,
    /// Deliveries after which an event that is not settled becomes a dead letter, or is dropped.
    pub max_deliveries: Option<u64>,
    pub retry: RetryConfig,
    pub dead_letters: DeadLetters,
    /// A stream to which a copy of each dead letter is published.
    pub dead_letter_stream: Option<String>,
    pub parked_keys: ParkedKeys,
    /// Positions behind the end of the log from which on the group counts as degraded, and as unhealthy.
    pub degraded_lag: Option<u64>,
    pub unhealthy_lag: Option<u64>,
}

/// Streams and types, of which each list that is not empty must have a match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Choice {
    pub streams: Vec<String>,
    pub types: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The members share the events.
    #[default]
    Queue,
    /// The member that joined first gets all, the others stand by.
    Exclusive,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    #[default]
    AtLeastOnce,
    /// Every acknowledgement is durable before it is answered, and a late one of a delivery that was handed on
    /// is refused: an event that is acknowledged is never handed to the group again.
    ExactlyOnce,
    /// An event is settled before it is handed out.
    AtMostOnce,
}

/// When acknowledgements become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitStrategy {
    /// Before each is answered.
    #[default]
    Each,
    /// When all that a member holds is acknowledged.
    Batch,
    Periodic,
    /// When a member says so.
    Manual,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Before the second delivery.
    pub base_ms: Option<u64>,
    /// By which each further delay is longer.
    pub factor: Option<u64>,
    pub max_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetters {
    #[default]
    Keep,
    /// What is given up is gone.
    Drop,
}

/// Where a group begins, or is reset to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    #[default]
    First,
    /// Behind the newest event.
    Last,
    /// Inclusive.
    Position(u64),
    /// In the one stream that the group reads; inclusive.
    Offset(u64),
    /// The oldest event that was recorded at that time (microseconds since 1970) or later.
    Time(i64),
}

/// A group as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRecord {
    pub name: String,
    pub config: GroupConfig,
    /// Whether it is the group of a queue: of an ephemeral stream, whose events have no order without a key.
    #[serde(default)]
    pub queue: bool,
    pub paused: bool,
    /// Counts resets; an owner of a share that has seen fewer begins anew at `start`.
    pub resets: u64,
    /// Position at which the group began, or to which it was reset last.
    pub start: u64,
    pub created_at_us: i64,
}

/// Why a group's configuration is refused. Each entry is a field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(|(at, what)| format!("{at}: {what}")).collect::<Vec<_>>().join("; "))]
pub struct InvalidGroup(pub Vec<(String, String)>);

impl From<InvalidGroup> for Problem {
    fn from(error: InvalidGroup) -> Self {
        let problem = Problem::new(Code::InvalidArgument, format!("the group's configuration is refused: {error}"));
        error.0.into_iter().fold(problem, |problem, (at, what)| problem.with(at, what))
    }
}

impl GroupConfig {
    /// Names every value that cannot be.
    pub fn check(&self) -> Result<(), InvalidGroup> {
        let mut broken = Vec::new();
        let mut range = |at: &str, value: Option<u64>, min: u64, max: u64| {
            if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
                broken.push((at.to_owned(), format!("{value} is out of its range, {min} to {max}")));
            }
        };
        range("commitEveryMs", self.commit_every_ms, 1, limits::COMMIT_MS_MAX);
        range("ackTimeoutMs", self.ack_timeout_ms, limits::TIMEOUT_MS_MIN, limits::TIMEOUT_MS_MAX);
        range("sessionTimeoutMs", self.session_timeout_ms, limits::TIMEOUT_MS_MIN, limits::SESSION_MS_MAX);
        range("maxDeliveries", self.max_deliveries, 1, crate::limits::stream::DELIVERIES_MAX);
        range("retry.baseMs", self.retry.base_ms, 0, limits::RETRY_MS_MAX);
        range("retry.factor", self.retry.factor, 1, limits::RETRY_FACTOR_MAX);
        range("retry.maxMs", self.retry.max_ms, 0, limits::RETRY_MS_MAX);
        range("degradedLag", self.degraded_lag, 1, crate::limits::stream::NUMBER_MAX);
        range("unhealthyLag", self.unhealthy_lag, 1, crate::limits::stream::NUMBER_MAX);
        if self.delivery == Delivery::ExactlyOnce && self.commit != CommitStrategy::Each {
            broken.push(("commit".into(), "with `delivery: exactly_once` it is `each`".into()));
        }
        if self.commit_every_ms.is_some() && self.commit != CommitStrategy::Periodic {
            broken.push(("commitEveryMs".into(), "it is said with `commit: periodic` alone".into()));
        }
        if let Some(Err(error)) = self.dead_letter_stream.as_deref().map(name::check) {
            broken.push(("deadLetterStream".into(), error.to_string()));
        }
        broken.extend(self.source_problems());
        if broken.is_empty() { Ok(()) } else { Err(InvalidGroup(broken)) }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has only texts and numbers")
    }

    pub fn ack_timeout_us(&self) -> i64 {
        micros(self.ack_timeout_ms.unwrap_or(limits::TIMEOUT_MS))
    }

    pub fn session_timeout_us(&self) -> i64 {
        micros(self.session_timeout_ms.unwrap_or(limits::TIMEOUT_MS))
    }

    pub fn commit_every_us(&self) -> i64 {
        micros(self.commit_every_ms.unwrap_or(limits::COMMIT_MS))
    }

    pub fn deliveries_max(&self) -> u32 {
        u32::try_from(self.max_deliveries.unwrap_or(limits::DELIVERIES)).unwrap_or(u32::MAX)
    }

    /// How long an event rests that was delivered `deliveries` times.
    pub fn rest_us(&self, deliveries: u32) -> i64 {
        let RetryConfig { base_ms, factor, max_ms } = self.retry;
        let factor = factor.unwrap_or(limits::RETRY_FACTOR);
        let grown = factor.checked_pow(deliveries.saturating_sub(1)).unwrap_or(u64::MAX);
        let rest = base_ms.unwrap_or(limits::RETRY_BASE_MS).saturating_mul(grown);
        micros(rest.min(max_ms.unwrap_or(limits::RETRY_LONGEST_MS)))
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)
}

/// What it reads.
impl GroupConfig {
    fn source_problems(&self) -> Vec<(String, String)> {
        let entries = [&self.streams, &self.types, &self.keys, &self.tags, &self.correlation_ids];
        let count: usize = entries.iter().map(|list| list.len()).sum();
        if count > read::FILTER_TERMS_MAX {
            let what = format!("{count} entries in all lists; a group has at most {}", read::FILTER_TERMS_MAX);
            return vec![("streams".into(), what)];
        }
        let mut broken = Vec::new();
        for (field, globs) in [("streams", &self.streams), ("types", &self.types)] {
            for (n, glob) in globs.iter().enumerate() {
                if let Err(error) = Pattern::new(glob) {
                    broken.push((format!("{field}[{n}]"), error.to_string()));
                }
            }
        }
        let bounded = [
            ("keys", &self.keys, publish::KEY_BYTES_MAX),
            ("tags", &self.tags, publish::TAG_BYTES_MAX),
            ("correlationIds", &self.correlation_ids, publish::ID_BYTES_MAX),
        ];
        for (field, texts, max) in bounded {
            for (n, text) in texts.iter().enumerate() {
                if text.is_empty() || text.len() > max {
                    broken.push((format!("{field}[{n}]"), format!("it has {} bytes, not 1 to {max}", text.len())));
                }
            }
        }
        broken
    }

    pub fn filter(&self) -> Result<Filter, InvalidName> {
        let patterns = |globs: &[String]| globs.iter().map(|glob| Pattern::new(glob)).collect::<Result<Vec<_>, _>>();
        if !self.any_of.is_empty() {
            let term = |choice: &Choice| {
                let (streams, types) = (patterns(&choice.streams)?, patterns(&choice.types)?);
                Ok(FilterTerm { streams, types, ..FilterTerm::default() })
            };
            return Ok(Filter::new(self.any_of.iter().map(term).collect::<Result<_, _>>()?));
        }
        Ok(Filter::new(vec![FilterTerm {
            streams: patterns(&self.streams)?,
            types: patterns(&self.types)?,
            keys: self.keys.clone(),
            tags: self.tags.clone(),
            correlation_ids: self.correlation_ids.clone(),
        }]))
    }

    /// The one stream that is read, if it is one.
    pub fn only_stream(&self) -> Option<&str> {
        match self.streams.as_slice() {
            [stream] if !stream.contains('*') => Some(stream),
            _ => None,
        }
    }
}

impl GroupRecord {
    pub fn start(&self) -> Position {
        Position(self.start)
    }

    pub fn created_at(&self) -> Timestamp {
        Timestamp(self.created_at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let json = r#"{"streams":["order-*"],"mode":"exclusive","delivery":"exactly_once","ackTimeoutMs":5000,
            "retry":{"baseMs":10,"factor":3},"deadLetters":"drop","parkedKeys":"go_on"}"#;
        let config: GroupConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.mode, config.delivery), (Mode::Exclusive, Delivery::ExactlyOnce));
        let stored = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<GroupConfig>(&stored).unwrap(), config);
    }

    #[test]
    fn every_mistake_is_named() {
        let json = r#"{"streams":["a\u0007"],"keys":[""],"delivery":"exactly_once","commit":"manual",
            "commitEveryMs":5,"ackTimeoutMs":1,"maxDeliveries":0,"retry":{"factor":0}}"#;
        let config: GroupConfig = serde_json::from_str(json).unwrap();
        let broken = config.check().unwrap_err().0;
        let at: Vec<_> = broken.iter().map(|(at, _)| at.as_str()).collect();
        let expected =
            ["ackTimeoutMs", "maxDeliveries", "retry.factor", "commit", "commitEveryMs", "streams[0]", "keys[0]"];
        assert_eq!(at, expected);
    }

    #[test]
    fn each_rest_is_longer_up_to_the_longest() {
        let retry = RetryConfig { base_ms: Some(10), factor: Some(3), max_ms: Some(100) };
        let config = GroupConfig { retry, ..GroupConfig::default() };
        let rests: Vec<_> = [1, 2, 3, 4, 100].iter().map(|n| config.rest_us(*n) / 1_000).collect();
        assert_eq!(rests, [10, 30, 90, 100, 100]);
    }
}
