//! What an append costs as the log grows: in events, and in streams.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::append::drive;
use super::load;
use super::plot::{Chart, Series};
use super::report::Measurement;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::table::grouped;
use crate::proto::append_bulk_answer::Outcome;
use crate::proto::append_bulk_response::Kind;
use crate::proto::{AppendBulkRequest, AppendRequest, GetLogRequest};

/// The log grows by small appends over some streams, so that every index grows with it.
const FILL_BATCH: usize = 10;
const FILL_STREAMS: u64 = 1_000;
const SINGLE: usize = 64;
const BATCHES: (usize, usize) = (16, 100);

#[derive(Args, Clone, Debug)]
pub(crate) struct GrowthArgs {
    /// Sizes of the log at which appends are measured, in ascending order
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000], value_name = "COUNT,..")]
    pub events: Vec<u64>,
    /// Numbers of streams at which appends to any of them are measured, in ascending order
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 10_000], value_name = "COUNT,..")]
    pub streams: Vec<u64>,
    /// How long to measure at each
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Draw the costs into this file
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
}

pub(crate) async fn run(target: &Target, args: &GrowthArgs, output: Output) -> Result<Vec<Measurement>, Failure> {
    let mut growth = Growth { target, args, output, measurements: Vec::new() };
    let by_events = growth.by_events().await?;
    let by_streams = growth.by_streams().await?;
    if let Some(file) = &args.svg {
        let svg = Chart::draw(&[
            Chart { title: "microseconds an append, by events in the log".into(), series: by_events },
            Chart { title: "microseconds an append, by streams".into(), series: by_streams },
        ]);
        std::fs::write(file, svg).map_err(|error| Failure::file(&file.display().to_string(), &error))?;
    }
    Ok(growth.measurements)
}

struct Growth<'a> {
    target: &'a Target,
    args: &'a GrowthArgs,
    output: Output,
    measurements: Vec<Measurement>,
}

impl Growth<'_> {
    async fn by_events(&mut self) -> Result<Vec<Series>, Failure> {
        let name = load::run_name("growth");
        let mut single = Series::new(format!("{SINGLE} publishers, 1 event"));
        let (publishers, batch) = BATCHES;
        let mut batches = Series::new(format!("{publishers} publishers, {batch} events"));
        for events in self.args.events.clone() {
            self.grow_to(events, &name).await?;
            let streams = (0..SINGLE).map(|n| load::request(format!("{name}-one-{n}"), 1, load::EVENT_BYTES));
            let what = format!("{} events, {SINGLE} x 1", grouped(events));
            single.add(events, self.measure(what, streams.collect(), 1).await?);
            let streams = (0..publishers).map(|n| load::request(format!("{name}-many-{n}"), batch, load::EVENT_BYTES));
            let what = format!("{} events, {publishers} x {batch}", grouped(events));
            batches.add(events, self.measure(what, streams.collect(), batch).await?);
        }
        Ok(vec![single, batches])
    }

    async fn by_streams(&mut self) -> Result<Vec<Series>, Failure> {
        let name = load::run_name("streams");
        let mut spread = Series::new(format!("{SINGLE} publishers, 1 event, over all streams"));
        let mut there = 0;
        for streams in self.args.streams.clone() {
            let of = |n: u64| load::request(format!("{name}-{n}"), 1, load::EVENT_BYTES);
            self.fill((there..streams).map(of), streams.saturating_sub(there)).await?;
            there = there.max(streams);
            // A stride that is prime to every power of ten goes over all streams, in no order that an index has.
            let requests = (0..SINGLE as u64 * 64).map(|n| of(n * 7_919 % streams));
            let what = format!("{} streams, {SINGLE} x 1", grouped(streams));
            spread.add(streams, self.measure(what, requests.collect(), 1).await?);
        }
        Ok(vec![spread])
    }

    /// Microseconds an append, from appends by [`SINGLE`] or fewer publishers that take turns with the requests.
    async fn measure(&mut self, what: String, requests: Vec<AppendRequest>, batch: usize) -> Result<f64, Failure> {
        let publishers = requests.len().min(SINGLE);
        let connections = load::connect(self.target, publishers).await?;
        let turns: Vec<_> = (0..publishers)
            .map(|n| {
                let own: Vec<_> = requests.iter().skip(n).step_by(publishers).cloned().collect();
                (connections[n % connections.len()].log(), own)
            })
            .collect();
        let bar = self.output.spinner("appending");
        bar.set_message(what.clone());
        let measured = drive(turns, Duration::from_secs(self.args.seconds)).await;
        bar.finish_and_clear();
        let (appends, latencies, took) = measured?;
        let cost_us = took.as_secs_f64() * 1e6 / appends.max(1) as f64;
        let measurement = Measurement::of(what, appends * batch as u64, took).with_latency(&latencies);
        self.measurements.push(measurement.with("us an append", format!("{cost_us:.1}")));
        Ok(cost_us)
    }

    async fn grow_to(&self, events: u64, name: &str) -> Result<(), Failure> {
        let client = self.target.remote.connect().await?;
        let there = client.log().get_log(GetLogRequest {}).await?.into_inner().next_position;
        let appends = events.saturating_sub(there).div_ceil(FILL_BATCH as u64);
        let of = |n: u64| load::request(format!("{name}-{}", n % FILL_STREAMS), FILL_BATCH, load::EVENT_BYTES);
        self.fill((0..appends).map(of), appends).await
    }

    async fn fill(&self, requests: impl Iterator<Item = AppendRequest>, count: u64) -> Result<(), Failure> {
        let client = self.target.remote.connect().await?;
        let bar = self.output.events_bar("filling", count);
        let filled = send_all(&client, requests, &bar).await;
        bar.finish_and_clear();
        filled
    }
}

/// Sends the appends over one bulk call, a bounded number ahead of the answers.
async fn send_all(
    client: &Client,
    requests: impl Iterator<Item = AppendRequest>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    const AHEAD: u64 = 1_024;
    let (sender, receiver) = mpsc::channel(AHEAD as usize);
    let mut answers = client.log().append_bulk(ReceiverStream::new(receiver)).await?.into_inner();
    let (mut sender, mut requests, mut tag, mut answered) = (Some(sender), requests, 0, 0);
    loop {
        while let Some(open) = &sender
            && tag < answered + AHEAD
        {
            let append = requests.next();
            // The receiver goes with the call, whose own end says why.
            if append.is_none() || open.send(AppendBulkRequest { tag, append }).await.is_err() {
                sender = None;
            }
            tag += 1;
        }
        let Some(answer) = answers.message().await? else { return Ok(()) };
        if let Some(Kind::Answer(answer)) = answer.kind {
            if let Some(Outcome::Problem(problem)) = answer.outcome {
                return Err(problem.into());
            }
            answered += 1;
            bar.inc(1);
        }
    }
}
