//! Many live followers of one stream, and many that take nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::load;
use super::report::{Latencies, Measurement};
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::FollowStreamRequest;

/// Calls on one connection: a server admits a few hundred of them.
const CALLS_ON_A_CONNECTION: usize = 100;
/// Deliveries that are still out when the last event is published.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Debug)]
pub(crate) struct FanoutArgs {
    /// Followers that take every event
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = super::append::at_least_one)]
    pub subscribers: usize,
    /// Followers that take nothing
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub stuck: usize,
    /// Events a second
    #[arg(long, default_value_t = 100, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rate: u64,
    /// How long to measure
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Data of one event
    #[arg(long, default_value_t = load::EVENT_BYTES, value_name = "BYTES", value_parser = super::append::at_least_one)]
    pub size: usize,
}

impl Default for FanoutArgs {
    fn default() -> Self {
        Self { subscribers: 1_000, stuck: 0, rate: 100, seconds: 5, size: load::EVENT_BYTES }
    }
}

pub(crate) async fn run(target: &Target, args: &FanoutArgs, output: Output) -> Result<Measurement, Failure> {
    let stream = load::run_name("fanout");
    let events = args.rate * args.seconds;
    let publisher = target.remote.connect().await?;
    // Those that take nothing fill up the connection that they share: not one of the others'.
    let (clients, stuck_clients) = (connect(target, args.subscribers).await?, connect(target, args.stuck).await?);
    let before = target.memory_kib();
    let request =
        FollowStreamRequest { stream: stream.clone(), from_offset: Some(0), ..FollowStreamRequest::default() };
    // Nobody looks into these; their host has to wait for them, or to let go of them.
    let mut stuck = Vec::with_capacity(args.stuck);
    for number in 0..args.stuck {
        stuck
            .push(stuck_clients[number % stuck_clients.len()].log().follow_stream(request.clone()).await?.into_inner());
    }
    let all_there = Arc::new(Barrier::new(args.subscribers + 1));
    let mut published = Vec::new();
    let mut followers = JoinSet::new();
    for number in 0..args.subscribers {
        let client = clients[number % clients.len()].clone();
        followers.spawn(follow(client, request.clone(), events, Arc::clone(&all_there)));
    }
    all_there.wait().await;
    let bar = output.spinner("publishing");
    let started = Instant::now();
    let append = load::request(stream, 1, args.size);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(args.rate).unwrap_or(u32::MAX));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for _ in 0..events {
        ticks.tick().await;
        let at = Instant::now();
        publisher.log().append(append.clone()).await?;
        published.push(at);
    }
    let mut latencies = Latencies::new();
    let all = async {
        while let Some(follower) = followers.join_next().await {
            let delivered = follower.map_err(|error| Failure::failed("bench", error.to_string()))??;
            published.iter().zip(delivered).for_each(|(at, delivered)| latencies.add(delivered - *at));
        }
        Ok::<_, Failure>(())
    };
    let followed = tokio::time::timeout(LAST_TIMEOUT, all).await;
    bar.finish_and_clear();
    followed.map_err(|_| Failure::failed("bench", "not every event was delivered in time"))??;
    let took = started.elapsed();
    let deliveries = events * args.subscribers as u64;
    let what = format!("{} followers of one stream at {}/s, {} stuck", args.subscribers, args.rate, args.stuck);
    let mut measurement = Measurement::of(what, deliveries, took).with_latency(&latencies);
    if let (Some(before), Some(after)) = (before, target.memory_kib()) {
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        measurement = measurement.with("memory before", mib(before)).with("memory after", mib(after));
    }
    drop(stuck);
    Ok(measurement)
}

async fn connect(target: &Target, calls: usize) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::new();
    for _ in 0..calls.div_ceil(CALLS_ON_A_CONNECTION) {
        clients.push(target.remote.connect().await?);
    }
    Ok(clients)
}

/// When each event was delivered.
async fn follow(
    client: Client,
    request: FollowStreamRequest,
    events: u64,
    all_there: Arc<Barrier>,
) -> Result<Vec<Instant>, Failure> {
    let pages = client.log().follow_stream(request).await;
    all_there.wait().await;
    let mut pages = pages?.into_inner();
    let mut delivered = Vec::with_capacity(usize::try_from(events).unwrap_or_default());
    while (delivered.len() as u64) < events {
        let Some(page) = pages.message().await? else {
            return Err(Failure::failed("ended", "the host ended the call"));
        };
        let now = Instant::now();
        delivered.extend(page.events.iter().map(|_| now));
    }
    Ok(delivered)
}
