//! What holds for one stream, when all that is said of it is put together.

use std::time::Duration;

use super::config::{AccessBy, Deletion, Scope, StreamConfig, Validation};
use crate::limits::publish as limits;

/// What holds for a stream. Every field that has a default is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective(StreamConfig);

/// Who wants to do something with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The host itself: retention, sagas, schedules.
    Host,
    Plugin,
    /// A client over any face.
    Api,
    /// A bridge to another service.
    Bridge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Publish,
    Read,
}

/// How long a stream's events are kept; `None` is without this bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub age: Option<Duration>,
    pub events: Option<u64>,
    pub bytes: Option<u64>,
}

impl Effective {
    /// Lays `layers` over the built-in defaults, each over those before it; `took` hears of every field
    /// that a layer sets, with the layer's index.
    pub(super) fn of<'a>(
        layers: impl IntoIterator<Item = &'a StreamConfig>,
        mut took: impl FnMut(&'static str, usize),
    ) -> Self {
        let mut whole = StreamConfig::built_in();
        for (index, layer) in layers.into_iter().enumerate() {
            whole.take_over(layer, |field| took(field, index));
        }
        Self(whole)
    }

    /// The whole of it, for showing.
    pub fn config(&self) -> &StreamConfig {
        &self.0
    }

    pub fn auto_create(&self) -> bool {
        self.0.auto_create.unwrap_or(true)
    }

    pub fn deletion(&self) -> Deletion {
        self.0.deletion.unwrap_or(Deletion::Allowed)
    }

    pub fn delete_when_empty_after(&self) -> Option<Duration> {
        if self.deletion() == Deletion::Forbidden { None } else { seconds(self.0.delete_when_empty_after_seconds) }
    }

    pub fn keep(&self) -> Keep {
        let retention = &self.0.retention;
        Keep {
            age: seconds(retention.max_age_seconds),
            events: retention.max_events.filter(|events| *events > 0),
            bytes: retention.max_bytes.filter(|bytes| *bytes > 0),
        }
    }

    /// Of one event's data.
    pub fn event_bytes_max(&self) -> usize {
        bounded(self.0.limits.max_event_bytes, limits::EVENT_DATA_BYTES_MAX)
    }

    pub fn append_events_max(&self) -> usize {
        bounded(self.0.limits.max_append_events, limits::APPEND_EVENTS_MAX)
    }

    pub fn validation(&self) -> Validation {
        self.0.schema.validation.unwrap_or(Validation::None)
    }

    /// What is the host's own business is always allowed.
    pub fn allows(&self, caller: Caller, access: Access) -> bool {
        let needed = match caller {
            Caller::Host | Caller::Plugin => return true,
            Caller::Api => Scope::Public,
            Caller::Bridge => Scope::CrossService,
        };
        let by = match access {
            Access::Publish => self.0.access.publish,
            Access::Read => self.0.access.read,
        };
        self.0.scope.unwrap_or(Scope::Public) >= needed && by != Some(AccessBy::Plugins)
    }
}

fn seconds(seconds: Option<u64>) -> Option<Duration> {
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn bounded(said: Option<u64>, max: usize) -> usize {
    said.and_then(|said| usize::try_from(said).ok()).map_or(max, |said| said.min(max))
}
