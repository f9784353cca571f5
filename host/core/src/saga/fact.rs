//! What happens to a saga: the rows that are stored of it, and its timeline.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::call::Direction;
use super::http::HttpRecord;

/// Something that has happened to a saga. Facts are stored before anyone acts on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// By the host's clock, microseconds since the Unix epoch.
    #[serde(rename = "atUs")]
    pub at_us: i64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    Started {
        saga_type: String,
        revision: u32,
        correlation_id: String,
        input: Blob,
        /// In the saga's own time.
        time_us: i64,
        /// Events before it are none that it waits for.
        from: u64,
        by: Origin,
    },
    AttemptStarted {
        step: u32,
        direction: Direction,
        attempt: u32,
    },
    Completed {
        output: Blob,
        effects: Effects,
    },
    Suspended {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_us: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<Awaited>,
        effects: Effects,
    },
    Failed {
        cause: Cause,
        /// When the next attempt begins, if there is one.
        retry_at_us: i64,
        trail: Trail,
    },
    /// The host ended in the middle of an attempt: what became of it is not known.
    Interrupted,
    Woken {
        by: WokenBy,
        time_us: i64,
        from: u64,
    },
    TimedOut {
        what: Overdue,
        time_us: i64,
    },
    Cancelled {
        order: Order,
    },
    Paused {
        order: Order,
    },
    Resumed {
        order: Order,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
    },
    Retried {
        order: Order,
        /// The present one without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
    },
    Skipped {
        order: Order,
    },
    MarkedDone {
        order: Order,
        output: Blob,
    },
    Killed {
        order: Order,
    },
    /// An attempt has ended of which nobody waits for the end any more.
    Late {
        step: u32,
        direction: Direction,
        attempt: u32,
        outcome: String,
        trail: Trail,
    },
}

impl What {
    /// The revision that holds from this fact on.
    pub fn revision(&self) -> Option<u32> {
        match self {
            What::Started { revision, .. } => Some(*revision),
            What::Resumed { revision, .. } | What::Retried { revision, .. } => *revision,
            _ => None,
        }
    }
}

/// What has started a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Origin {
    Call,
    Event { id: String, position: u64 },
}

/// What a person asked for, and who and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Awaited {
    /// Any type without.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum WokenBy {
    Timer,
    Event {
        id: String,
        position: u64,
        #[serde(rename = "type")]
        event_type: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overdue {
    Step,
    Saga,
}

/// Why an attempt, or a saga, did not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub kind: CauseKind,
    /// Stable, of the plugin's own words or the host's.
    pub code: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CauseKind {
    /// The step asks to be tried again.
    Retry,
    /// The step says that it cannot be done, and that it has done nothing.
    Reject,
    /// The plugin says that it cannot go on itself.
    Halt,
    /// It broke in the middle.
    Crash,
    /// It took longer than an attempt may.
    Timeout,
    /// It does not keep the contract, or is not there.
    Contract,
    /// The host ended in the middle of an attempt.
    Interrupted,
    StepTimeout,
    SagaTimeout,
    Cancelled,
}

impl CauseKind {
    pub fn as_str(self) -> &'static str {
        match self {
            CauseKind::Retry => "retry",
            CauseKind::Reject => "reject",
            CauseKind::Halt => "halt",
            CauseKind::Crash => "crash",
            CauseKind::Timeout => "timeout",
            CauseKind::Contract => "contract",
            CauseKind::Interrupted => "interrupted",
            CauseKind::StepTimeout => "stepTimeout",
            CauseKind::SagaTimeout => "sagaTimeout",
            CauseKind::Cancelled => "cancelled",
        }
    }
}

/// What an attempt has brought about, beside its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// Shared data that it changed; `null` for what it removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Option<Blob>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emitted: Vec<EmittedNote>,
    #[serde(flatten)]
    pub trail: Trail,
}

/// What is told of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trail {
    #[serde(default)]
    pub took_us: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<HttpRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// An event that was appended with the fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmittedNote {
    pub id: String,
    pub stream: String,
    #[serde(rename = "type")]
    pub event_type: String,
}

/// Bytes that are a text where they can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Bytes);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
    Coded { base64: String },
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Written::Text(text.into()).serialize(serializer),
            Err(_) => Written::Coded { base64: BASE64_STANDARD.encode(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Blob(text.into_owned().into())),
            Written::Coded { base64 } => {
                let bytes = BASE64_STANDARD.decode(base64).map_err(serde::de::Error::custom)?;
                Ok(Blob(bytes.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_written_and_read() {
        let facts = [
            What::Interrupted,
            What::Completed {
                output: Blob(Bytes::from_static(b"\xff\x00")),
                effects: Effects {
                    data: BTreeMap::from([("a".into(), Some(Blob(Bytes::from_static(b"{}")))), ("b".into(), None)]),
                    ..Effects::default()
                },
            },
            What::Woken {
                by: WokenBy::Event { id: "i".into(), position: 7, event_type: "t".into() },
                time_us: 1,
                from: 8,
            },
        ];
        for what in facts {
            let fact = Fact { at_us: 5, what };
            let json = serde_json::to_string(&fact).unwrap();
            assert_eq!(serde_json::from_str::<Fact>(&json).unwrap(), fact, "{json}");
        }
    }
}
