//! A read model built from the first event on: the flights projection, in Rust, inside the host.
//!
//! What is measured is a rebuild: from the call that asks for it to the moment at which the new read
//! model serves, which it does when every document and the last checkpoint are durable.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;

use super::report::Measurement;
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::demo::embedded::{self, FLIGHTS_PLUGIN};
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::publish::{self, Grouping};
use crate::cli::table::{duration, grouped};
use crate::cli::{plugin, projection};
use crate::proto::{GetDocumentRequest, RebuildProjectionRequest, WaitFor};

/// The median of an odd number of runs is one of them.
const RUNS: usize = 3;
/// The longest wait that a host grants.
const WAIT_MS: u32 = 60_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct ProjectionArgs {
    /// How many times the flights of January 2013 are published: 53,472 events each
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = super::append::at_least_one)]
    pub months: usize,
}

impl Default for ProjectionArgs {
    fn default() -> Self {
        Self { months: 10 }
    }
}

pub(crate) async fn run(target: &Target, args: &ProjectionArgs, output: Output) -> Result<Vec<Measurement>, Failure> {
    let client = target.remote.connect().await?;
    let (deployed, _) = plugin::deploy(&client, Bytes::from_static(FLIGHTS_PLUGIN)).await?;
    let name = deployed.name;

    let source = embedded::flights(args.months);
    let bar = output.bytes_bar("publishing", source.bytes.unwrap_or(0));
    let started = Instant::now();
    let published = publish::publish(&client, source, Grouping::default(), &bar, std::future::pending).await;
    bar.finish_and_clear();
    if let Some(failure) = published.failure {
        return Err(failure);
    }
    let last = published.sent.last_position.unwrap_or(0);
    let behind = Instant::now();
    folded(&client, &name, last).await?;
    let live = Measurement::of("publish flights, projected as they come", published.sent.events, started.elapsed())
        .with("read model behind by", duration(behind.elapsed()))
        .with("appends", grouped(published.sent.appends));

    let bar = output.events_bar("rebuilding", last + 1);
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(rebuild(&client, &name, &bar).await?);
    }
    bar.finish_and_clear();
    runs.sort();
    let events = folded(&client, &name, last).await?;
    let spread = format!("{:.2} to {:.2} s", runs[0].as_secs_f64(), runs[RUNS - 1].as_secs_f64());
    let collections = projection::get(&client, &name).await?.collections;
    let documents = collections.iter().map(|collection| collection.documents).sum();
    let rebuilt = Measurement::of("projection rebuilt, durable", events, runs[RUNS / 2])
        .with("runs", spread)
        .with("documents", grouped(documents));
    Ok(vec![live, rebuilt])
}

async fn rebuild(client: &Client, name: &str, bar: &indicatif::ProgressBar) -> Result<Duration, Failure> {
    let started = Instant::now();
    let request = RebuildProjectionRequest { name: name.to_owned() };
    let generation = client.projections().rebuild_projection(request).await?.into_inner().generation;
    projection::wait_for_generation(client, name, generation, bar).await?;
    Ok(started.elapsed())
}

/// Waits until the read model holds the event at `position`; returns how many events it holds.
async fn folded(client: &Client, name: &str, position: u64) -> Result<u64, Failure> {
    let request = GetDocumentRequest {
        projection: name.to_owned(),
        collection: "totals".into(),
        key: "all".into(),
        wait_for: Some(WaitFor { position, timeout_ms: WAIT_MS }),
    };
    let document = client.projections().get_document(request).await?.into_inner().value;
    let totals: serde_json::Value = serde_json::from_slice(&document).unwrap_or_default();
    totals["events"].as_u64().ok_or_else(|| Failure::failed("malformed_answer", "the totals hold no number of events"))
}
