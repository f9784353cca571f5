//! `wasmill stream`.

mod config;
mod end;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::client::Remote;
use super::exit::Failure;
use super::output::{Output, Show};
use super::table::{grouped, quoted, rfc3339, table};
pub(super) use config::read as read_json;

use crate::proto::{self, GetStreamRequest, ListStreamsRequest, StreamState};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// List streams in the order of their names
    List(ListArgs),
    /// Show the facts of one stream
    Show(ShowArgs),
    /// Remove the oldest events of a stream
    Truncate(end::TruncateArgs),
    /// Delete a stream
    Delete(end::DeleteArgs),
    /// How streams are treated: retention, limits, who may do what
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Only streams whose names match; `*` stands for any text
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    /// Names after this one
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// Most streams; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "STREAMS")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ShowArgs {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    name: String,
    state: &'static str,
    events: u64,
    first_offset: u64,
    next_offset: u64,
    last_position: u64,
    bytes: u64,
    created_at: String,
    first_recorded_at: String,
    last_recorded_at: String,
}

impl From<proto::Stream> for Stream {
    fn from(stream: proto::Stream) -> Self {
        Self {
            state: match stream.state() {
                StreamState::Live => "live",
                StreamState::Deleted => "deleted",
                StreamState::Tombstoned => "tombstoned",
                StreamState::Unspecified => "unknown",
            },
            events: stream.length,
            name: stream.name,
            first_offset: stream.first_offset,
            next_offset: stream.next_offset,
            last_position: stream.last_position,
            bytes: stream.bytes,
            created_at: rfc3339(stream.created_at_us),
            first_recorded_at: rfc3339(stream.first_recorded_at_us),
            last_recorded_at: rfc3339(stream.last_recorded_at_us),
        }
    }
}

impl Show for Stream {
    fn to_text(&self) -> String {
        let Stream { name, state, first_offset, next_offset, last_position, created_at, last_recorded_at, .. } = self;
        let (events, bytes) = (grouped(self.events), grouped(self.bytes));
        let (offsets, oldest) = match self.events {
            0 => (format!("  (the next one gets offset {next_offset})"), String::new()),
            _ => {
                let offsets = format!("  (offsets {first_offset} to {})", next_offset.saturating_sub(1));
                (offsets, format!("\n  oldest         {}", self.first_recorded_at))
            }
        };
        format!(
            "{name}\n  state          {state}\n  events         {events}{offsets}\n  bytes          {bytes}\n  \
             created        {created_at}{oldest}\n  last appended  {last_recorded_at}  (position {last_position})"
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Streams {
    streams: Vec<Stream>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
}

impl Show for Streams {
    fn to_text(&self) -> String {
        if self.streams.is_empty() {
            return String::new();
        }
        let rows = self.streams.iter().map(|stream| {
            let Stream { name, state, events, bytes, last_recorded_at, .. } = stream;
            [name.clone(), (*state).to_owned(), grouped(*events), grouped(*bytes), last_recorded_at.clone()]
        });
        table(["stream", "state", ">events", ">bytes", "last appended"], rows)
    }

    fn note(&self) -> Option<String> {
        match &self.next_after {
            Some(after) => Some(format!("there are more: --after {}", quoted(after))),
            None => self.streams.is_empty().then(|| "no streams".into()),
        }
    }
}

pub(crate) async fn run(command: StreamCommand, output: Output) -> Result<(), Failure> {
    match command {
        StreamCommand::List(args) => list(args, output).await,
        StreamCommand::Show(args) => show(args, output).await,
        StreamCommand::Truncate(args) => end::truncate(args, output).await,
        StreamCommand::Delete(args) => end::delete(args, output).await,
        StreamCommand::Config(command) => config::run(command, output).await,
    }
}

async fn show(args: ShowArgs, output: Output) -> Result<(), Failure> {
    let mut log = args.remote.connect().await?.log();
    let response = log.get_stream(GetStreamRequest { name: args.name }).await?.into_inner();
    let stream = response.stream.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no stream"))?;
    output.show(&Stream::from(stream))
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let mut log = args.remote.connect().await?.log();
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut found = Streams { streams: Vec::new(), next_after: args.after };
    loop {
        let missing = wanted - found.streams.len() as u64;
        let request = ListStreamsRequest {
            pattern: args.pattern.clone().unwrap_or_default(),
            after: found.next_after.take().unwrap_or_default(),
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
        };
        let page = log.list_streams(request).await?.into_inner();
        found.streams.extend(page.streams.into_iter().map(Stream::from));
        found.next_after = (!page.next_after.is_empty()).then_some(page.next_after);
        if found.next_after.is_none() || found.streams.len() as u64 >= wanted {
            return output.show(&found);
        }
    }
}
