//! The whole log through one call.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::load;
use super::report::Measurement;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::table::grouped;
use crate::proto::append_bulk_answer::Outcome;
use crate::proto::append_bulk_response::Kind;
use crate::proto::{AppendBulkRequest, GetLogRequest, ReadLogRequest};

/// The median of an odd number of runs is one of them.
const RUNS: usize = 3;
/// The fill is not what is measured: large appends over many streams.
const FILL_BATCH: usize = 500;
const FILL_STREAMS: u64 = 100;

#[derive(Args, Clone, Debug)]
pub(crate) struct ReplayArgs {
    /// Events to read; the log is filled up to as many first
    #[arg(long, default_value_t = 500_000, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Data of one event, where the log is filled
    #[arg(long, default_value_t = load::EVENT_BYTES, value_name = "BYTES", value_parser = super::append::at_least_one)]
    pub size: usize,
}

impl Default for ReplayArgs {
    fn default() -> Self {
        Self { events: 500_000, size: load::EVENT_BYTES }
    }
}

pub(crate) async fn run(target: &Target, args: &ReplayArgs, output: Output) -> Result<Measurement, Failure> {
    let client = target.remote.connect().await?;
    let fill_rate = fill_up(&client, args.events, args.size, output).await?;
    let bar = output.events_bar("reading", args.events * RUNS as u64);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(read(&client, args.events, &bar).await?);
    }
    bar.finish_and_clear();
    runs.sort();
    let (fastest, median, slowest) = (runs[0], runs[RUNS / 2], runs[RUNS - 1]);
    let spread = format!("{:.2} to {:.2} s", fastest.as_secs_f64(), slowest.as_secs_f64());
    let mut measurement = Measurement::of("replay of the log", args.events, median).with("runs", spread);
    if let Some(rate) = fill_rate {
        measurement = measurement.with("filled by AppendBulk at", format!("{}/s", grouped(rate)));
    }
    Ok(measurement)
}

/// Fills the log up to as many events, and says at what rate, if there was anything to do.
pub(super) async fn fill_up(client: &Client, events: u64, size: usize, output: Output) -> Result<Option<u64>, Failure> {
    let there = client.log().get_log(GetLogRequest {}).await?.into_inner().next_position;
    if there >= events {
        return Ok(None);
    }
    let bar = output.events_bar("filling", events - there);
    let started = Instant::now();
    let filled = fill(client, events - there, size, &bar).await;
    bar.finish_and_clear();
    Ok(Some(crate::cli::table::rate(filled?, started.elapsed())))
}

async fn read(client: &Client, events: u64, bar: &ProgressBar) -> Result<Duration, Failure> {
    let started = Instant::now();
    let request = ReadLogRequest { limit: events, ..ReadLogRequest::default() };
    let mut pages = client.log().read_log(request).await?.into_inner();
    let mut count = 0;
    while let Some(page) = pages.message().await? {
        let in_page = page.events.len() as u64;
        // What any reader has to do: look into each event.
        for event in page.events {
            let event = event.into_event().map_err(|error| Failure::failed("malformed_answer", error.to_string()))?;
            std::hint::black_box(event);
        }
        count += in_page;
        bar.inc(in_page);
    }
    if count != events {
        return Err(Failure::failed("malformed_answer", format!("{count} events were read instead of {events}")));
    }
    Ok(started.elapsed())
}

/// Appends at least `events` events over one bulk call.
async fn fill(client: &Client, events: u64, size: usize, bar: &ProgressBar) -> Result<u64, Failure> {
    let name = load::run_name("replay");
    let requests: Vec<_> =
        (0..FILL_STREAMS).map(|number| load::request(format!("{name}-{number}"), FILL_BATCH, size)).collect();
    let appends = events.div_ceil(FILL_BATCH as u64);
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        for tag in 0..appends {
            let append = Some(requests[(tag % FILL_STREAMS) as usize].clone());
            // The receiver goes with the call, whose own end says why.
            if sender.send(AppendBulkRequest { tag, append }).await.is_err() {
                return;
            }
        }
    });
    let mut answers = client.log().append_bulk(ReceiverStream::new(receiver)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        if let Some(Kind::Answer(answer)) = answer.kind {
            if let Some(Outcome::Problem(problem)) = answer.outcome {
                return Err(problem.into());
            }
            bar.inc(FILL_BATCH as u64);
        }
    }
    Ok(appends * FILL_BATCH as u64)
}
