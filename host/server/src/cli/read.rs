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
    #[arg(value_name = "STREAM", conflicts_with_all = ["streams", "types", "keys", "tags", "correlation_ids"])]
    stream: Option<String>,
    /// Only streams whose names match; `*` stands for any text. May be given several times
    #[arg(long = "stream", value_name = "PATTERN")]
    streams: Vec<String>,
    /// Only events whose types match; `*` stands for any text. May be given several times
    #[arg(long = "type", value_name = "PATTERN")]
    types: Vec<String>,
    /// Only events with this key; one without a key has its stream's name. May be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Only events that have this tag; given several times, all of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only events with this correlation id. May be given several times
    #[arg(long = "correlation-id", value_name = "ID")]
    correlation_ids: Vec<String>,
    /// Events as they were published, not in their newest version
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Selection {
    fn filter(&self) -> Option<Filter> {
        let term = FilterTerm {
            streams: self.streams.clone(),
            types: self.types.clone(),
            keys: self.keys.clone(),
            tags: self.tags.clone(),
            correlation_ids: self.correlation_ids.clone(),
        };
        (term != FilterTerm::default()).then(|| Filter { terms: vec![term] })
    }
}

/// A time as it is written on a command line; inside, microseconds since the Unix epoch.
fn time(text: &str) -> Result<i64, String> {
    let parsed = text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond);
    parsed.map_err(|_| "it is not a time as RFC 3339 writes it, such as 2013-01-01T05:15:00Z".into())
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    selection: Selection,
    /// First offset or position, itself included [default: the beginning; backwards, the end]
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    /// Begin with what was recorded at this time or later; backwards, then or earlier
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "from")]
    from_time: Option<i64>,
    /// Offset or position at which reading ends, itself not included
    #[arg(long, value_name = "NUMBER")]
    until: Option<u64>,
    /// End before what was recorded at this time or later; backwards, then or earlier
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "until")]
    until_time: Option<i64>,
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
    /// Begin with what was recorded at this time or later
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "from")]
    from_time: Option<i64>,
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
    let ReadArgs { selection, from, from_time: from_time_us, until, until_time: until_time_us, limit, .. } = args;
    let (from_time_us, until_time_us, limit) = (*from_time_us, *until_time_us, *limit);
    let (mut log, raw) = (client.log(), selection.raw);
    Ok(match selection.stream.clone() {
        Some(stream) => {
            let (from_offset, until_offset) = (*from, *until);
            let request = ReadStreamRequest {
                stream,
                from_offset,
                direction,
                limit,
                from_time_us,
                until_offset,
                until_time_us,
                raw,
            };
            Pages::Stream(log.read_stream(request).await?.into_inner())
        }
        None => {
            let (from_position, until_position, filter) = (*from, *until, selection.filter());
            let request = ReadLogRequest {
                from_position,
                direction,
                limit,
                filter,
                from_time_us,
                until_position,
                until_time_us,
                raw,
            };
            Pages::Log(log.read_log(request).await?.into_inner())
        }
    })
}

async fn open_tail(args: &TailArgs) -> Result<Pages, Failure> {
    let TailArgs { selection, from, from_time: from_time_us } = args;
    let (from, from_time_us, raw) = (*from, *from_time_us, selection.raw);
    let mut log = selection.remote.connect().await?.log();
    Ok(match selection.stream.clone() {
        Some(stream) => {
            let request = FollowStreamRequest { stream, from_offset: from, from_time_us, raw };
            Pages::FollowStream(log.follow_stream(request).await?.into_inner())
        }
        None => {
            let request = FollowLogRequest { from_position: from, filter: selection.filter(), from_time_us, raw };
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
