//! How a plugin is run, which its operators may change at any time, whatever revision it runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::group::config::RetryConfig;
use crate::limits::plugin as limits;
use crate::own::{self, document, guard};
use crate::store::{DocumentChange, Guard, Store, StoreError};

pub(crate) const COLLECTION: &str = "plugin-settings";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    #[default]
    Running,
    /// Nothing is handed to it; its instances stay warm.
    Paused,
    /// It has no instance.
    Stopped,
}

impl Wanted {
    pub fn as_str(self) -> &'static str {
        match self {
            Wanted::Running => "running",
            Wanted::Paused => "paused",
            Wanted::Stopped => "stopped",
        }
    }
}

/// What one checkpoint covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// As many events as there are, up to the bounds of a commit.
    #[default]
    Batch,
    Event,
}

/// What happens to an event that fails for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The plugin waits for a person.
    Pause,
    /// It is put aside with those of its key behind it, and the others go on.
    Park,
}

/// As it is stored, and as it is told. What is left out has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    pub wanted: Wanted,
    /// Whether it runs when the host starts; it does by default.
    pub auto_start: Option<bool>,
    pub checkpoint: Checkpoint,
    /// Events of one call, 1 to 256.
    pub batch_events: Option<u64>,
    /// How often it looks for events, instead of with every commit.
    pub poll_interval_ms: Option<u64>,
    pub retry: RetryConfig,
    /// How often an event is tried before it counts as failed.
    pub attempts: Option<u64>,
    /// By default projections pause and handlers park.
    pub on_failure: Option<OnFailure>,
    /// How fast a read model is built.
    pub build_events_per_second: Option<u64>,
    /// A read model that has been built waits for a person before it serves.
    pub confirm_swap: bool,
    /// Partitions of a projection that folds by key, from its next build on.
    pub partitions: Option<u64>,
    /// Memory of one instance; the host's limit by default.
    pub memory_bytes: Option<u64>,
}

impl Settings {
    /// Each entry is a field and what is wrong with it.
    pub fn check(&self) -> Result<(), Vec<(String, String)>> {
        let ranges = [
            ("batchEvents", self.batch_events, 1, limits::CALL_EVENTS_MAX as u64),
            ("pollIntervalMs", self.poll_interval_ms, 1, limits::POLL_MS_MAX),
            ("attempts", self.attempts, 1, limits::ATTEMPTS_MAX),
            ("retry.baseMs", self.retry.base_ms, 0, limits::RETRY_MS_MAX),
            ("retry.factor", self.retry.factor, 1, limits::RETRY_FACTOR_MAX),
            ("retry.maxMs", self.retry.max_ms, 0, limits::RETRY_MS_MAX),
            ("buildEventsPerSecond", self.build_events_per_second, 1, limits::BUILD_RATE_MAX),
            ("partitions", self.partitions, 1, limits::PARTITIONS_MAX),
            ("memoryBytes", self.memory_bytes, limits::MEMORY_BYTES_MIN, limits::MEMORY_BYTES_MAX),
        ];
        let out = |(at, value, min, max): (&str, Option<u64>, u64, u64)| {
            let value = value.filter(|value| !(min..=max).contains(value))?;
            Some((at.to_owned(), format!("{value} is out of its range, {min} to {max}")))
        };
        let broken: Vec<_> = ranges.into_iter().filter_map(out).collect();
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    pub fn call_events_max(&self) -> usize {
        let asked = self.batch_events.and_then(|events| usize::try_from(events).ok());
        asked.unwrap_or(limits::CALL_EVENTS_MAX).clamp(1, limits::CALL_EVENTS_MAX)
    }

    pub fn attempts(&self) -> u32 {
        self.attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(limits::ATTEMPTS)
    }

    /// The rest before the next attempt, when `attempts` have failed.
    pub fn back_off(&self, attempts: u32) -> Duration {
        let RetryConfig { base_ms, factor, max_ms } = self.retry;
        let factor = factor.unwrap_or(limits::RETRY_FACTOR);
        let grown = factor.checked_pow(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
        let rest = base_ms.unwrap_or(limits::RETRY_BASE_MS).saturating_mul(grown);
        Duration::from_millis(rest.min(max_ms.unwrap_or(limits::RETRY_LONGEST_MS)))
    }

    pub fn memory_bytes_max(&self) -> Option<usize> {
        self.memory_bytes.and_then(|bytes| usize::try_from(bytes).ok())
    }

    pub fn partitions(&self) -> u32 {
        self.partitions.and_then(|partitions| u32::try_from(partitions).ok()).unwrap_or(1)
    }

    /// The document that keeps them, and what it must be at present.
    pub(crate) fn put(&self, plugin: &str, before: Option<bytes::Bytes>) -> (Guard, DocumentChange) {
        let value = serde_json::to_vec(self).expect("it has only texts, numbers and flags");
        (guard(COLLECTION, plugin.to_owned(), before), document(COLLECTION, plugin.to_owned(), Some(value.into())))
    }

    /// With the bytes that are stored.
    pub(crate) async fn load(store: &dyn Store, plugin: &str) -> Result<(Option<bytes::Bytes>, Self), StoreError> {
        let stored = own::read(store, COLLECTION, plugin).await?;
        let what = || format!("the settings of plugin `{plugin}`");
        let settings = stored.as_deref().map(|stored| own::decode_json(&what, stored)).transpose()?;
        Ok((stored, settings.unwrap_or_default()))
    }
}
