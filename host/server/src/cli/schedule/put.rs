//! `wasmill schedule put`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use wasmill_core::clock::{Clock as _, SystemClock};

use super::Remote;
use super::status::Put;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::schedule::When;
use crate::proto::{self, Cron, NewEvent, PutScheduleRequest, Schedule};

pub(super) const ADVICE: &str = "A cron expression has five fields (minute, hour, day of month, month, day of week), \
    or six with seconds in front: --cron '0 9 * * MON'. Each time is published for once, whatever happens to the host.";

#[derive(Args, Clone, Debug)]
pub(crate) struct PutArgs {
    /// The schedule's name
    #[arg(value_name = "NAME")]
    name: String,
    /// The stream to publish to
    #[arg(long, value_name = "STREAM")]
    stream: String,
    /// The type of the event
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// Its data
    #[arg(long, value_name = "JSON")]
    data: String,
    /// Its key: events of one key are handled in their order
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A tag of it. May be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    when: WhenArgs,
    /// The time zone of the cron expression, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "cron", conflicts_with_all = ["at", "in_time", "every"])]
    time_zone: Option<String>,
    /// What happens about times that have passed while no host was there
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    missed: Missed,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct WhenArgs {
    /// Once, at this time, as RFC 3339 writes it; one that has passed is now
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Once, so much later, such as 90s
    #[arg(long = "in", id = "in_time", value_name = "TIME", value_parser = humantime::parse_duration)]
    in_time: Option<Duration>,
    /// Again and again, so far apart, such as 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// Again and again, as this cron expression says
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Missed {
    /// One event makes up for all of them
    #[default]
    Once,
    /// Each is made up for
    All,
    /// None is; a single time is published for all the same
    Skip,
}

pub(super) async fn run(args: PutArgs, output: Output) -> Result<(), Failure> {
    let remote = args.remote.clone();
    let request = PutScheduleRequest { schedule: Some(schedule(args)) };
    let answer = remote.connect().await?.schedules().put_schedule(request).await?.into_inner();
    output.show(&Put(super::status(answer.schedule)?))
}

fn schedule(args: PutArgs) -> Schedule {
    let PutArgs { name, stream, event_type, data, key, tags, when, time_zone, missed, remote: _ } = args;
    let event = NewEvent { r#type: event_type, data: data.into(), key, tags, ..NewEvent::default() };
    let missed = match missed {
        Missed::Once => proto::Missed::Once,
        Missed::All => proto::Missed::All,
        Missed::Skip => proto::Missed::Skip,
    };
    let when = Some(when.read(time_zone.unwrap_or_default()));
    Schedule { name, stream, event: Some(event), when, missed: missed.into(), ..Schedule::default() }
}

impl WhenArgs {
    fn read(self, time_zone: String) -> When {
        let WhenArgs { at, in_time, every, cron } = self;
        let now_us = || SystemClock.now().0;
        let later = |by: Duration| now_us().saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
        match (at, in_time, every) {
            (Some(at), ..) => When::AtUs(at.as_microsecond()),
            (_, Some(by), _) => When::AtUs(later(by)),
            (.., Some(every)) => When::EveryMs(u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
            (None, None, None) => When::Cron(Cron { expression: cron.unwrap_or_default(), time_zone }),
        }
    }
}
