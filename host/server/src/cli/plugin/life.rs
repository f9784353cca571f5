//! What is done to a plugin that is deployed.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::NameArgs;
use super::settings;
use super::show::Plugin;
use super::status::{Revisions, Status};
use crate::cli::client::{Client, Remote};
use crate::cli::exit::Failure;
use crate::cli::group::place;
use crate::cli::output::{Output, Show};
use crate::proto::{
    ConfirmPluginRequest, DrainPluginRequest, GetPluginRequest, GetPluginStatusRequest, GroupStart,
    ListPluginRevisionsRequest, PluginStatus, ResetGroupRequest, RollBackPluginRequest,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct RevisionsArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Most revisions, the newest first
    #[arg(long, default_value_t = 100, value_name = "REVISIONS",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RollBackArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The revision to go back to [default: the one before]
    #[arg(long, value_name = "REVISION")]
    to: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DrainArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// How long to wait until it is done, at most 10min
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConfirmArgs {
    /// The plugin's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Give up the read model that served before, instead: there is no going back to it at once any more
    #[arg(long)]
    drop_standby: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ResetArgs {
    /// The handler's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to begin: `first`, `last` (only what comes), a position, or a time as RFC 3339 writes it
    #[arg(long, value_name = "PLACE", value_parser = place::parse)]
    to: GroupStart,
    #[command(flatten)]
    remote: Remote,
}

/// What was done to a plugin.
#[derive(Serialize)]
struct Done {
    plugin: String,
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
}

impl Show for Done {
    fn to_text(&self) -> String {
        let Done { plugin, done, position } = self;
        match position {
            None => format!("{done} {plugin}"),
            Some(position) => format!("{done} {plugin}, position {position}"),
        }
    }
}

#[derive(Serialize)]
struct RolledBack {
    plugin: Plugin,
}

impl Show for RolledBack {
    fn to_text(&self) -> String {
        format!("{} runs revision {} again", self.plugin.name(), self.plugin.revision())
    }
}

async fn status_of(client: &Client, name: &str) -> Result<PluginStatus, Failure> {
    let request = GetPluginStatusRequest { name: name.to_owned() };
    let status = client.plugins().get_plugin_status(request).await?.into_inner().status;
    status.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no status"))
}

pub(super) async fn status(args: NameArgs, output: Output) -> Result<(), Failure> {
    let client = args.remote.connect().await?;
    output.show(&Status::try_from(status_of(&client, &args.name).await?)?)
}

pub(super) async fn revisions(args: RevisionsArgs, output: Output) -> Result<(), Failure> {
    let RevisionsArgs { name, limit, remote } = args;
    let request = ListPluginRevisionsRequest { name, limit };
    let answer = remote.connect().await?.plugins().list_plugin_revisions(request).await?.into_inner();
    output.show(&Revisions::from(answer.revisions))
}

/// `start`, `stop`, `pause` and `resume`.
pub(super) async fn want(
    args: NameArgs,
    wanted: &'static str,
    done: &'static str,
    output: Output,
) -> Result<(), Failure> {
    let client = args.remote.connect().await?;
    settings::change(&client, &args.name, &json!({ "wanted": wanted })).await?;
    output.show(&Done { plugin: args.name, done, position: None })
}

pub(super) async fn roll_back(args: RollBackArgs, output: Output) -> Result<(), Failure> {
    let RollBackArgs { name, to, remote } = args;
    let answer = remote.connect().await?.plugins().roll_back_plugin(RollBackPluginRequest { name, to }).await?;
    let plugin = answer.into_inner().plugin;
    let plugin = plugin.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no plugin"))?;
    output.show(&RolledBack { plugin: Plugin::try_from(plugin)? })
}

pub(super) async fn drain(args: DrainArgs, output: Output) -> Result<(), Failure> {
    let DrainArgs { name, timeout, remote } = args;
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    let request = DrainPluginRequest { name: name.clone(), timeout_ms };
    if !remote.connect().await?.plugins().drain_plugin(request).await?.into_inner().drained {
        let message = format!("{name} was not done within {}; it goes on", humantime::format_duration(timeout));
        return Err(Failure::failed("not_drained", message)
            .with_help(format!("see how far it is with `wasmill plugin status {name}`, and drain it again")));
    }
    output.show(&Done { plugin: name, done: "drained and paused", position: None })
}

pub(super) async fn confirm(args: ConfirmArgs, output: Output) -> Result<(), Failure> {
    let ConfirmArgs { name, drop_standby, remote } = args;
    let request = ConfirmPluginRequest { name: name.clone(), drop_standby };
    let done = remote.connect().await?.plugins().confirm_plugin(request).await?.into_inner().done;
    let (word, none) = match drop_standby {
        false => ("confirmed what was built of", "no read model is being built"),
        true => ("gave up what served before of", "no read model that served before is kept"),
    };
    if !done {
        return Err(Failure::failed("nothing_to_confirm", format!("{none} of {name}"))
            .with_help(format!("`wasmill plugin status {name}` shows what there is")));
    }
    output.show(&Done { plugin: name, done: word, position: None })
}

/// A handler's place is that of its group.
pub(super) async fn reset(args: ResetArgs, output: Output) -> Result<(), Failure> {
    let ResetArgs { name, to, remote } = args;
    let client = remote.connect().await?;
    let found = client.plugins().get_plugin(GetPluginRequest { name: name.clone() }).await?.into_inner().plugin;
    let kind = found.map(|plugin| plugin.kind).unwrap_or_default();
    if kind != "handler" {
        let failure = Failure::failed("not_a_handler", format!("{name} is a {kind}, which has no place to go back to"));
        return Err(match kind.as_str() {
            "projection" => {
                failure.with_help(format!("build its read model anew: `wasmill projection rebuild {name}`"))
            }
            _ => failure,
        });
    }
    let request = ResetGroupRequest { name: wasmill_core::handler::group_of(&name), to: Some(to) };
    let position = client.groups().reset_group(request).await?.into_inner().position;
    output.show(&Done { plugin: name, done: "reset", position: Some(position) })
}
