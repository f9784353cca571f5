//! A replay in JSON, as HTTP and the command line tell it.

use serde::Serialize;
use wasmill_core::replay::{Pace, Replay, Source, Target};

use super::event_out::rfc3339;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplayView {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) projection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<bool>,
    pub(crate) source: SourceView,
    pub(crate) from: u64,
    pub(crate) until: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) speed: Option<f64>,
    pub(crate) state: &'static str,
    pub(crate) next: u64,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) total_is_estimate: bool,
    pub(crate) rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<String>,
    pub(crate) created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What is chosen; a list without entries chooses nothing out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) streams: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) types: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) correlation_ids: Vec<String>,
}

/// To a tenth: more was not measured.
pub(crate) fn rate(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

pub(super) fn view(replay: Replay) -> ReplayView {
    let Source { streams, types, keys, tags, correlation_ids } = replay.source;
    let (group, projection, client) = match replay.target {
        Target::Group(group) => (Some(group), None, None),
        Target::Projection(projection) => (None, Some(projection), None),
        Target::Client => (None, None, Some(true)),
    };
    let Pace { events_per_second, speed } = replay.pace;
    ReplayView {
        id: replay.id.to_string(),
        group,
        projection,
        client,
        source: SourceView { streams, types, keys, tags, correlation_ids },
        from: replay.from.0,
        until: replay.until.0,
        events_per_second,
        speed,
        state: replay.state.as_str(),
        next: replay.next.0,
        done: replay.done,
        total: replay.total,
        total_is_estimate: replay.total_is_estimate,
        rate: rate(replay.rate),
        ends_at: replay.ends_at.map(rfc3339),
        created_at: rfc3339(replay.created_at),
        ended_at: replay.ended_at.map(rfc3339),
        error: replay.error,
    }
}
