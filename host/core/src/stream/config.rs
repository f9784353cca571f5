//! What can be said of a stream, or of all streams that match a pattern: a JSON document in which
//! every field may be left out, which means "not said here".

use serde::{Deserialize, Serialize};

use crate::code::{Code, Problem};
use crate::limits::publish;
use crate::limits::stream as limits;
use crate::name;

/// What is said of a stream. Fields that are `None` are said elsewhere, see [`super::configs`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct StreamConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<StreamKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whether an append may make the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_create: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// Soft deletion of a stream that has no events to read, so many seconds after its last one was
    /// recorded. 0 to 3,153,600,000; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_when_empty_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub retention: RetentionConfig,
    #[serde(skip_serializing_if = "is_default")]
    pub dead_letter: DeadLetterConfig,
    #[serde(skip_serializing_if = "is_default")]
    pub receipts: ReceiptsConfig,
    #[serde(skip_serializing_if = "is_default")]
    pub schema: SchemaConfig,
    #[serde(skip_serializing_if = "is_default")]
    pub batching: BatchingConfig,
    #[serde(skip_serializing_if = "is_default")]
    pub limits: LimitsConfig,
    #[serde(skip_serializing_if = "is_default")]
    pub access: AccessConfig,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Events are kept and can be replayed.
    Persistent,
    /// A queue: events leave when they are acknowledged.
    Ephemeral,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    AtLeastOnce,
    ExactlyOnce,
    AtMostOnce,
}

/// Who sees the stream at all; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This host's plugins.
    Internal,
    /// Clients of the API, browsers too.
    Public,
    /// Bridges to other services.
    CrossService,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deletion {
    Allowed,
    /// It may be deleted, but not for good.
    SoftOnly,
    /// It is neither deleted nor truncated by anyone; its retention still applies.
    Forbidden,
}

/// How long events are kept: until the first of the bounds is passed. 0 is "without this bound", which
/// takes back what a wider pattern says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RetentionConfig {
    /// By `recorded_at`; 0 to 3,153,600,000, a hundred years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u64>,
    /// 0 to 2^53 - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// Of the events as they are stored; 0 to 2^53 - 1. The newest event always stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// What becomes of an event that nobody can handle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DeadLetterConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Deliveries before it is parked; 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deliveries: Option<u64>,
    /// A stream to which a copy of each dead letter is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_keys: Option<ParkedKeys>,
}

/// What becomes of the later events of a key that has a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedKeys {
    /// They become dead letters too, so that they can be replayed in order.
    #[default]
    Follow,
    GoOn,
}

/// How events are bundled for consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct BatchingConfig {
    /// 1 to 4,096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_events: Option<u64>,
    /// How long a batch waits to be filled, in milliseconds; 0 to 60,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delay_ms: Option<u64>,
}

/// Who has read which event: see [`crate::receipt`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ReceiptsConfig {
    /// After which an event that was delivered and not read is acted upon; 0 is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_unread: Option<OnUnread>,
    /// Reminders of one event to one consumer; 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_reminders: Option<u64>,
    /// The stream that reminders are published to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// How long a receipt is kept after its last change; 1 to 3,153,600,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u64>,
    /// Whether what a group's members acknowledge counts as read by the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<bool>,
}

/// What becomes of an event that a consumer has not read in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnread {
    /// The consumer is reminded, again and again up to a number of times.
    Notify,
    /// A copy goes to the stream's `deadLetter.stream`, or to `receipts.stream` if it has none.
    DeadLetter,
}

/// Whether events keep the schemas of their types: see [`crate::schema`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SchemaConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

/// Which events are validated when they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    None,
    /// Those whose type and version have a schema.
    Known,
    /// All; one without a schema is refused.
    Required,
}

/// Bounds below those of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LimitsConfig {
    /// One event's data; 1 to 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_event_bytes: Option<u64>,
    /// 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_append_events: Option<u64>,
}

