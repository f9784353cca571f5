//! Plugins, and how they are.

use std::time::Duration;

use wasmill_core::code::{Code, Problem};
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::log::LogLine;
use wasmill_core::plugin::setup::SetupChange;
use wasmill_core::plugin::status::{BuildStatus, PluginStatus, State};
use wasmill_core::projection::generation::{FailureInfo, Phase};

use crate::grpc::group::convert::required_start;
use crate::plugins::{DRAIN_DEFAULT, DRAIN_MAX, Overview, Revision, Role, lag_events, version_in};
use crate::proto;

pub(crate) fn plugin(status: &PluginStatus) -> proto::Plugin {
    let record = &status.record;
    proto::Plugin {
        name: record.name.clone(),
        kind: record.kind.as_str().into(),
        version: version_in(&record.current.descriptor),
        revision: record.current.number,
        sha256: record.current.sha256.clone(),
        descriptor_json: record.current.descriptor.clone(),
        created_at_us: record.created_at.0,
        deployed_at_us: record.current.deployed_at.0,
        config: status.setup.config.clone(),
        grants: status.setup.grants.iter().cloned().collect(),
        newest_revision: status.newest,
        running_revision: status.running,
        state: state(status.state).into(),
        lag_events: lag_events(status),
    }
}

fn state(state: State) -> proto::PluginState {
    match state {
        State::CatchingUp => proto::PluginState::CatchingUp,
        State::Live => proto::PluginState::Live,
        State::Retrying => proto::PluginState::Retrying,
        State::Paused => proto::PluginState::Paused,
        State::Stopped => proto::PluginState::Stopped,
        State::Ready => proto::PluginState::Ready,
    }
}

fn state_of(phase: Phase) -> proto::PluginState {
    match phase {
        Phase::CatchingUp => proto::PluginState::CatchingUp,
        Phase::Live => proto::PluginState::Live,
        Phase::Retrying => proto::PluginState::Retrying,
        Phase::Paused => proto::PluginState::Paused,
        Phase::Stopped => proto::PluginState::Stopped,
    }
}

pub(crate) fn plugin_status(Overview { status, open_sagas }: &Overview) -> proto::PluginStatus {
    let open = open_sagas.iter().flat_map(|open| &open.by_revision);
    proto::PluginStatus {
        plugin: Some(plugin(status)),
        next_position: status.position.0,
        log_next_position: status.tail.0,
        lag_seconds: status.lag_seconds,
        events_processed: status.processed,
        events_per_second: status.per_second,
        failure: status.failure.as_ref().map(failure),
        last_failure: status.last_failure.as_ref().map(failure),
        dead_letters: status.dead_letters,
        building: status.building.as_ref().map(build),
        standby: status.standby.as_ref().map(build),
        wanted: status.settings.wanted.as_str().into(),
        open_sagas: open.map(|(&revision, &sagas)| proto::OpenSagas { revision, sagas }).collect(),
        more_open_sagas: open_sagas.as_ref().is_some_and(|open| open.more),
    }
}

fn failure(FailureInfo { reason, position, time, attempts }: &FailureInfo) -> proto::PluginFailure {
    proto::PluginFailure {
        reason: reason.clone(),
        position: position.map(|position| position.0),
        time_us: time.0,
        attempts: *attempts,
    }
}

fn build(build: &BuildStatus) -> proto::PluginBuild {
    proto::PluginBuild {
        generation: build.generation.0,
        revision: build.revision,
        state: state_of(build.phase).into(),
        next_position: build.position.0,
        events_per_second: build.per_second,
        estimate_seconds: build.estimate_seconds,
        waits_for_confirmation: build.waits_for_confirmation,
        failure: build.failure.as_ref().map(failure),
    }
}

pub(crate) fn revision(revision: Revision) -> proto::PluginRevision {
    let role = match revision.role {
        Role::Kept => proto::PluginRevisionRole::Unspecified,
        Role::Running => proto::PluginRevisionRole::Running,
        Role::Building => proto::PluginRevisionRole::Building,
        Role::Standby => proto::PluginRevisionRole::Standby,
    };
    proto::PluginRevision {
        number: revision.record.number,
        version: version_in(&revision.record.descriptor),
        sha256: revision.record.sha256,
        deployed_at_us: revision.record.deployed_at.0,
        config: revision.setup.config,
        grants: revision.setup.grants.into_iter().collect(),
        role: role.into(),
    }
}

pub(crate) fn setup_change(change: Option<proto::PluginSetupChange>) -> SetupChange {
    let proto::PluginSetupChange { set, unset, grants, revokes, grant_all } = change.unwrap_or_default();
    SetupChange {
        set,
        unset: unset.into_iter().collect(),
        grant: grants.into_iter().collect(),
        revoke: revokes.into_iter().collect(),
        grant_all,
    }
}

pub(crate) fn deploy_options(options: Option<proto::DeployOptions>) -> Result<DeployOptions, Problem> {
    let proto::DeployOptions { setup, start } = options.unwrap_or_default();
    let start = start.map(|start| required_start(Some(start), "options.start")).transpose()?;
    Ok(DeployOptions { setup: setup_change(setup), start })
}

pub(crate) fn drain_time(timeout_ms: u32) -> Result<Duration, Problem> {
    match Duration::from_millis(timeout_ms.into()) {
        Duration::ZERO => Ok(DRAIN_DEFAULT),
        timeout if timeout <= DRAIN_MAX => Ok(timeout),
        _ => {
            let (default, max) = (DRAIN_DEFAULT.as_millis(), DRAIN_MAX.as_millis());
            let message = format!("{timeout_ms} ms is out of range: 1 to {max}, or 0 for {default}");
            Err(Problem::new(Code::InvalidArgument, &message).with("timeout_ms", message))
        }
    }
}

pub(crate) fn log_line(line: LogLine) -> proto::PluginLogLine {
    proto::PluginLogLine {
        number: line.number,
        time_us: line.time.0,
        level: line.level.as_str().into(),
        message: line.message,
        fields: line.fields.into_iter().collect(),
    }
}
