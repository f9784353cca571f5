//! Plugins and how they are, as JSON.

use serde_json::{Value, json};
use wasmill_core::plugin::status::{BuildStatus, PluginStatus};

use super::event_out::rfc3339;
use super::view::{descriptor, failure};
use crate::plugins::{Done, Overview, Revision, lag_events, version_in};

pub(super) fn plugin(status: &PluginStatus) -> Value {
    let record = &status.record;
    json!({
        "name": record.name,
        "kind": record.kind.as_str(),
        "version": version_in(&record.current.descriptor),
        "revision": record.current.number,
        "runningRevision": status.running,
        "newestRevision": status.newest,
        "sha256": record.current.sha256,
        "config": status.setup.config,
        "grants": status.setup.grants,
        "state": status.state.as_str(),
        "lagEvents": lag_events(status),
        "descriptor": descriptor(&record.current.descriptor),
        "createdAt": rfc3339(record.created_at),
        "deployedAt": rfc3339(record.current.deployed_at),
    })
}

pub(super) fn done(done: &Done) -> Value {
    json!({ "plugin": plugin(&done.status), "changed": done.changed })
}

pub(super) fn status(Overview { status, open_sagas }: &Overview) -> Value {
    let record = &status.record;
    let mut view = json!({
        "name": record.name,
        "kind": record.kind.as_str(),
        "version": version_in(&record.current.descriptor),
        "revision": record.current.number,
        "runningRevision": status.running,
        "newestRevision": status.newest,
        "state": status.state.as_str(),
        "wanted": status.settings.wanted.as_str(),
        "nextPosition": status.position.0,
        "logNextPosition": status.tail.0,
        "lagEvents": lag_events(status),
        "lagSeconds": status.lag_seconds,
        "eventsProcessed": status.processed,
        "eventsPerSecond": tenths(status.per_second),
        "deadLetters": status.dead_letters,
    });
    for (name, info) in [("failure", &status.failure), ("lastFailure", &status.last_failure)] {
        if let Some(info) = info {
            view[name] = failure(info);
        }
    }
    for (name, beside) in [("building", &status.building), ("standby", &status.standby)] {
        if let Some(beside) = beside {
            view[name] = build(beside);
        }
    }
    if let Some(open) = open_sagas {
        let of = |(revision, sagas)| json!({ "revision": revision, "sagas": sagas });
        view["openSagas"] = open.by_revision.iter().map(of).collect();
        if open.more {
            view["moreOpenSagas"] = true.into();
        }
    }
    view
}

fn build(build: &BuildStatus) -> Value {
    let mut view = json!({
        "generation": build.generation.0,
        "revision": build.revision,
        "state": build.phase.as_str(),
        "nextPosition": build.position.0,
        "eventsPerSecond": tenths(build.per_second),
        "waitsForConfirmation": build.waits_for_confirmation,
    });
    if let Some(seconds) = build.estimate_seconds {
        view["estimateSeconds"] = seconds.into();
    }
    if let Some(info) = &build.failure {
        view["failure"] = failure(info);
    }
    view
}

pub(super) fn revision(revision: &Revision) -> Value {
    json!({
        "number": revision.record.number,
        "sha256": revision.record.sha256,
        "version": version_in(&revision.record.descriptor),
        "deployedAt": rfc3339(revision.record.deployed_at),
        "config": revision.setup.config,
        "grants": revision.setup.grants,
        "role": revision.role.as_str(),
    })
}

/// A rate has no more digits than that.
fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}
