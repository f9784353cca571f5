//! What a replay of the past does to those who follow what is new.

use std::time::Instant;

use clap::Args;

use super::report::Measurement;
use super::tail::TailArgs;
use super::target::Target;
use super::{load, replay, tail};
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::table::grouped;
use crate::proto::group_start::Kind;
use crate::proto::replay_plan::Target as For;
use crate::proto::{GroupStart, ReceiveReplayRequest, ReplayPlan, StartReplayRequest};

#[derive(Args, Clone, Debug)]
pub(crate) struct BesideArgs {
    /// Events to replay; the log is filled up to as many first
    #[arg(long, default_value_t = 1_000_000, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Events a second that are replayed
    #[arg(long, default_value_t = 10_000, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub replay_rate: u64,
    /// Events a second that are published and followed live
    #[arg(long, default_value_t = 1_000, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub rate: u64,
    /// How long the live events are measured without the replay; with it, as long as it lasts
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
}

/// The live events alone, then with the replay beside them.
pub(crate) async fn run(target: &Target, args: &BesideArgs, output: Output) -> Result<Vec<Measurement>, Failure> {
    let client = target.remote.connect().await?;
    replay::fill_up(&client, args.events, load::EVENT_BYTES, output).await?;
    let live = |seconds| TailArgs { rate: args.rate, seconds, ..TailArgs::default() };
    let (alone, took) = tail::measure(target, &live(args.seconds), output).await?;
    let what = format!("live at {}/s", grouped(args.rate));
    let mut measured = vec![Measurement::of(what, args.rate * args.seconds, took).with_latency(&alone)];

    let plan = ReplayPlan {
        target: Some(For::Client(true)),
        events_per_second: Some(args.replay_rate),
        ..ReplayPlan::default()
    };
    let until = Some(GroupStart { kind: Some(Kind::Position(args.events)) });
    let request = StartReplayRequest { plan: Some(plan), from: None, until };
    let begun = client.replays().start_replay(request).await?.into_inner().replay;
    let id = begun.map(|replay| replay.id).unwrap_or_default();
    let receiver = target.remote.connect().await?;
    let receiving = tokio::spawn(async move {
        let (started, mut count) = (Instant::now(), 0_u64);
        let request = ReceiveReplayRequest { id, after_position: None };
        let mut pages = receiver.replays().receive_replay(request).await?.into_inner();
        while let Some(page) = pages.message().await? {
            count += page.events.len() as u64;
        }
        Ok::<_, Failure>((count, started.elapsed()))
    });
    let seconds = (args.events / args.replay_rate).max(1);
    let (beside, took) = tail::measure(target, &live(seconds), output).await?;
    let (count, lasted) = receiving.await.map_err(|error| Failure::failed("bench", error.to_string()))??;
    if count != args.events {
        return Err(Failure::failed("bench", format!("{count} events were replayed instead of {}", args.events)));
    }
    let replayed = format!("replay at {}/s", grouped(args.replay_rate));
    let what = format!("live at {}/s, {replayed} beside it", grouped(args.rate));
    let mut live = Measurement::of(what, args.rate * seconds, took).with_latency(&beside);
    if let Some(ratio) = beside.p99_over(&alone) {
        live = live.with("p99 with the replay / without", format!("{ratio:.2}"));
    }
    measured.push(live);
    measured.push(Measurement::of(replayed, count, lasted));
    Ok(measured)
}
