//! The one place where core's types become JSON (those of `event_out`, `plugin_out`, `schedule_out` and `receipts`
//! aside).

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use wasmill_core::group::{GroupStatus, MemberStatus};
use wasmill_core::name::StreamName;
use wasmill_core::plugin::deploy::Checked;
use wasmill_core::plugin::log::LogLine;
use wasmill_core::projection::generation::{FailureInfo, Progress};
use wasmill_core::projection::query::{BuildStatus, CollectionStatus, ProjectionStatus};
use wasmill_core::record::StreamInfo;
use wasmill_core::store::{Appended, Document};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::{Explained, Subject};

use super::event_out::rfc3339;
use crate::plugins::without_nulls;

pub(crate) fn appended(appended: &Appended) -> Value {
    json!({
        "stream": appended.stream.as_str(),
        "firstOffset": appended.first_offset.0,
        "lastOffset": appended.last_offset().0,
        "firstPosition": appended.first_position.0,
        "lastPosition": appended.last_position().0,
        "recordedAt": rfc3339(appended.recorded_at),
        "duplicate": appended.duplicate,
    })
}

pub(crate) fn stream(info: &StreamInfo) -> Value {
    json!({
        "name": info.name.as_str(),
        "state": info.state.as_str(),
        "length": info.event_count(),
        "firstOffset": info.oldest().0,
        "nextOffset": info.next_offset.0,
        "bytes": info.bytes,
        "createdAt": rfc3339(info.created_at),
        "firstRecordedAt": rfc3339(info.first_recorded_at),
        "lastRecordedAt": rfc3339(info.last_recorded_at),
        "lastPosition": info.last_position.0,
    })
}

/// What a configuration says, and of what. Its JSON is the core's own form, in which it is stored.
pub(crate) fn stream_config(subject: &Subject, config: &StreamConfig) -> Value {
    let mut view = self::subject(subject);
    view["config"] = config_view(config);
    view
}

fn config_view(config: &StreamConfig) -> Value {
    serde_json::from_str(&config.to_json()).unwrap_or(Value::Null)
}

fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::Pattern(pattern) => json!({ "pattern": pattern.as_str() }),
        Subject::Stream(stream) => json!({ "stream": stream.as_str() }),
    }
}

/// What holds for a stream. `own` is what is said of it alone.
pub(crate) fn explained(stream: &StreamName, own: Option<&StreamConfig>, explained: &Explained) -> Value {
    let origins: Map<String, Value> =
        explained.origins.iter().map(|(field, by)| ((*field).to_owned(), subject(by))).collect();
    let mut view = json!({
        "stream": stream.as_str(),
        "effective": config_view(explained.effective.config()),
        "origins": origins,
    });
    if let Some(own) = own {
        view["config"] = config_view(own);
    }
    view
}

/// A group and its facts. What its configuration leaves open is left out.
pub(crate) fn group(status: &GroupStatus) -> Value {
    let GroupStatus { record, members, shares: _, position, tail: _, .. } = status;
    let mut config = serde_json::to_value(&record.config).unwrap_or_default();
    without_nulls(&mut config);
    let mut view = json!({
        "name": record.name,
        "config": config,
        "paused": record.paused,
        "startPosition": record.start,
        "createdAt": rfc3339(record.created_at()),
        "position": position.0,
        "lagEvents": status.lag(),
        "unsettled": status.unsettled,
        "inFlight": status.in_flight,
        "parkedKeys": status.parked_keys,
        "members": members.iter().map(group_member).collect::<Vec<_>>(),
        "counts": {
            "delivered": status.counts.delivered,
            "redelivered": status.counts.redelivered,
            "settled": status.counts.settled,
            "parked": status.counts.parked,
            "dropped": status.counts.dropped,
        },
    });
    if let Some(oldest) = status.oldest_recorded_at {
        view["oldestRecordedAt"] = rfc3339(oldest).into();
    }
    view
}

/// A queue: what its group says, under the name of its stream.
pub(crate) fn queue(stream: &str, status: &GroupStatus) -> Value {
    let mut view = group(status);
    view["group"] = std::mem::replace(&mut view["name"], stream.into());
    if let Some(consumers) = view.as_object_mut().and_then(|fields| fields.remove("members")) {
        view["consumers"] = consumers;
    }
    view
}

pub(crate) fn group_member(member: &MemberStatus) -> Value {
    json!({
        "name": &*member.name,
        "joinedAt": rfc3339(member.joined_at),
        "deadline": rfc3339(member.deadline),
        "inFlight": member.in_flight,
        "standsBy": member.stands_by,
    })
}

/// What a plugin says of itself is JSON already.
pub(super) fn descriptor(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

pub(crate) fn checked(checked: &Checked) -> Value {
    json!({
        "name": checked.descriptor.name,
        "kind": checked.descriptor.kind.as_str(),
        "version": checked.descriptor.version,
        "sha256": checked.sha256,
        "descriptor": descriptor(&checked.descriptor_json),
    })
}

pub(crate) fn log_line(line: &LogLine) -> Value {
    let fields: Map<String, Value> =
        line.fields.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "number": line.number,
        "time": rfc3339(line.time),
        "level": line.level.as_str(),
        "message": line.message,
        "fields": fields,
    })
}

pub(crate) fn projection(status: &ProjectionStatus) -> Value {
    let Progress { next, phase, failure, folded, seen_at: _, last_failure: _, rate: _, parked_events: _ } =
        &status.progress;
    let collection = |CollectionStatus { name, description, indexes, documents }: &CollectionStatus| {
        let mut view = json!({ "name": name, "description": description, "documents": documents });
        if !indexes.is_empty() {
            view["indexes"] = json!(indexes);
        }
        view
    };
    let mut view = json!({
        "name": status.name,
        "version": status.version,
        "revision": status.revision,
        "generation": status.generation.0,
        "state": phase.as_str(),
        "nextPosition": next.0,
        "logNextPosition": status.log_next_position.0,
        "lagEvents": status.log_next_position.0.saturating_sub(next.0),
        "eventsFolded": folded,
        "collections": status.collections.iter().map(collection).collect::<Vec<_>>(),
    });
    if let Some(failure) = failure {
        view["failure"] = self::failure(failure);
    }
    if let Some(BuildStatus { generation, revision, progress }) = &status.build {
        view["build"] = json!({
            "generation": generation.0,
            "revision": revision,
            "state": progress.phase.as_str(),
            "nextPosition": progress.next.0,
        });
        if let Some(failure) = &progress.failure {
            view["build"]["failure"] = self::failure(failure);
        }
    }
    view
}

pub(super) fn failure(FailureInfo { reason, position, time, attempts }: &FailureInfo) -> Value {
    json!({ "reason": reason, "position": position.map(|p| p.0), "time": rfc3339(*time), "attempts": attempts })
}

/// A document; its value as JSON if it is JSON.
pub(crate) fn document(document: &Document) -> Box<RawValue> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct View<'a> {
        key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        value_base64: Option<String>,
    }
    let value: Option<&RawValue> = serde_json::from_slice(&document.value).ok();
    let encode = || base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &document.value);
    let value_base64 = value.is_none().then(encode);
    let view = View { key: &document.key, value, value_base64 };
    serde_json::value::to_raw_value(&view).expect("texts and JSON can always be written")
}
