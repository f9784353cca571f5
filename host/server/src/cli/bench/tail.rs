//! From the call that publishes an event to its delivery, at a steady rate.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;

use super::load;
use super::report::{Latencies, Measurement};
use super::target::Target;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::FollowStreamRequest;

/// Deliveries that are still out when the last event is published.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Debug)]
pub(crate) struct TailArgs {
    /// Events a second
    #[arg(long, default_value_t = 1_000, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rate: u64,
    /// How long to measure
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Data of one event
    #[arg(long, default_value_t = load::EVENT_BYTES, value_name = "BYTES", value_parser = super::append::at_least_one)]
    pub size: usize,
}

impl Default for TailArgs {
    fn default() -> Self {
        Self { rate: 1_000, seconds: 5, size: load::EVENT_BYTES }
    }
}

/// When the event at an offset was published, and when it was delivered.
type Moment = (u64, Instant);

pub(crate) async fn run(target: &Target, args: &TailArgs, output: Output) -> Result<Measurement, Failure> {
    let (latencies, took) = measure(target, args, output).await?;
    let what = format!("publish to delivery at {}/s", args.rate);
    Ok(Measurement::of(what, args.rate * args.seconds, took).with_latency(&latencies))
}

/// How long each delivery took, and all together.
pub(super) async fn measure(
    target: &Target,
    args: &TailArgs,
    output: Output,
) -> Result<(Latencies, Duration), Failure> {
    let stream = load::run_name("tail");
    let events = args.rate * args.seconds;
    // Publisher and follower are different programs in life: two connections.
    let publisher = target.remote.connect().await?;
    let follower = target.remote.connect().await?;
    let request =
        FollowStreamRequest { stream: stream.clone(), from_offset: Some(0), ..FollowStreamRequest::default() };
    let mut pages = follower.log().follow_stream(request).await?.into_inner();

    let bar = output.events_bar("following", events);
    let mut tasks = JoinSet::new();
    let append = load::request(stream, 1, args.size);
    let interval = Duration::from_secs(1) / u32::try_from(args.rate).unwrap_or(u32::MAX);
    let log = publisher.log();
    tasks.spawn(async move {
        let mut calls = JoinSet::new();
        let mut ticks = tokio::time::interval(interval);
        // What is late is published at once: a host that stalls must not slow down the clock that judges it.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        for _ in 0..events {
            ticks.tick().await;
            let (mut log, append) = (log.clone(), append.clone());
            calls.spawn(async move {
                let at = Instant::now();
                let appended = log.append(append).await?.into_inner();
                Ok::<Moment, Failure>((appended.first_offset, at))
            });
        }
        let mut published: Vec<Moment> = Vec::new();
        while let Some(call) = calls.join_next().await {
            published.push(call.map_err(|error| Failure::failed("bench", error.to_string()))??);
        }
        Ok::<_, Failure>(published)
    });

    let started = Instant::now();
    let mut delivered: Vec<Instant> = Vec::new();
    let deadline = Duration::from_secs(args.seconds) + LAST_TIMEOUT;
    let follow = async {
        while (delivered.len() as u64) < events {
            let Some(page) = pages.message().await? else {
                return Err(Failure::failed("ended", "the host ended the call"));
            };
            let now = Instant::now();
            delivered.extend(page.events.iter().map(|_| now));
            bar.set_position(delivered.len() as u64);
        }
        Ok(())
    };
    let followed = tokio::time::timeout(deadline, follow).await;
    let took = started.elapsed();
    bar.finish_and_clear();
    followed.map_err(|_| Failure::failed("bench", "not every event was delivered in time"))??;
    let mut latencies = Latencies::new();
    while let Some(task) = tasks.join_next().await {
        for (offset, at) in task.map_err(|error| Failure::failed("bench", error.to_string()))?? {
            latencies.add(delivered[usize::try_from(offset).expect("offsets count what was delivered")] - at);
        }
    }
    Ok((latencies, took))
}
