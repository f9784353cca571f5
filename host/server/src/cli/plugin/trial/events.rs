//! Events to try a plugin on: lines of a file, or what a host has in a stream.

use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, Event, NewEvent, Origin};
use wasmill_core::limits::read::FILTER_TERMS_MAX;
use wasmill_core::log::filter::FilterTerm as CoreTerm;
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::plugin::descriptor::{Descriptor, Kind};
use wasmill_core::plugin::trial::{Trial, place};

use super::ComponentArgs;
use crate::cli::client::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::publish::Source;
use crate::cli::publish::lines::Lines;
use crate::proto::{self, Direction, Filter, FilterTerm, ReadLogRequest, ReadStreamRequest};
use crate::wire;

/// All of them are held at once, and those of several runs beside them.
const EVENTS_MAX: usize = 1_000_000;
const BYTES_MAX: usize = 512 << 20;
/// Ids of events that have none, which have to be the same whenever the file is read (UUID version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x0b1d_5c1e_6f0a_5e7b_9a2d_77a5_6d69_6c6c);

#[derive(Args, Clone, Debug)]
pub(crate) struct EventsArgs {
    /// Events from a file, one JSON object a line, as `publish` takes them and `read --output json` writes
    /// them; gzipped or not. `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stream", "from", "limit"])]
    events: Option<PathBuf>,
    /// Events of a host's stream, or of all streams that match a name with `*` in it
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RangeArgs {
    /// First offset, or position where several streams match
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    /// Most events that are read
    #[arg(long, value_name = "EVENTS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX as u64))]
    limit: u64,
}

/// Events, and where they come from.
pub(crate) struct Events {
    pub events: Vec<Event>,
    /// Of a file, which line each was.
    lines: Option<Vec<u64>>,
}

impl Events {
    /// What `trial` is tried on. An upcaster gets events of a host as they were published.
    pub(crate) async fn load(
        trial: &Trial,
        args: &EventsArgs,
        (component, range, remote): (&ComponentArgs, &RangeArgs, &Remote),
        output: Output,
    ) -> Result<Self, Failure> {
        let raw = trial.descriptor.kind == Kind::Upcaster;
        match (&args.events, &args.stream) {
            (Some(file), _) => Self::read(Source::open(file)?, output),
            (None, Some(stream)) => Self::fetch(stream, range, remote, raw).await,
            (None, None) if component.is_deployed() => {
                Self::fetch_log(wanted_by(&trial.descriptor), range, remote, raw).await
            }
            (None, None) => Err(Failure::usage("give --events FILE or --stream NAME")),
        }
    }

    /// How an event is called: by its line, or by its place in the log.
    pub(crate) fn name(&self, index: usize) -> String {
        match &self.lines {
            Some(lines) => format!("line {}", lines[index]),
            None => format!("position {}", self.events[index].position().0),
        }
    }

    fn read(source: Source, output: Output) -> Result<Self, Failure> {
        let name = source.name.clone();
        let bar = output.spinner("reading");
        let reader = source.unpack(&bar).map_err(|error| Failure::file(&name, &error))?;
        let mut lines = Lines::new(reader);
        let (mut parsed, mut numbers, mut bytes) = (Vec::new(), Vec::new(), 0);
        let malformed = |at: u64, column: usize, why: String| {
            Failure::failed("malformed_line", format!("{name}:{at}:{column}: {why}"))
        };
        while let Some(line) = lines.next_event().map_err(|wrong| malformed(wrong.line, wrong.column, wrong.why))? {
            let stream = StreamName::new(&line.stream);
            let stream = stream.map_err(|error| malformed(line.line, 1, format!("`stream`: {error}")))?;
            bytes += line.event.data.len();
            if parsed.len() == EVENTS_MAX || bytes > BYTES_MAX {
                let message = format!("{name} has more than {EVENTS_MAX} events or {BYTES_MAX} bytes of data");
                return Err(Failure::failed("too_many_events", message).with_help("Take a part of it."));
            }
            parsed.push((stream, new_event(line.line, line.event)));
            numbers.push(line.line);
        }
        bar.finish_and_clear();
        Ok(Self { events: place(parsed), lines: Some(numbers) })
    }

    async fn fetch(name: &str, range: &RangeArgs, remote: &Remote, raw: bool) -> Result<Self, Failure> {
        if name.contains('*') {
            let streams = FilterTerm { streams: vec![name.to_owned()], ..FilterTerm::default() };
            return Self::fetch_log(Filter { terms: vec![streams] }, range, remote, raw).await;
        }
        let (stream, from_offset) = (name.to_owned(), range.from);
        let (direction, limit) = (Direction::Forward.into(), range.limit);
        let request = ReadStreamRequest { stream, from_offset, direction, limit, raw, ..ReadStreamRequest::default() };
        let mut pages = remote.connect().await?.log().read_stream(request).await?.into_inner();
        let mut events: Vec<Event> = Vec::new();
        while let Some(page) = pages.message().await? {
            take(&mut events, page.events)?;
        }
        Ok(Self { events, lines: None })
    }

    async fn fetch_log(filter: Filter, range: &RangeArgs, remote: &Remote, raw: bool) -> Result<Self, Failure> {
        let (from_position, filter) = (range.from, Some(filter));
        let (direction, limit) = (Direction::Forward.into(), range.limit);
        let request = ReadLogRequest { from_position, direction, limit, filter, raw, ..ReadLogRequest::default() };
        let mut pages = remote.connect().await?.log().read_log(request).await?.into_inner();
        let mut events: Vec<Event> = Vec::new();
        while let Some(page) = pages.message().await? {
            take(&mut events, page.events)?;
        }
        Ok(Self { events, lines: None })
    }
}

/// The events that a plugin asks for. Where they are too many kinds for a filter, all: others are passed over.
fn wanted_by(descriptor: &Descriptor) -> Filter {
    let texts = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    let term = |term: &CoreTerm| FilterTerm {
        streams: texts(&term.streams),
        types: texts(&term.types),
        ..FilterTerm::default()
    };
    let mut terms: Vec<FilterTerm> = descriptor.filter().terms().iter().map(term).collect();
    if descriptor.kind == Kind::Upcaster {
        let types = descriptor.lifts.iter().map(|lift| lift.event_type.clone()).collect();
        terms = vec![FilterTerm { types, ..FilterTerm::default() }];
    }
    let entries: usize = terms.iter().map(|term| term.streams.len() + term.types.len()).sum();
    if entries > FILTER_TERMS_MAX {
        terms.clear();
    }
    Filter { terms }
}

fn take(events: &mut Vec<Event>, page: Vec<wire::Event>) -> Result<(), Failure> {
    for event in page {
        let event = event.into_event().map_err(|error| {
            Failure::failed("malformed_answer", format!("the host's answer holds something else than events: {error}"))
        })?;
        events.push(event);
    }
    Ok(())
}

fn new_event(line: u64, event: proto::NewEvent) -> NewEvent {
    NewEvent {
        id: Uuid::try_parse(&event.id).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, &line.to_le_bytes())),
        event_type: event.r#type,
        schema_version: event.schema_version.max(1),
        key: event.key,
        time: event.time_us.map(Timestamp),
        content_type: Some(event.content_type).filter(|text| !text.is_empty() && text != DEFAULT_CONTENT_TYPE),
        data: event.data,
        tags: event.tags,
        headers: event.headers.into_iter().collect(),
        origin: Origin {
            workflow_id: event.workflow_id,
            correlation_id: event.correlation_id,
            causation_id: event.causation_id,
            traceparent: event.traceparent,
        },
    }
}
