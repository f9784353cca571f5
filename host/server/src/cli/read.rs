//! `wasmill read` and `wasmill tail`: events of a stream, of some streams, or of the whole log.

use clap::Args;
use tonic::Status;

use super::client::{Client, Remote};
use super::event::Shown;
use super::exit::Failure;
use super::output::Output;
use super::until_interrupted;
use crate::proto::{
    Direction, Filter, FilterTerm, FollowLogRequest, FollowStreamRequest, ReadLogRequest, ReadStreamRequest,
};
use crate::serve::signalled;
use crate::wire;

/// What to read: one stream by its offsets, or the log by its positions.
#[derive(Args, Clone, Debug)]
pub(crate) struct Selection {
    /// One stream, read by its own offsets. Without it: the whole log, by position
    #[arg(value_name = "STREAM", conflicts_with_all = ["streams", "types"])]
    stream: Option<String>,
    /// Only streams whose names match; `*` stands for any text. May be given several times
    #[arg(long = "stream", value_name = "PATTERN")]
    streams: Vec<String>,
    /// Only events whose types match; `*` stands for any text. May be given several times
    #[arg(long = "type", value_name = "PATTERN")]
    types: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Selection {
    fn filter(&self) -> Option<Filter> {
        let (streams, types) = (self.streams.clone(), self.types.clone());
        (!streams.is_empty() || !types.is_empty()).then(|| Filter { terms: vec![FilterTerm { streams, types }] })
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    selection: Selection,
    /// First offset or position, itself included [default: the beginning; backwards, the end]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    /// Most events; 0 stands for all there are
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    limit: u64,
    /// From the newest to the oldest
    #[arg(long)]
    backward: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    selection: Selection,
    /// First offset or position, itself included [default: only what comes]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
}

/// A page, whichever call it comes from.
struct Page {
    events: Vec<wire::Event>,
    covered_through: Option<u64>,
}

pub(crate) async fn read(args: ReadArgs, output: Output) -> Result<(), Failure> {
    let client = args.selection.remote.connect().await?;
    let pages = open_read(&client, &args).await?;
    print(pages, output).await
}

async fn open_read(client: &Client, args: &ReadArgs) -> Result<Pages, Failure> {
    let direction = if args.backward { Direction::Backward } else { Direction::Forward }.into();
    let (from, limit) = (args.from, args.limit);
    let mut log = client.log();
    Ok(match &args.selection.stream {
        Some(stream) => {
            let request = ReadStreamRequest { stream: stream.clone(), from_offset: from, direction, limit };
            Pages::Stream(log.read_stream(request).await?.into_inner())
        }
        None => {
            let filter = args.selection.filter();
            let request = ReadLogRequest { from_position: from, direction, limit, filter };
            Pages::Log(log.read_log(request).await?.into_inner())
        }
    })
}

async fn open_tail(args: &TailArgs) -> Result<Pages, Failure> {
    let mut log = args.selection.remote.connect().await?.log();
    Ok(match &args.selection.stream {
        Some(stream) => {
            let request = FollowStreamRequest { stream: stream.clone(), from_offset: args.from };
            Pages::FollowStream(log.follow_stream(request).await?.into_inner())
        }
        None => {
            let request = FollowLogRequest { from_position: args.from, filter: args.selection.filter() };
            Pages::FollowLog(log.follow_log(request).await?.into_inner())
        }
    })
}

/// Ends when it is interrupted, which is how it is meant to end; then it says where to go on.
pub(crate) async fn tail(args: TailArgs, output: Output) -> Result<(), Failure> {
    let mut pages = until_interrupted(open_tail(&args)).await?;
    let by_offset = args.selection.stream.is_some();
    let mut next = args.from;
    let stop = signalled();
    tokio::pin!(stop);
    let ended = loop {
        let page = tokio::select! {
            biased;
            () = &mut stop => break Ok(()),
            page = pages.next() => page,
        };
        match page {
            Ok(Some(page)) => {
                let events = decode(page.events)?;
                let last = events.last().map(|event| if by_offset { event.offset() } else { event.position() });
                next = last.max(page.covered_through).map(|number| number + 1).or(next);
                output.show_all(events)?;
            }
            Ok(None) => break Err(Failure::failed("ended", "the host ended the call")),
            Err(status) => break Err(Failure::from(status)),
        }
    };
    let Some(next) = next else { return ended };
    match ended {
        Ok(()) => output.note(&format!("go on with --from {next}")),
        Err(failure) => return Err(Failure { help: Some(format!("go on with --from {next}")), ..failure }),
    }
    Ok(())
}

/// The four calls that hand out pages.
enum Pages {
    Stream(tonic::Streaming<crate::proto::ReadStreamResponse>),
    Log(tonic::Streaming<crate::proto::ReadLogResponse>),
    FollowStream(tonic::Streaming<crate::proto::FollowStreamResponse>),
    FollowLog(tonic::Streaming<crate::proto::FollowLogResponse>),
}

impl Pages {
    async fn next(&mut self) -> Result<Option<Page>, Status> {
        let page = |events, covered_through| Page { events, covered_through };
        Ok(match self {
            Pages::Stream(pages) => pages.message().await?.map(|next| page(next.events, next.covered_through)),
            Pages::Log(pages) => pages.message().await?.map(|next| page(next.events, next.covered_through)),
            Pages::FollowStream(pages) => pages.message().await?.map(|next| page(next.events, None)),
            Pages::FollowLog(pages) => pages.message().await?.map(|next| page(next.events, next.covered_through)),
        })
    }
}

async fn print(mut pages: Pages, output: Output) -> Result<(), Failure> {
    let mut none = true;
    while let Some(page) = pages.next().await? {
        none &= page.events.is_empty();
        output.show_all(decode(page.events)?)?;
    }
    if none {
        output.note("no events");
    }
    Ok(())
}

fn decode(events: Vec<wire::Event>) -> Result<Vec<Shown>, Failure> {
    events.into_iter().map(Shown::decode).collect()
}
