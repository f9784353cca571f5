//! Sagas started over gRPC and awaited: one after the other, and many at a time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use tokio::task::JoinSet;

use super::load;
use super::report::{Latencies, Measurement};
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::plugin::upload;
use crate::proto::{DeployOptions, PluginSetupChange, SagaActivity, SagaState, StartSagaRequest};

/// The longest wait that a host grants.
const WAIT_MS: u32 = 60_000;
/// Calls before this are not counted: connections and instances warm up.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Args, Clone, Debug)]
pub(crate) struct SagaArgs {
    /// A saga's component. It is deployed with all that it asks for
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// What each saga is started with
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// Sagas at a time, after one at a time
    #[arg(long, default_value_t = 64, value_name = "COUNT", value_parser = super::append::at_least_one)]
    at_a_time: usize,
    /// How long to measure each
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

pub(crate) async fn run(target: &Target, args: &SagaArgs, output: Output) -> Result<Vec<Measurement>, Failure> {
    let client = target.remote.connect().await?;
    let setup = PluginSetupChange { grant_all: true, ..PluginSetupChange::default() };
    let options = DeployOptions { setup: Some(setup), start: None };
    let (deployed, _) = upload::deploy_with(&client, upload::read(&args.file)?, options).await?;
    let start = StartSagaRequest {
        r#type: deployed.name,
        correlation_id: None,
        input: Bytes::from(args.input.clone()),
        wait_ms: WAIT_MS,
    };
    let bar = output.spinner("running sagas");
    let mut measurements = Vec::new();
    for at_a_time in [1, args.at_a_time] {
        bar.set_message(format!("{at_a_time} at a time"));
        let (ended, latencies) = drive(target, &start, at_a_time, args.seconds).await?;
        let what = format!("saga started and awaited, {at_a_time} at a time");
        let took = Duration::from_secs(args.seconds);
        measurements.push(Measurement::of(what, ended, took).with_latency(&latencies));
    }
    bar.finish_and_clear();
    Ok(measurements)
}

async fn drive(
    target: &Target,
    start: &StartSagaRequest,
    at_a_time: usize,
    seconds: u64,
) -> Result<(u64, Latencies), Failure> {
    let clients = load::connect(target, at_a_time).await?;
    let from = Instant::now() + WARM_UP;
    let until = from + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for n in 0..at_a_time {
        tasks.spawn(follow_each(clients[n % clients.len()].clone(), start.clone(), from, until));
    }
    let (mut ended, mut all) = (0, Latencies::new());
    while let Some(done) = tasks.join_next().await {
        let (count, latencies) = done.map_err(|error| Failure::failed("bench", error.to_string()))??;
        ended += count;
        all.merge(&latencies);
    }
    Ok((ended, all))
}

/// Starts one saga after the other, each when the one before has ended.
async fn follow_each(
    client: Client,
    start: StartSagaRequest,
    from: Instant,
    until: Instant,
) -> Result<(u64, Latencies), Failure> {
    let (mut sagas, mut latencies, mut count) = (client.sagas(), Latencies::new(), 0);
    let mut sent = Instant::now();
    while sent < until {
        let started = sagas.start_saga(start.clone()).await?.into_inner();
        let answered = Instant::now();
        let summary = started.saga.and_then(|saga| saga.summary).unwrap_or_default();
        if summary.activity() != SagaActivity::Ended || summary.state() != SagaState::Completed {
            let (state, activity) = (summary.state().as_str_name(), summary.activity().as_str_name());
            let message = format!("saga {} is {state}, {activity}, and not completed", started.id);
            return Err(Failure::failed("saga_not_completed", message));
        }
        if sent >= from && answered < until {
            latencies.add(answered - sent);
            count += 1;
        }
        sent = answered;
    }
    Ok((count, latencies))
}
