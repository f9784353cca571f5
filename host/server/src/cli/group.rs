//! `wasmill group`: consumer groups.

mod consume;
mod create;
pub(super) mod place;
pub(super) mod status;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::Remote;
use super::exit::Failure;
use super::output::{Output, Show};
use super::until_interrupted;
use crate::proto::{
    DeleteGroupRequest, GetGroupRequest, GroupStart, ListGroupsRequest, PauseGroupRequest, ResetGroupRequest,
    ResumeGroupRequest, SkipEventRequest,
};
pub(super) use consume::print;
use status::{Groups, Status};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a group
    #[command(after_help = create::ADVICE)]
    Create(create::CreateArgs),
    /// Replace a group's configuration
    Configure(create::ConfigureArgs),
    /// List groups and how they are doing
    List(ListArgs),
    /// Show one group: how far it is, who works for it, how it is configured
    Show(NameArgs),
    /// Hand out nothing until the group is resumed; what its members have they may settle
    Pause(NameArgs),
    /// Hand out events again
    Resume(NameArgs),
    /// Begin again at another place; what members have is void
    Reset(ResetArgs),
    /// Settle one event that the group has read, be it in someone's hands, resting or waiting
    Skip(SkipArgs),
    /// Remove a group and its dead letters
    Delete(NameArgs),
    /// Work for a group: print each event, then acknowledge it
    #[command(after_help = consume::ADVICE)]
    Consume(consume::ConsumeArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NameArgs {
    /// The group's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ResetArgs {
    /// The group's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to begin: `first`, `last` (only what comes), a position, or a time as RFC 3339 writes it
    #[arg(long, value_name = "PLACE", value_parser = place::parse)]
    to: GroupStart,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SkipArgs {
    /// The group's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The event's position
    #[arg(value_name = "POSITION")]
    position: u64,
    #[command(flatten)]
    remote: Remote,
}

/// What was done to a group.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    group: String,
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
}

impl Done {
    fn new(group: String, done: &'static str) -> Self {
        Self { group, done, position: None }
    }
}

impl Show for Done {
    fn to_text(&self) -> String {
        let Done { group, done, position } = self;
        match position {
            None => format!("{done} {group}"),
            Some(position) => format!("{done} {group}, position {position}"),
        }
    }
}

pub(crate) async fn run(command: GroupCommand, output: Output) -> Result<(), Failure> {
    match command {
        GroupCommand::Consume(args) => consume::run(args, output).await,
        command => until_interrupted(run_briefly(command, output)).await,
    }
}

async fn run_briefly(command: GroupCommand, output: Output) -> Result<(), Failure> {
    match command {
        GroupCommand::Create(args) => create::create(args, output).await,
        GroupCommand::Configure(args) => create::configure(args, output).await,
        GroupCommand::List(args) => list(args, output).await,
        GroupCommand::Show(args) => show(args, output).await,
        GroupCommand::Pause(NameArgs { name, remote }) => {
            remote.connect().await?.groups().pause_group(PauseGroupRequest { name: name.clone() }).await?;
            output.show(&Done::new(name, "paused"))
        }
        GroupCommand::Resume(NameArgs { name, remote }) => {
            remote.connect().await?.groups().resume_group(ResumeGroupRequest { name: name.clone() }).await?;
            output.show(&Done::new(name, "resumed"))
        }
        GroupCommand::Reset(args) => reset(args, output).await,
        GroupCommand::Skip(args) => skip(args, output).await,
        GroupCommand::Delete(NameArgs { name, remote }) => {
            remote.connect().await?.groups().delete_group(DeleteGroupRequest { name: name.clone() }).await?;
            output.show(&Done::new(name, "deleted"))
        }
        GroupCommand::Consume(args) => consume::run(args, output).await,
    }
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let answer = args.remote.connect().await?.groups().list_groups(ListGroupsRequest {}).await?.into_inner();
    let groups = answer.groups.into_iter().map(Status::try_from).collect::<Result<_, _>>()?;
    output.show(&Groups { groups })
}

async fn show(args: NameArgs, output: Output) -> Result<(), Failure> {
    let answer = args.remote.connect().await?.groups().get_group(GetGroupRequest { name: args.name }).await?;
    let group = answer.into_inner().group;
    let group = group.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no group"))?;
    output.show(&Status::try_from(group)?)
}

async fn reset(args: ResetArgs, output: Output) -> Result<(), Failure> {
    let ResetArgs { name, to, remote } = args;
    let request = ResetGroupRequest { name: name.clone(), to: Some(to) };
    let position = remote.connect().await?.groups().reset_group(request).await?.into_inner().position;
    output.show(&Done { position: Some(position), ..Done::new(name, "reset") })
}

async fn skip(args: SkipArgs, output: Output) -> Result<(), Failure> {
    let SkipArgs { name, position, remote } = args;
    let request = SkipEventRequest { name: name.clone(), position };
    if !remote.connect().await?.groups().skip_event(request).await?.into_inner().skipped {
        let message = format!("position {position} is not among what {name} has read and not settled");
        return Err(Failure::failed("not_skipped", message)
            .with_help("it is settled already, is not for this group, or was not read yet: see `wasmill group show`"));
    }
    output.show(&Done { position: Some(position), ..Done::new(name, "skipped an event of") })
}
