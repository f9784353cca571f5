//! A consumer group: workers that take what was published and acknowledge it durably.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::load;
use super::report::{Latencies, Measurement};
use super::target::Target;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::append_bulk_answer::Outcome as Appended;
use crate::proto::append_bulk_response::Kind as Bulk;
use crate::proto::consume_request::Kind as Ask;
use crate::proto::consume_response::Kind as Said;
use crate::proto::{
    AppendBulkRequest, AppendRequest, ConsumeAck, ConsumeOpen, ConsumeRequest, CreateGroupRequest, GroupStart,
    NewEvent, Outcome, group_start,
};

const FILL_BATCH: u64 = 500;
/// As many as make the workers share them evenly.
const KEYS: u64 = 1_000;
/// Credit is given in larger steps than one.
const CREDIT_STEPS: u32 = 2;
/// How long the last event may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args, Clone, Debug)]
pub(crate) struct GroupArgs {
    /// Members of the group
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = super::append::at_least_one)]
    pub workers: usize,
    /// Events of one acknowledgement
    #[arg(long, default_value_t = 100, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub batch: u32,
    /// Deliveries that a worker may have in hand
    #[arg(long, default_value_t = 200, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub credit: u32,
    /// Events to handle
    #[arg(long, default_value_t = 500_000, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Data of one event
    #[arg(long, default_value_t = load::EVENT_BYTES, value_name = "BYTES", value_parser = super::append::at_least_one)]
    pub size: usize,
}

impl Default for GroupArgs {
    fn default() -> Self {
        Self { workers: 4, batch: 100, credit: 200, events: 500_000, size: load::EVENT_BYTES }
    }
}

pub(crate) async fn run(target: &Target, args: &GroupArgs, output: Output) -> Result<Measurement, Failure> {
    let name = load::run_name("group");
    let clients = load::connect(target, args.workers).await?;
    fill(&clients[0], &name, args, output).await?;
    let config_json = format!("{{\"streams\":[\"{name}\"]}}");
    // Not at the beginning of the log: passing over what others have published is not what is measured.
    let start = Some(GroupStart { kind: Some(group_start::Kind::Offset(0)) });
    let request = CreateGroupRequest { name: name.clone(), config_json, start };
    clients[0].groups().create_group(request).await?;
    let bar = output.events_bar("handling", args.events);
    let (handled, mut counts) = mpsc::channel(1_024);
    let mut workers = JoinSet::new();
    let started = Instant::now();
    for number in 0..args.workers {
        let client = clients[number % clients.len()].clone();
        workers.spawn(work(client, name.clone(), args.clone(), handled.clone()));
    }
    drop(handled);
    let mut left = args.events;
    let mut latencies = Latencies::new();
    while left > 0 {
        tokio::select! {
            counted = tokio::time::timeout(LAST_TIMEOUT, counts.recv()) => {
                let counted = counted.map_err(|_| Failure::failed("bench", "not every event was delivered in time"))?;
                let Some((count, latency)) = counted else { break };
                latencies.add(latency);
                left = left.saturating_sub(count);
                bar.inc(count);
            }
            // A worker ends only with an error.
            Some(ended) = workers.join_next() => {
                ended.map_err(|error| Failure::failed("bench", error.to_string()))??;
            }
        }
    }
    let took = started.elapsed();
    bar.finish_and_clear();
    let what = format!("group of {}, {} an acknowledgement, {} in hand", args.workers, args.batch, args.credit);
    Ok(Measurement::of(what, args.events, took).with_latency(&latencies))
}

/// Takes and acknowledges, and tells how many are durable with each answer, and how long that took.
async fn work(
    client: Client,
    group: String,
    args: GroupArgs,
    handled: mpsc::Sender<(u64, Duration)>,
) -> Result<(), Failure> {
    let (requests, receiver) = mpsc::channel(1_024);
    let open = ConsumeOpen { group, member: String::new(), credit: args.credit };
    let ended = || Failure::failed("ended", "the host ended the call");
    requests.send(ConsumeRequest { kind: Some(Ask::Open(open)) }).await.map_err(|_| ended())?;
    let mut said = client.groups().consume(ReceiverStream::new(receiver)).await?.into_inner();
    let (mut in_hand, mut asked, mut returned) = (Vec::new(), VecDeque::new(), 0);
    while let Some(message) = said.message().await? {
        match message.kind {
            Some(Said::Deliveries(deliveries)) => {
                for delivery in deliveries.deliveries {
                    in_hand.push(delivery.token);
                    if in_hand.len() as u32 == args.batch {
                        asked.push_back(Instant::now());
                        let ack = ConsumeAck { tokens: std::mem::take(&mut in_hand) };
                        let ack = ConsumeRequest { kind: Some(Ask::Ack(ack)) };
                        requests.send(ack).await.map_err(|_| ended())?;
                    }
                }
                // What is left over at the end of the log would wait for ever.
                if !in_hand.is_empty() {
                    asked.push_back(Instant::now());
                    let ack = ConsumeAck { tokens: std::mem::take(&mut in_hand) };
                    requests.send(ConsumeRequest { kind: Some(Ask::Ack(ack)) }).await.map_err(|_| ended())?;
                }
            }
            Some(Said::Settled(settled)) => {
                let durable = settled.outcomes.iter().filter(|one| **one == Outcome::Durable as i32).count() as u64;
                let latency = asked.pop_front().map_or(Duration::ZERO, |at: Instant| at.elapsed());
                returned += u32::try_from(settled.outcomes.len()).unwrap_or(u32::MAX);
                if returned >= args.credit.div_ceil(CREDIT_STEPS) {
                    let credit = ConsumeRequest { kind: Some(Ask::Credit(std::mem::take(&mut returned))) };
                    requests.send(credit).await.map_err(|_| ended())?;
                }
                if handled.send((durable, latency)).await.is_err() {
                    return Ok(());
                }
            }
            Some(Said::Opened(_)) | None => {}
        }
    }
    Err(ended())
}

async fn fill(client: &Client, stream: &str, args: &GroupArgs, output: Output) -> Result<(), Failure> {
    let bar = output.events_bar("filling", args.events);
    let data = load::data(args.size);
    let (sender, receiver) = mpsc::channel(16);
    let (stream, events) = (stream.to_owned(), args.events);
    tokio::spawn(async move {
        let mut sent = 0;
        while sent < events {
            let count = FILL_BATCH.min(events - sent);
            let event = |n: u64| NewEvent {
                r#type: "bench.happened".into(),
                key: Some(format!("key-{}", n % KEYS)),
                data: data.clone(),
                ..NewEvent::default()
            };
            let append = AppendRequest {
                stream: stream.clone(),
                events: (sent..sent + count).map(event).collect(),
                ..AppendRequest::default()
            };
            // The receiver goes with the call, whose own end says why.
            if sender.send(AppendBulkRequest { tag: sent, append: Some(append) }).await.is_err() {
                return;
            }
            sent += count;
        }
    });
    let mut answers = client.log().append_bulk(ReceiverStream::new(receiver)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        if let Some(Bulk::Answer(answer)) = answer.kind {
            if let Some(Appended::Problem(problem)) = answer.outcome {
                return Err(problem.into());
            }
            bar.inc(FILL_BATCH.min(args.events));
        }
    }
    bar.finish_and_clear();
    Ok(())
}
