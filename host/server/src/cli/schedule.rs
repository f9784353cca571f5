//! `wasmill schedule`: events that are published at a time.

mod put;
mod status;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::Remote;
use super::exit::Failure;
use super::output::{Output, Show};
use crate::proto::{
    self, GetScheduleRequest, ListSchedulesRequest, PauseScheduleRequest, RemoveScheduleRequest, ResumeScheduleRequest,
};
use status::{Schedules, Status};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Make a schedule, or replace the one of that name
    #[command(after_help = put::ADVICE)]
    Put(Box<put::PutArgs>),
    /// List schedules in the order of their names
    List(ListArgs),
    /// Show one schedule: what it publishes, when, and how it is doing
    Show(NameArgs),
    /// Publish nothing until it is resumed; nothing is made up for then
    Pause(NameArgs),
    /// Go on with the next time; one of a single time that has passed publishes now
    Resume(NameArgs),
    /// Remove a schedule
    Remove(NameArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Names after this one
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// Most schedules; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "SCHEDULES")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NameArgs {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

/// What was done to a schedule.
#[derive(Serialize)]
struct Done {
    schedule: String,
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Show for Done {
    fn to_text(&self) -> String {
        let Done { schedule, done, next } = self;
        match next {
            None => format!("{done} {schedule}"),
            Some(next) => format!("{done} {schedule}, next at {next}"),
        }
    }
}

pub(crate) async fn run(command: ScheduleCommand, output: Output) -> Result<(), Failure> {
    match command {
        ScheduleCommand::Put(args) => put::run(*args, output).await,
        ScheduleCommand::List(args) => list(args, output).await,
        ScheduleCommand::Show(NameArgs { name, remote }) => {
            let answer = remote.connect().await?.schedules().get_schedule(GetScheduleRequest { name }).await?;
            output.show(&status(answer.into_inner().schedule)?)
        }
        ScheduleCommand::Pause(NameArgs { name, remote }) => {
            let request = PauseScheduleRequest { name: name.clone() };
            remote.connect().await?.schedules().pause_schedule(request).await?;
            output.show(&Done { schedule: name, done: "paused", next: None })
        }
        ScheduleCommand::Resume(NameArgs { name, remote }) => {
            let request = ResumeScheduleRequest { name: name.clone() };
            let answer = remote.connect().await?.schedules().resume_schedule(request).await?.into_inner();
            let next = answer.schedule.and_then(|schedule| schedule.next_us).map(super::table::rfc3339);
            output.show(&Done { schedule: name, done: "resumed", next })
        }
        ScheduleCommand::Remove(NameArgs { name, remote }) => {
            let request = RemoveScheduleRequest { name: name.clone() };
            remote.connect().await?.schedules().remove_schedule(request).await?;
            output.show(&Done { schedule: name, done: "removed", next: None })
        }
    }
}

fn status(schedule: Option<proto::Schedule>) -> Result<Status, Failure> {
    Status::try_from(schedule.ok_or_else(|| malformed("the answer holds no schedule"))?)
}

fn malformed(message: &str) -> Failure {
    Failure::failed("malformed_answer", message)
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let mut client = args.remote.connect().await?.schedules();
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut found = Schedules { schedules: Vec::new(), next_after: args.after };
    loop {
        let missing = wanted - found.schedules.len() as u64;
        let request = ListSchedulesRequest {
            after: found.next_after.take().unwrap_or_default(),
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
        };
        let page = client.list_schedules(request).await?.into_inner();
        for schedule in page.schedules {
            found.schedules.push(Status::try_from(schedule)?);
        }
        found.next_after = (!page.next_after.is_empty()).then_some(page.next_after);
        if found.next_after.is_none() || found.schedules.len() as u64 >= wanted {
            return output.show(&found);
        }
    }
}
