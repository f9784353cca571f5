//! `wasmill saga`: long-running processes of declared steps.

mod list;
mod order;
mod send;
mod start;
mod status;
mod timeline;

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::{Connection, Remote};
use super::exit::Failure;
use super::output::{Output, Show};
use crate::http::saga_out::SagaView;
use crate::proto::saga_service_client::SagaServiceClient;
use crate::proto::{self, ForgetSagaRequest, GetSagaRequest};
use status::Status;

/// What a host waits in one call; a longer wait is several calls.
const CALL_WAIT_MAX: Duration = Duration::from_secs(60);

type Client = SagaServiceClient<Connection>;

#[derive(Debug, Subcommand)]
pub(crate) enum SagaCommand {
    /// Start a saga of a deployed type; one that is there with the same correlation id is answered instead
    #[command(after_help = start::ADVICE)]
    Start(Box<start::StartArgs>),
    /// Show how a saga is: its steps, its data, what it waits for
    Status(Box<status::StatusArgs>),
    /// List sagas in the order of their starts
    List(Box<list::ListArgs>),
    /// Show what has happened to a saga, attempt by attempt
    Timeline(timeline::TimelineArgs),
    /// Undo what a saga has done, in reverse order
    Cancel(order::OrderArgs),
    /// Let no further attempt of a saga begin
    Pause(order::OrderArgs),
    /// Go on with a saga that is paused
    Resume(order::ResumeArgs),
    /// End a saga as it is; nothing is undone
    Kill(order::OrderArgs),
    /// Try the present step of a saga again, or go back to an earlier one
    Retry(order::RetryArgs),
    /// Leave the present step of a saga, or its undoing, out
    Skip(order::OrderArgs),
    /// Take the present step of a saga, or its undoing, for done by hand
    Done(order::DoneArgs),
    /// Send an event that a saga waits for, such as an approval
    Send(Box<send::SendArgs>),
    /// Forget a saga that has ended, and its timeline
    Forget(IdArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct IdArgs {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
struct Forgotten {
    forgotten: String,
}

impl Show for Forgotten {
    fn to_text(&self) -> String {
        format!("forgot {}", self.forgotten)
    }
}

pub(crate) async fn run(command: SagaCommand, output: Output) -> Result<(), Failure> {
    match command {
        SagaCommand::Start(args) => start::run(*args, output).await,
        SagaCommand::Status(args) => status::run(*args, output).await,
        SagaCommand::List(args) => list::run(*args, output).await,
        SagaCommand::Timeline(args) => timeline::run(args, output).await,
        SagaCommand::Cancel(args) => order::cancel(args, output).await,
        SagaCommand::Pause(args) => order::pause(args, output).await,
        SagaCommand::Resume(args) => order::resume(args, output).await,
        SagaCommand::Kill(args) => order::kill(args, output).await,
        SagaCommand::Retry(args) => order::retry(args, output).await,
        SagaCommand::Skip(args) => order::skip(args, output).await,
        SagaCommand::Done(args) => order::done(args, output).await,
        SagaCommand::Send(args) => send::run(*args, output).await,
        SagaCommand::Forget(IdArgs { id, remote }) => {
            remote.connect().await?.sagas().forget_saga(ForgetSagaRequest { id: id.clone() }).await?;
            output.show(&Forgotten { forgotten: id })
        }
    }
}

fn view(saga: Option<proto::Saga>) -> Result<Status, Failure> {
    let saga = saga.ok_or_else(|| malformed("the answer holds no saga"))?;
    Ok(Status(SagaView::from(saga)))
}

fn malformed(message: &str) -> Failure {
    Failure::failed("malformed_answer", message)
}

/// As long as one call waits.
fn call_wait_ms(left: Duration) -> u32 {
    u32::try_from(left.min(CALL_WAIT_MAX).as_millis()).unwrap_or(u32::MAX)
}

/// Waits on until the saga has ended or needs a person, or the time is up.
async fn wait(client: &mut Client, mut status: Status, until: Instant) -> Result<Status, Failure> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if status.rests_for_good() || left.is_zero() {
            return Ok(status);
        }
        let request =
            GetSagaRequest { id: status.id().to_owned(), wait_ms: call_wait_ms(left), ..GetSagaRequest::default() };
        status = view(client.get_saga(request).await?.into_inner().saga)?;
    }
}

/// What a command that has waited says of a saga that was not completed.
fn judged(status: &Status, output: Output) -> Result<(), Failure> {
    match status.failure() {
        Some(failure) => Err(failure),
        None if status.rests_for_good() => Ok(()),
        None => {
            output.note(&format!("it goes on: wasmill saga status {} --wait 1m", status.id()));
            Ok(())
        }
    }
}
