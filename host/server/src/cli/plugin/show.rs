//! Plugins as they are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{grouped, rfc3339, rfc3339_ms, table};
use crate::proto::{self, PluginState};

/// Digits of a hash that tell two components apart when people look.
const SHORT_HASH: usize = 12;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plugin {
    name: String,
    kind: String,
    version: String,
    revision: u32,
    running_revision: u32,
    newest_revision: u32,
    sha256: String,
    state: &'static str,
    /// Positions of the log that it is not done with.
    lag_events: u64,
    config: BTreeMap<String, String>,
    grants: Vec<String>,
    created_at: String,
    deployed_at: String,
    descriptor: Box<RawValue>,
}

impl Plugin {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    pub(super) fn running_revision(&self) -> u32 {
        self.running_revision
    }

    pub(super) fn newest_revision(&self) -> u32 {
        self.newest_revision
    }

    pub(super) fn state(&self) -> &'static str {
        self.state
    }

    pub(super) fn lag_events(&self) -> u64 {
        self.lag_events
    }

    pub(super) fn config(&self) -> &BTreeMap<String, String> {
        &self.config
    }

    pub(super) fn grants(&self) -> &[String] {
        &self.grants
    }
}

pub(super) fn state_name(state: PluginState) -> &'static str {
    match state {
        PluginState::Unspecified => "unknown",
        PluginState::CatchingUp => "catching-up",
        PluginState::Live => "live",
        PluginState::Retrying => "retrying",
        PluginState::Paused => "paused",
        PluginState::Stopped => "stopped",
        PluginState::Ready => "ready",
    }
}

impl TryFrom<proto::Plugin> for Plugin {
    type Error = Failure;

    fn try_from(plugin: proto::Plugin) -> Result<Self, Failure> {
        Ok(Self {
            state: state_name(plugin.state()),
            running_revision: plugin.running_revision,
            newest_revision: plugin.newest_revision,
            lag_events: plugin.lag_events,
            config: plugin.config,
            grants: plugin.grants,
            name: plugin.name,
            kind: plugin.kind,
            version: plugin.version,
            revision: plugin.revision,
            sha256: plugin.sha256,
            created_at: rfc3339(plugin.created_at_us),
            deployed_at: rfc3339(plugin.deployed_at_us),
            descriptor: descriptor(plugin.descriptor_json)?,
        })
    }
}

fn descriptor(json: String) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(json)
        .map_err(|error| Failure::failed("malformed_answer", format!("a descriptor is not JSON: {error}")))
}

pub(super) fn short(hash: &str) -> &str {
    hash.get(..SHORT_HASH).unwrap_or(hash)
}

#[derive(Serialize)]
pub(crate) struct Deployed {
    pub plugin: Plugin,
    /// Whether it is another component than before, or the same with another configuration or other grants.
    pub changed: bool,
}

impl Show for Deployed {
    fn to_text(&self) -> String {
        let Plugin { name, kind, version, revision, sha256, .. } = &self.plugin;
        let done = if self.changed { "deployed" } else { "already deployed, nothing changed:" };
        format!("{done} {kind} {name} {version}, revision {revision} (sha256 {})", short(sha256))
    }
}

#[derive(Serialize)]
pub(crate) struct Plugins {
    pub plugins: Vec<Plugin>,
}

impl Show for Plugins {
    fn to_text(&self) -> String {
        if self.plugins.is_empty() {
            return String::new();
        }
        let rows = self.plugins.iter().map(|plugin| {
            let Plugin { name, kind, version, revision, running_revision, sha256, .. } = plugin;
            let Plugin { state, lag_events, deployed_at, .. } = plugin;
            let (hash, lag, state) = (short(sha256).to_owned(), grouped(*lag_events), (*state).to_owned());
            let revision = match running_revision == revision {
                true => revision.to_string(),
                false => format!("{running_revision} -> {revision}"),
            };
            [name.clone(), kind.clone(), state, lag, version.clone(), revision, deployed_at.clone(), hash]
        });
        table(["plugin", "kind", "state", ">behind", "version", ">revision", "deployed", "sha256"], rows)
    }

    fn note(&self) -> Option<String> {
        self.plugins.is_empty().then(|| "no plugins".into())
    }
}

#[derive(Serialize)]
pub(crate) struct Checked {
    name: String,
    kind: String,
    version: String,
    sha256: String,
    descriptor: Box<RawValue>,
}

impl TryFrom<proto::CheckPluginResponse> for Checked {
    type Error = Failure;

    fn try_from(checked: proto::CheckPluginResponse) -> Result<Self, Failure> {
        let proto::CheckPluginResponse { sha256, kind, name, version, descriptor_json } = checked;
        Ok(Self { name, kind, version, sha256, descriptor: descriptor(descriptor_json)? })
    }
}

impl Show for Checked {
    fn to_text(&self) -> String {
        let Checked { name, kind, version, sha256, .. } = self;
        format!("the host would take it: {kind} {name} {version} (sha256 {})", short(sha256))
    }
}

#[derive(Serialize)]
pub(crate) struct Removed {
    pub removed: String,
}

impl Show for Removed {
    fn to_text(&self) -> String {
        format!("removed {}", self.removed)
    }
}

#[derive(Serialize)]
pub(crate) struct LogLine {
    number: u64,
    #[serde(skip)]
    time_us: i64,
    time: String,
    level: String,
    message: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
}

impl From<proto::PluginLogLine> for LogLine {
    fn from(line: proto::PluginLogLine) -> Self {
        let proto::PluginLogLine { number, time_us, level, message, fields } = line;
        Self { number, time_us, time: rfc3339(time_us), level, message, fields: fields.into_iter().collect() }
    }
}

impl Show for LogLine {
    fn to_text(&self) -> String {
        let mut text = format!("{}  {:5}  {}", rfc3339_ms(self.time_us), self.level, self.message);
        for (name, value) in &self.fields {
            let _ = write!(text, "  {name}={value}");
        }
        // A plugin must not make one line look like two.
        text.replace(char::is_control, " ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_logs_one_line_at_a_time() {
        let (level, message) = ("info".to_owned(), "done\n2026-01-01T00:00:00.000Z  error  forged\x1b[2J".to_owned());
        let fields = [("n".to_owned(), "1".to_owned())].into();
        let line = LogLine::from(proto::PluginLogLine { number: 1, time_us: 0, level, message, fields });
        let text = line.to_text();
        assert!(text.starts_with("1970-01-01T00:00:00.000Z  info   done 2026") && text.ends_with("  n=1"), "{text}");
        assert!(!text.contains(char::is_control));
    }
}
