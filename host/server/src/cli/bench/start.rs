//! From the start of a host process, with one plugin deployed, to its first append; and what it holds
//! in memory when it has nothing to do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;

use super::load;
use super::report::{Latencies, Measurement};
use super::target::{Spawned, resident_kib};
use crate::cli::demo::embedded::FLIGHTS_PLUGIN;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::plugin;

/// After this a host has done what it does at a start.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub(crate) struct StartArgs {
    /// How many times
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = super::append::at_least_one)]
    pub rounds: usize,
}

impl Default for StartArgs {
    fn default() -> Self {
        Self { rounds: 10 }
    }
}

pub(crate) async fn run(args: &StartArgs, output: Output) -> Result<Vec<Measurement>, Failure> {
    let bar = output.events_bar("starting", args.rounds as u64);
    let mut host = Spawned::fresh()?;
    let first = Instant::now();
    let client = host.start().await?;
    let empty = first.elapsed();
    plugin::deploy(&client, Bytes::from_static(FLIGHTS_PLUGIN)).await?;
    drop(client);
    let mut latencies = Latencies::new();
    let started = Instant::now();
    for _ in 0..args.rounds {
        host.stop().await?;
        let launched = Instant::now();
        let client = host.start().await?;
        client.log().append(load::request("bench-start".into(), 1, load::EVENT_BYTES)).await?;
        latencies.add(launched.elapsed());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let what = format!("start to first append, {} times, one plugin deployed", args.rounds);
    let mut start = Measurement::of(what, 0, started.elapsed())
        .with_latency(&latencies)
        .with("first start of all", format!("{} ms", empty.as_millis()));
    tokio::time::sleep(SETTLE).await;
    if let Some(kib) = host.process_id().and_then(resident_kib) {
        start = start.with("idle memory", format!("{:.1} MiB", kib as f64 / 1024.0));
    }
    host.stop().await?;
    Ok(vec![start])
}
