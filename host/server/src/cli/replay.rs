//! `wasmill replay`: the past once more.

mod start;
mod status;
mod watch;

use clap::{Args, Subcommand};

use super::client::Remote;
use super::exit::Failure;
use super::output::Output;
use crate::proto::{self, CancelReplayRequest, GetReplayRequest, ListReplaysRequest};
use crate::proto::{PauseReplayRequest, ResumeReplayRequest};
use status::{Replays, Status};

#[derive(Debug, Subcommand)]
pub(crate) enum ReplayCommand {
    /// Begin a replay for a group, a projection or this command, and show how it goes
    #[command(after_help = start::ADVICE)]
    Start(Box<start::StartArgs>),
    /// List replays, the oldest first
    List(ListArgs),
    /// Show one replay: for whom it is, how far it is, and when it will be over
    Show(IdArgs),
    /// Show how a replay goes until it is over
    Watch(IdArgs),
    /// Go on receiving a replay for a client
    Receive(ReceiveArgs),
    /// Hand nothing over until it is resumed
    Pause(IdArgs),
    /// Go on
    Resume(IdArgs),
    /// End it where it is
    Cancel(IdArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct IdArgs {
    /// The replay's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ReceiveArgs {
    /// The replay's id
    #[arg(value_name = "ID")]
    id: String,
    /// Position of the last event that you have [default: what the host knows of you]
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(command: ReplayCommand, output: Output) -> Result<(), Failure> {
    match command {
        ReplayCommand::Start(args) => start::run(*args, output).await,
        ReplayCommand::List(ListArgs { remote }) => {
            let answer = remote.connect().await?.replays().list_replays(ListReplaysRequest {}).await?;
            let replays = answer.into_inner().replays.into_iter().map(Status::try_from).collect::<Result<_, _>>()?;
            output.show(&Replays { replays })
        }
        ReplayCommand::Show(IdArgs { id, remote }) => {
            let answer = remote.connect().await?.replays().get_replay(GetReplayRequest { id }).await?;
            output.show(&status(answer.into_inner().replay)?)
        }
        ReplayCommand::Watch(IdArgs { id, remote }) => {
            watch::until_over(&mut remote.connect().await?.replays(), id, output).await
        }
        ReplayCommand::Receive(ReceiveArgs { id, after, remote }) => {
            watch::receive(&mut remote.connect().await?.replays(), id, after, output).await
        }
        ReplayCommand::Pause(IdArgs { id, remote }) => {
            let answer = remote.connect().await?.replays().pause_replay(PauseReplayRequest { id }).await?;
            output.show(&status(answer.into_inner().replay)?)
        }
        ReplayCommand::Resume(IdArgs { id, remote }) => {
            let answer = remote.connect().await?.replays().resume_replay(ResumeReplayRequest { id }).await?;
            output.show(&status(answer.into_inner().replay)?)
        }
        ReplayCommand::Cancel(IdArgs { id, remote }) => {
            let answer = remote.connect().await?.replays().cancel_replay(CancelReplayRequest { id }).await?;
            output.show(&status(answer.into_inner().replay)?)
        }
    }
}

fn status(replay: Option<proto::Replay>) -> Result<Status, Failure> {
    Status::try_from(replay.ok_or_else(|| malformed("the answer holds no replay"))?)
}

fn malformed(message: &str) -> Failure {
    Failure::failed("malformed_answer", message)
}
