//! How a plugin is, and its revisions, as they are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::show::{Plugin, short, state_name};
use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{count, duration, grouped, rfc3339, table};
use crate::proto::{self, PluginRevisionRole};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    #[serde(flatten)]
    plugin: Plugin,
    wanted: String,
    next_position: u64,
    log_next_position: u64,
    lag_seconds: u64,
    events_processed: u64,
    events_per_second: f64,
    dead_letters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<Failed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    building: Option<Build>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standby: Option<Build>,
    /// Only of a saga.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_sagas: Option<Vec<OpenSagas>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more_open_sagas: bool,
}

/// Sagas of one revision that have not ended.
#[derive(Serialize)]
struct OpenSagas {
    revision: u32,
    sagas: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    time: String,
    attempts: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Build {
    generation: u64,
    revision: u32,
    state: &'static str,
    next_position: u64,
    events_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate_seconds: Option<u64>,
    waits_for_confirmation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
}

impl TryFrom<proto::PluginStatus> for Status {
    type Error = Failure;

    fn try_from(status: proto::PluginStatus) -> Result<Self, Failure> {
        let plugin = status.plugin;
        let plugin = plugin.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no plugin"))?;
        let open = status.open_sagas.iter().map(|open| OpenSagas { revision: open.revision, sagas: open.sagas });
        Ok(Self {
            open_sagas: (plugin.kind == "saga").then(|| open.collect()),
            more_open_sagas: status.more_open_sagas,
            plugin: Plugin::try_from(plugin)?,
            wanted: status.wanted,
            next_position: status.next_position,
            log_next_position: status.log_next_position,
            lag_seconds: status.lag_seconds,
            events_processed: status.events_processed,
            events_per_second: status.events_per_second,
            dead_letters: status.dead_letters,
            failure: status.failure.map(Failed::from),
            last_failure: status.last_failure.map(Failed::from),
            building: status.building.map(Build::from),
            standby: status.standby.map(Build::from),
        })
    }
}

impl From<proto::PluginFailure> for Failed {
    fn from(failure: proto::PluginFailure) -> Self {
        let proto::PluginFailure { reason, position, time_us, attempts } = failure;
        Self { reason, position, time: rfc3339(time_us), attempts }
    }
}

impl From<proto::PluginBuild> for Build {
    fn from(build: proto::PluginBuild) -> Self {
        let state = state_name(build.state());
        Self {
            generation: build.generation,
            revision: build.revision,
            state,
            next_position: build.next_position,
            events_per_second: build.events_per_second,
            estimate_seconds: build.estimate_seconds,
            waits_for_confirmation: build.waits_for_confirmation,
            failure: build.failure.map(Failed::from),
        }
    }
}

impl Failed {
    fn line(&self) -> String {
        let at = self.position.map_or_else(String::new, |position| format!("at position {position}, "));
        let Failed { reason, time, attempts, .. } = self;
        format!("{at}{time}, {}: {reason}", count((*attempts).into(), "attempt"))
    }
}

impl Build {
    fn line(&self, tail: u64) -> String {
        let Build { generation, revision, state, next_position, events_per_second, .. } = self;
        let (at, tail) = (grouped(*next_position), grouped(tail));
        let mut line =
            format!("generation {generation}, revision {revision}: {state}, {at} of {tail}, {events_per_second:.0}/s");
        match (self.waits_for_confirmation, self.estimate_seconds) {
            (true, _) => line.push_str(", waits for `wasmill plugin confirm`"),
            (false, Some(seconds)) if seconds > 0 => {
                let _ = write!(line, ", {} left", duration(Duration::from_secs(seconds)));
            }
            (false, _) => {}
        }
        if let Some(failure) = &self.failure {
            let _ = write!(line, "\n               {}", failure.line());
        }
        line
    }
}

impl Show for Status {
    fn to_text(&self) -> String {
        let (plugin, tail) = (&self.plugin, self.log_next_position);
        let behind = match self.lag_seconds {
            0 => String::new(),
            seconds => format!(", the oldest since {}", duration(Duration::from_secs(seconds))),
        };
        let revision = match (plugin.running_revision(), plugin.revision(), plugin.newest_revision()) {
            (running, revision, _) if running != revision => format!("{running} (until {revision} is built)"),
            (running, _, newest) if running != newest => format!("{running} (the newest is {newest})"),
            (running, _, _) => running.to_string(),
        };
        let mut text = format!(
            "{} {} {}\n  state        {}\n  revision     {revision}\n  position     {} of {}\n  behind       {}{behind}\n  \
             processed    {} since the host started, {:.0}/s",
            plugin.kind(),
            plugin.name(),
            plugin.version(),
            plugin.state(),
            grouped(self.next_position),
            grouped(tail),
            count(plugin.lag_events(), "position"),
            count(self.events_processed, "event"),
            self.events_per_second,
        );
        if let Some(open) = &self.open_sagas {
            let of = |open: &OpenSagas| format!("{} of revision {}", grouped(open.sagas), open.revision);
            let open: Vec<_> = open.iter().map(of).collect();
            let more = if self.more_open_sagas { ", and perhaps more" } else { "" };
            let open = if open.is_empty() { "none".to_owned() } else { open.join(", ") };
            let _ = write!(text, "\n  open sagas   {open}{more}");
        }
        if self.dead_letters > 0 {
            let _ = write!(text, "\n  dead letters {}", grouped(self.dead_letters));
        }
        if let Some(failure) = &self.failure {
            let _ = write!(text, "\n  failed       {}", failure.line());
        }
        if let Some(failure) = self.last_failure.as_ref().filter(|_| self.failure.is_none()) {
            let _ = write!(text, "\n  last failure {}", failure.line());
        }
        if let Some(build) = &self.building {
            let _ = write!(text, "\n  building     {}", build.line(tail));
        }
        if let Some(build) = &self.standby {
            let _ = write!(text, "\n  standby      {}", build.line(tail));
        }
        for (name, value) in plugin.config() {
            let _ = write!(text, "\n  config       {name}={value}");
        }
        for grant in plugin.grants() {
            let _ = write!(text, "\n  granted      {grant}");
        }
        text
    }
}

#[derive(Serialize)]
pub(crate) struct Revisions {
    revisions: Vec<Revision>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Revision {
    number: u32,
    version: String,
    sha256: String,
    deployed_at: String,
    role: &'static str,
    config: BTreeMap<String, String>,
    grants: Vec<String>,
}

fn role_name(role: PluginRevisionRole) -> &'static str {
    match role {
        PluginRevisionRole::Unspecified => "kept",
        PluginRevisionRole::Running => "running",
        PluginRevisionRole::Building => "building",
        PluginRevisionRole::Standby => "standby",
    }
}

impl From<Vec<proto::PluginRevision>> for Revisions {
    fn from(revisions: Vec<proto::PluginRevision>) -> Self {
        let revision = |revision: proto::PluginRevision| Revision {
            role: role_name(revision.role()),
            number: revision.number,
            version: revision.version,
            sha256: revision.sha256,
            deployed_at: rfc3339(revision.deployed_at_us),
            config: revision.config,
            grants: revision.grants,
        };
        Self { revisions: revisions.into_iter().map(revision).collect() }
    }
}

impl Show for Revisions {
    fn to_text(&self) -> String {
        let rows = self.revisions.iter().map(|revision| {
            let Revision { number, version, sha256, deployed_at, role, config, grants } = revision;
            let config: Vec<String> = config.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (config, grants) = (config.join(" "), grants.join(" "));
            let hash = short(sha256).to_owned();
            [number.to_string(), version.clone(), (*role).to_owned(), deployed_at.clone(), hash, config, grants]
        });
        table([">revision", "version", "role", "deployed", "sha256", "config", "grants"], rows)
    }
}
