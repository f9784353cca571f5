//! What a saga says of itself beside its steps.

use std::time::Duration;

use serde::Serialize;

use super::Descriptor;
use crate::Step;
use crate::saga::millis;

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    starts_on: Vec<StartsOn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_ended_ms: Option<u64>,
}

/// Events that start a saga: every list that is given must match.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartsOn {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
}

impl StartsOn {
    /// Events of the types that match any of `patterns`.
    pub fn types<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self { types: patterns.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// In the streams that match any of `patterns`.
    #[must_use]
    pub fn in_streams<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.streams.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// With all of these tags.
    #[must_use]
    pub fn tagged<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// The correlation id of the saga stands here: `key` (unless another is said), `correlationId`, or a field of the
    /// data such as `data.order.id`. Events of one correlation id start one saga.
    #[must_use]
    pub fn correlated_by(mut self, place: impl Into<String>) -> Self {
        self.correlation = Some(place.into());
        self
    }
}

impl Descriptor {
    /// From a saga's start to its end; when it passes, the saga is undone. Sagas only.
    #[must_use]
    pub fn saga_timeout(mut self, timeout: Duration) -> Self {
        self.saga.get_or_insert_default().timeout_ms = Some(millis(timeout));
        self
    }

    /// How long a saga that has ended can be looked at. 30 days by default. Sagas only.
    #[must_use]
    pub fn keep_ended(mut self, time: Duration) -> Self {
        self.saga.get_or_insert_default().keep_ended_ms = Some(millis(time));
        self
    }

    /// Waits and time-outs of a saga are in the time of events instead of the host's, those of the streams that it
    /// [starts on](Self::starts_on): replaying a year in a minute fires a year's timers.
    #[must_use]
    pub fn on_event_time(mut self) -> Self {
        self.saga.get_or_insert_default().clock = Some("event");
        self
    }

    /// Events that start a saga, beside those of earlier calls. Without any, only calls do.
    #[must_use]
    pub fn starts_on(mut self, starts_on: StartsOn) -> Self {
        self.saga.get_or_insert_default().starts_on.push(starts_on);
        self
    }

    /// Asks to be allowed to send requests of these methods (`GET,POST`, or `*`) to the URLs that match a pattern such
    /// as `https://pay.example.com/v1/*`. It may begin with a setting that holds a URL: `{partner}/*`. Sagas only.
    #[must_use]
    pub fn sends(self, methods: &str, url_pattern: &str) -> Self {
        self.capability(format!("{}{methods} {url_pattern}", super::HTTP))
    }

    /// Asks for a secret of the host, to be put into headers as `{{secret:NAME}}`. Sagas only.
    #[must_use]
    pub fn secret(self, name: &str) -> Self {
        self.capability(format!("{}{name}", super::SECRET))
    }

    pub(crate) fn steps(mut self, steps: &[Step]) -> Self {
        self.steps = steps.iter().map(Step::declared).collect();
        self
    }
}
