//! `wasmill demo`: real events through a WebAssembly projection into something that can be queried,
//! on a host of its own, with nothing but this binary.

pub(crate) mod embedded;
mod host;
mod report;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::exit::Failure;
use super::output::Output;
use super::plugin;
use super::projection;
use super::publish::{self, Grouping, Published};
use super::scratch::Scratch;
use super::table::{duration, grouped};
use super::until_interrupted;
use crate::proto::{ListDocumentsRequest, ProjectionState, WaitFor};
use crate::serve::signalled;
use host::OwnHost;
use report::{CarrierDocument, Report, Stage, TotalsDocument};

const PROJECTION: &str = "flights";
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);
/// How often the projection is looked at: more often than anybody can see.
const POLL: Duration = Duration::from_millis(20);

#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// Stop after the table instead of going on serving
    #[arg(long)]
    exit: bool,
    /// Address of the host [default: 127.0.0.1:7400, or any free port if that is taken or with --exit]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Keep the data here [default: a fresh directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: DemoArgs, output: Output) -> Result<(), Failure> {
    let scratch = Scratch::new("demo")?;
    let kept = args.data_dir.clone();
    let data_dir = kept.unwrap_or_else(|| scratch.path().join("data"));
    let started = Instant::now();
    let listener = host::listen(args.listen, DEFAULT_LISTEN, args.exit).await?;
    let host = OwnHost::start(listener, &data_dir, scratch.path())?;
    let result = until_interrupted(show(&host, started, output)).await;
    if result.is_ok() && !args.exit {
        let kept = args.data_dir.is_some();
        output.note(&going_on(host.address(), kept));
        signalled().await;
    }
    // Why the host has stopped says more than that it does not answer.
    host.stop().await.and(result)
}

async fn show(host: &OwnHost, started: Instant, output: Output) -> Result<(), Failure> {
    let client = host.connect().await?;
    let start = Stage::new("start", format!("a host on http://{}", host.address()), started.elapsed());

    let step = Instant::now();
    let component = Bytes::from_static(embedded::FLIGHTS_PLUGIN);
    let (deployed, _) = plugin::deploy(&client, component).await?;
    let size = grouped(embedded::FLIGHTS_PLUGIN.len() as u64);
    let what = format!("{} {}, {size} bytes of WebAssembly", deployed.name, deployed.version);
    let deploy = Stage::new("deploy", what, step.elapsed());

    let published = publish_flights(&client, output).await?;
    let step = Instant::now();
    let events = published.sent.events;
    let known = if published.sent.known == events { ", all of them known already" } else { "" };
    let what = format!("{} events{known}", grouped(events));
    let publish = Stage::new("publish", what, published.took).at_rate_of(events);

    let last = published.sent.last_position.ok_or_else(|| Failure::failed("demo", "nothing was published"))?;
    let bar = output.events_bar("projecting", last + 1);
    let result = wait_until_folded(&client, last, &bar).await;
    bar.finish_and_clear();
    result?;
    let what = format!("into the read model, {} after the last was published", duration(step.elapsed()));
    let project = Stage::new("project", what, published.took + step.elapsed()).at_rate_of(events);

    let step = Instant::now();
    let carriers: Vec<(String, CarrierDocument)> = documents(&client, "carriers", last).await?;
    let mut totals: Vec<(String, TotalsDocument)> = documents(&client, "totals", last).await?;
    let totals = totals.pop().ok_or_else(|| Failure::failed("demo", "the read model holds no totals"))?.1;
    let query = Stage::new("query", format!("{} documents", carriers.len() + 1), step.elapsed());
    output.show(&Report::new(vec![start, deploy, publish, project, query], carriers, totals))
}

async fn publish_flights(client: &Client, output: Output) -> Result<Published, Failure> {
    let source = embedded::flights(1);
    let bar = output.bytes_bar("publishing", source.bytes.unwrap_or(0));
    let mut published = publish::publish(client, source, Grouping::default(), &bar, std::future::pending).await;
    bar.finish_and_clear();
    published.failure.take().map_or(Ok(published), Err)
}

async fn wait_until_folded(client: &Client, position: u64, bar: &ProgressBar) -> Result<(), Failure> {
    loop {
        let status = projection::get(client, PROJECTION).await?;
        bar.set_position(status.next_position);
        if status.next_position > position {
            return Ok(());
        }
        if matches!(status.state(), ProjectionState::Paused | ProjectionState::Stopped) {
            let reason = status.failure.map_or_else(|| "no reason is given".to_owned(), |failure| failure.reason);
            return Err(Failure::failed("plugin_failed", format!("the projection stopped: {reason}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A whole collection, of which one page is enough here, at or after `position`.
async fn documents<T: DeserializeOwned>(
    client: &Client,
    collection: &str,
    position: u64,
) -> Result<Vec<(String, T)>, Failure> {
    let request = ListDocumentsRequest {
        projection: PROJECTION.into(),
        collection: collection.into(),
        wait_for: Some(WaitFor { position, timeout_ms: 0 }),
        ..ListDocumentsRequest::default()
    };
    let page = client.projections().list_documents(request).await?.into_inner();
    let parse = |document: crate::proto::Document| {
        let value = serde_json::from_slice(&document.value);
        value.map(|value| (document.key, value)).map_err(|error| Failure::failed("malformed_answer", error.to_string()))
    };
    page.documents.into_iter().map(parse).collect()
}

fn going_on(address: SocketAddr, kept: bool) -> String {
    let fate = if kept { "Its data stay." } else { "Its data go with it: --data-dir keeps them." };
    format!(
        "\nThe host goes on serving on http://{address} until Ctrl-C. {fate} Try, in another terminal:\n
  curl http://{address}/api/projections/flights/documents/carriers/UA
  curl 'http://{address}/api/projections/flights/documents/airborne?limit=15'
  curl 'http://{address}/api/event-streams/aircraft-N14228/events?limit=3'
  wasmill projection query flights destinations --url http://{address}
  wasmill tail --from 53470 --url http://{address}\n"
    )
}
