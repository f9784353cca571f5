//! Plugins as they are shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{rfc3339, table};
use crate::proto;

/// Digits of a hash that tell two components apart when people look.
const SHORT_HASH: usize = 12;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Plugin {
    name: String,
    kind: String,
    version: String,
    revision: u32,
    sha256: String,
    created_at: String,
    deployed_at: String,
    descriptor: Box<RawValue>,
}

impl TryFrom<proto::Plugin> for Plugin {
    type Error = Failure;

    fn try_from(plugin: proto::Plugin) -> Result<Self, Failure> {
        Ok(Self {
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

fn short(hash: &str) -> &str {
    hash.get(..SHORT_HASH).unwrap_or(hash)
}

#[derive(Serialize)]
pub(crate) struct Deployed {
    pub plugin: Plugin,
    /// Whether it is another component than before.
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
            return "no plugins".into();
        }
        let rows = self.plugins.iter().map(|plugin| {
            let Plugin { name, kind, version, revision, sha256, deployed_at, .. } = plugin;
            let hash = short(sha256).to_owned();
            [name.clone(), kind.clone(), version.clone(), revision.to_string(), deployed_at.clone(), hash]
        });
        table(["plugin", "kind", "version", ">revision", "deployed", "sha256"], rows)
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
    time: String,
    level: String,
    message: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
}

impl From<proto::PluginLogLine> for LogLine {
    fn from(line: proto::PluginLogLine) -> Self {
        let proto::PluginLogLine { number, time_us, level, message, fields } = line;
        Self { number, time: rfc3339(time_us), level, message, fields: fields.into_iter().collect() }
    }
}

impl Show for LogLine {
    fn to_text(&self) -> String {
        let mut text = format!("{}  {:5}  {}", self.time, self.level, self.message);
        for (name, value) in &self.fields {
            let _ = write!(text, "  {name}={value}");
        }
        text
    }
}