/// Who may do what with a stream that they see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct AccessConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<AccessBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<AccessBy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessBy {
    /// Everyone whom the scope admits.
    Api,
    /// This host's plugins alone.
    Plugins,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why a stream configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    #[error("it has {bytes} bytes; a stream configuration has at most {}", limits::CONFIG_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("it is not the JSON of a stream configuration: {0}")]
    Shape(String),
    /// Each entry is a path into the document and what is wrong there.
    #[error("{}", .0.iter().map(|(at, what)| format!("{at}: {what}")).collect::<Vec<_>>().join("; "))]
    Rules(Vec<(&'static str, String)>),
}

impl From<InvalidConfig> for Problem {
    fn from(error: InvalidConfig) -> Self {
        let problem = Problem::new(Code::InvalidArgument, format!("the stream configuration is refused: {error}"));
        match error {
            InvalidConfig::TooLarge { .. } | InvalidConfig::Shape(_) => problem,
            InvalidConfig::Rules(broken) => {
                broken.into_iter().fold(problem, |problem, (at, what)| problem.with(at, what))
            }
        }
    }
}

impl StreamConfig {
    /// Reads and checks the JSON of a configuration.
    pub fn parse(json: &str) -> Result<Self, InvalidConfig> {
        if json.len() > limits::CONFIG_BYTES_MAX {
            return Err(InvalidConfig::TooLarge { bytes: json.len() });
        }
        let config: Self = serde_json::from_str(json).map_err(|error| InvalidConfig::Shape(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// The JSON that is stored, without what is not said.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has only texts, numbers and flags")
    }

    /// Names every value that is out of its range.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let mut broken = Vec::new();
        let mut range = |at: &'static str, value: Option<u64>, min: u64, max: u64| {
            if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
                broken.push((at, format!("{value} is out of its range, {min} to {max}")));
            }
        };
        let (retention, limits_of, batching) = (&self.retention, &self.limits, &self.batching);
        range("deleteWhenEmptyAfterSeconds", self.delete_when_empty_after_seconds, 0, limits::SECONDS_MAX);
        range("retention.maxAgeSeconds", retention.max_age_seconds, 0, limits::SECONDS_MAX);
        range("retention.maxEvents", retention.max_events, 0, limits::NUMBER_MAX);
        range("retention.maxBytes", retention.max_bytes, 0, limits::NUMBER_MAX);
        range("deadLetter.maxDeliveries", self.dead_letter.max_deliveries, 1, limits::DELIVERIES_MAX);
        range("receipts.unreadAfterSeconds", self.receipts.unread_after_seconds, 0, limits::SECONDS_MAX);
        range("receipts.maxReminders", self.receipts.max_reminders, 1, limits::REMINDERS_MAX);
        range("receipts.keepSeconds", self.receipts.keep_seconds, 1, limits::SECONDS_MAX);
        range("batching.maxEvents", batching.max_events, 1, limits::BATCH_EVENTS_MAX);
        range("batching.maxDelayMs", batching.max_delay_ms, 0, limits::BATCH_DELAY_MS_MAX);
        range("limits.maxEventBytes", limits_of.max_event_bytes, 1, publish::EVENT_DATA_BYTES_MAX as u64);
        range("limits.maxAppendEvents", limits_of.max_append_events, 1, publish::APPEND_EVENTS_MAX as u64);
        if let Some(Err(error)) = self.dead_letter.stream.as_deref().map(name::check) {
            broken.push(("deadLetter.stream", error.to_string()));
        }
        if let Some(Err(error)) = self.receipts.stream.as_deref().map(name::check) {
            broken.push(("receipts.stream", error.to_string()));
        }
        let deletes_itself = self.delete_when_empty_after_seconds.is_some_and(|seconds| seconds > 0);
        if deletes_itself && self.deletion == Some(Deletion::Forbidden) {
            broken.push(("deleteWhenEmptyAfterSeconds", "`deletion` is `forbidden` beside it".into()));
        }
        if broken.is_empty() { Ok(()) } else { Err(InvalidConfig::Rules(broken)) }
    }

    /// Whether it has a rule by which events, or the stream, go by themselves.
    pub(super) fn lets_go(&self) -> bool {
        let RetentionConfig { max_age_seconds, max_events, max_bytes } = self.retention;
        let rules = [max_age_seconds, max_events, max_bytes, self.delete_when_empty_after_seconds];
        rules.into_iter().flatten().any(|bound| bound > 0)
    }

    /// What holds where nobody says anything else.
    pub(super) fn built_in() -> Self {
        Self {
            kind: Some(StreamKind::Persistent),
            delivery: Some(Delivery::AtLeastOnce),
            scope: Some(Scope::Public),
            auto_create: Some(true),
            deletion: Some(Deletion::Allowed),
            delete_when_empty_after_seconds: Some(0),
            retention: RetentionConfig { max_age_seconds: Some(0), max_events: Some(0), max_bytes: Some(0) },
            dead_letter: DeadLetterConfig {
                enabled: Some(true),
                max_deliveries: Some(10),
                stream: None,
                parked_keys: Some(ParkedKeys::Follow),
            },
            receipts: ReceiptsConfig {
                unread_after_seconds: Some(0),
                on_unread: Some(OnUnread::Notify),
                max_reminders: Some(limits::REMINDERS),
                stream: Some(limits::REMINDER_STREAM.to_owned()),
                keep_seconds: Some(limits::RECEIPTS_KEPT_SECONDS),
                groups: Some(false),
            },
            schema: SchemaConfig { validation: Some(Validation::None) },
            batching: BatchingConfig { max_events: Some(100), max_delay_ms: Some(0) },
            limits: LimitsConfig {
                max_event_bytes: Some(publish::EVENT_DATA_BYTES_MAX as u64),
                max_append_events: Some(publish::APPEND_EVENTS_MAX as u64),
            },
            access: AccessConfig { publish: Some(AccessBy::Api), read: Some(AccessBy::Api) },
        }
    }

    /// Takes over every field of which `other` says something, and tells which those are.
    pub(super) fn take_over(&mut self, other: &Self, mut took: impl FnMut(&'static str)) {
        fn take<T: Clone>(
            own: &mut Option<T>,
            said: &Option<T>,
            took: &mut impl FnMut(&'static str),
            at: &'static str,
        ) {
            if said.is_some() {
                own.clone_from(said);
                took(at);
            }
        }
        // Taken apart in full, so that a new field cannot be forgotten.
        let Self { kind, delivery, scope, auto_create, deletion, delete_when_empty_after_seconds, .. } = other;
        let Self { retention, dead_letter, receipts, schema, batching, limits, access, .. } = other;
        let RetentionConfig { max_age_seconds, max_events, max_bytes } = retention;
        let DeadLetterConfig { enabled, max_deliveries, stream, parked_keys } = dead_letter;
        let ReceiptsConfig { unread_after_seconds, on_unread, max_reminders, .. } = receipts;
        let ReceiptsConfig { stream: reminder_stream, keep_seconds, groups, .. } = receipts;
        let SchemaConfig { validation } = schema;
        let BatchingConfig { max_events: batch_events, max_delay_ms } = batching;
        let LimitsConfig { max_event_bytes, max_append_events } = limits;
        let AccessConfig { publish, read } = access;
        let took = &mut took;
        take(&mut self.kind, kind, took, "kind");
        take(&mut self.delivery, delivery, took, "delivery");
        take(&mut self.scope, scope, took, "scope");
        take(&mut self.auto_create, auto_create, took, "autoCreate");
        take(&mut self.deletion, deletion, took, "deletion");
        let deleted = delete_when_empty_after_seconds;
        take(&mut self.delete_when_empty_after_seconds, deleted, took, "deleteWhenEmptyAfterSeconds");
        take(&mut self.retention.max_age_seconds, max_age_seconds, took, "retention.maxAgeSeconds");
        take(&mut self.retention.max_events, max_events, took, "retention.maxEvents");
        take(&mut self.retention.max_bytes, max_bytes, took, "retention.maxBytes");
        take(&mut self.dead_letter.enabled, enabled, took, "deadLetter.enabled");
        take(&mut self.dead_letter.max_deliveries, max_deliveries, took, "deadLetter.maxDeliveries");
        take(&mut self.dead_letter.stream, stream, took, "deadLetter.stream");
        take(&mut self.dead_letter.parked_keys, parked_keys, took, "deadLetter.parkedKeys");
        let own = &mut self.receipts;
        take(&mut own.unread_after_seconds, unread_after_seconds, took, "receipts.unreadAfterSeconds");
        take(&mut own.on_unread, on_unread, took, "receipts.onUnread");
        take(&mut own.max_reminders, max_reminders, took, "receipts.maxReminders");
        take(&mut own.stream, reminder_stream, took, "receipts.stream");
        take(&mut own.keep_seconds, keep_seconds, took, "receipts.keepSeconds");
        take(&mut own.groups, groups, took, "receipts.groups");
        take(&mut self.schema.validation, validation, took, "schema.validation");
        take(&mut self.batching.max_events, batch_events, took, "batching.maxEvents");
        take(&mut self.batching.max_delay_ms, max_delay_ms, took, "batching.maxDelayMs");
        take(&mut self.limits.max_event_bytes, max_event_bytes, took, "limits.maxEventBytes");
        take(&mut self.limits.max_append_events, max_append_events, took, "limits.maxAppendEvents");
        take(&mut self.access.publish, publish, took, "access.publish");
        take(&mut self.access.read, read, took, "access.read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_stored() {
        assert_eq!(StreamConfig::parse("{}").unwrap().to_json(), "{}");
        let json =
            r#"{"scope":"cross_service","autoCreate":false,"retention":{"maxEvents":5},"access":{"read":"plugins"}}"#;
        assert_eq!(StreamConfig::parse(json).unwrap().to_json(), json);
        let whole = StreamConfig::built_in();
        assert_eq!(StreamConfig::parse(&whole.to_json()), Ok(whole));
    }

    #[test]
    fn every_mistake_is_named() {
        let json = r#"{"deletion":"forbidden","deleteWhenEmptyAfterSeconds":1,"retention":{"maxAgeSeconds":9999999999},
            "deadLetter":{"maxDeliveries":0,"stream":"$x"},"batching":{"maxEvents":0,"maxDelayMs":60001},
            "limits":{"maxEventBytes":1048577,"maxAppendEvents":1001}}"#;
        let Err(InvalidConfig::Rules(broken)) = StreamConfig::parse(json) else { panic!("it is refused") };
        let at: Vec<_> = broken.iter().map(|(at, _)| *at).collect();
        let expected = [
            "retention.maxAgeSeconds",
            "deadLetter.maxDeliveries",
            "batching.maxEvents",
            "batching.maxDelayMs",
            "limits.maxEventBytes",
            "limits.maxAppendEvents",
            "deadLetter.stream",
            "deleteWhenEmptyAfterSeconds",
        ];
        assert_eq!(at, expected);
    }

    #[test]
    fn an_unknown_field_or_value_is_refused_by_name() {
        for (json, named) in [
            (r#"{"colour":1}"#, "colour"),
            (r#"{"retention":{"maxDays":1}}"#, "maxDays"),
            (r#"{"kind":"eternal"}"#, "eternal"),
            (r#"{"retention":{"maxEvents":-1}}"#, "-1"),
        ] {
            let error = StreamConfig::parse(json).unwrap_err();
            assert!(matches!(&error, InvalidConfig::Shape(text) if text.contains(named)), "{error}");
        }
        assert!(matches!(StreamConfig::parse(&" ".repeat(20_000)), Err(InvalidConfig::TooLarge { .. })));
    }

    #[test]
    fn taking_over_misses_no_field() {
        let mut taken = StreamConfig::default();
        let mut whole = StreamConfig::built_in();
        whole.dead_letter.stream = Some("parked".into());
        let mut fields = 0;
        taken.take_over(&whole, |_| fields += 1);
        assert_eq!((taken, fields), (whole, 26));
    }
}
