//! Appends by many publishers at a time, each of which waits for its answer before it sends again.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;
use wasmill_core::limits::publish::{APPEND_BYTES_MAX, APPEND_EVENTS_MAX, EVENT_DATA_BYTES_MAX};

use super::load;
use super::report::{Latencies, Measurement};
use super::target::Target;
use crate::cli::client::Connection;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::AppendRequest;
use crate::proto::log_service_client::LogServiceClient;

/// Calls before this are not counted: connections and caches warm up.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(Args, Clone, Debug)]
pub(crate) struct AppendArgs {
    /// Publishers, each with a stream of its own and one append under way
    #[arg(long, default_value_t = 64, value_name = "COUNT", value_parser = at_least_one)]
    pub publishers: usize,
    /// Events in one append
    #[arg(long, default_value_t = 1, value_name = "EVENTS", value_parser = at_least_one)]
    pub batch: usize,
    /// How long to measure
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Data of one event
    #[arg(long, default_value_t = load::EVENT_BYTES, value_name = "BYTES", value_parser = at_least_one)]
    pub size: usize,
}

impl Default for AppendArgs {
    fn default() -> Self {
        Self { publishers: 64, batch: 1, seconds: 5, size: load::EVENT_BYTES }
    }
}

impl AppendArgs {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What no host takes is not measured.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let bytes = self.batch.saturating_mul(self.size);
        if self.batch > APPEND_EVENTS_MAX || self.size > EVENT_DATA_BYTES_MAX || bytes > APPEND_BYTES_MAX {
            let message = format!("{} events of {} bytes are more than a host takes at once", self.batch, self.size);
            let limits = format!(
                "an append holds at most {APPEND_EVENTS_MAX} events and {APPEND_BYTES_MAX} bytes, an event at most \
                 {EVENT_DATA_BYTES_MAX} bytes of data"
            );
            return Err(Failure::usage(message).with_help(limits));
        }
        Ok(())
    }
}

/// A count that makes sense.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a whole number from 1".into()),
        Ok(count) => Ok(count),
    }
}

pub(crate) async fn run(target: &Target, args: &AppendArgs, output: Output) -> Result<Measurement, Failure> {
    let name = load::run_name("append");
    let connections = load::connect(target, args.publishers).await?;
    let publishers = (0..args.publishers).map(|number| {
        let request = load::request(format!("{name}-{number}"), args.batch, args.size);
        (connections[number % connections.len()].log(), vec![request])
    });
    let bar = output.spinner("appending");
    bar.set_message(format!("{} publishers x {} events", args.publishers, args.batch));
    let measured = drive(publishers.collect(), args.duration()).await;
    bar.finish_and_clear();
    let (appends, latencies, took) = measured?;
    let what = format!("append, {} x {}", args.publishers, args.batch);
    Ok(Measurement::of(what, appends * args.batch as u64, took)
        .with_latency(&latencies)
        .with("connections", connections.len().to_string()))
}

/// Lets every publisher append for some time, each its requests in turn; returns how many appends were
/// answered in it.
pub(crate) async fn drive(
    publishers: Vec<(LogServiceClient<Connection>, Vec<AppendRequest>)>,
    duration: Duration,
) -> Result<(u64, Latencies, Duration), Failure> {
    let from = Instant::now() + WARM_UP;
    let until = from + duration;
    let mut tasks = JoinSet::new();
    for (client, requests) in publishers {
        tasks.spawn(publish(client, requests, from, until));
    }
    let mut all = Latencies::new();
    let mut appends = 0;
    while let Some(done) = tasks.join_next().await {
        let (count, latencies) = done.map_err(|error| Failure::failed("bench", error.to_string()))??;
        appends += count;
        all.merge(&latencies);
    }
    Ok((appends, all, duration))
}

async fn publish(
    mut client: LogServiceClient<Connection>,
    requests: Vec<AppendRequest>,
    from: Instant,
    until: Instant,
) -> Result<(u64, Latencies), Failure> {
    let mut latencies = Latencies::new();
    let mut count = 0;
    let mut sent = Instant::now();
    let mut requests = requests.iter().cycle();
    while sent < until
        && let Some(request) = requests.next()
    {
        client.append(request.clone()).await?;
        let answered = Instant::now();
        if sent >= from && answered < until {
            latencies.add(answered - sent);
            count += 1;
        }
        sent = answered;
    }
    Ok((count, latencies))
}
