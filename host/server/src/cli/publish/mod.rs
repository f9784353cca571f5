//! `wasmill publish`: lines of JSON into appends.

mod group;
mod lines;
mod send;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::mpsc;

use super::client::{Client, Remote};
use super::exit::Failure;
use super::output::{Output, Show};
use super::table::{duration, grouped, rate};
use crate::serve::signalled;
pub(crate) use group::Grouping;
use group::{Append, Grouper};
use lines::{Lines, Malformed};
use send::{Sender, Sent};

/// Appends that are ready before the connection takes them.
const READY_APPENDS: usize = 64;
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Args, Clone, Debug)]
pub(crate) struct PublishArgs {
    /// Events as JSON Lines, gzipped or not; `-` stands for standard input.
    ///
    /// Each line is an object with `stream`, `type` and `data`, and may have `key`, `id`, `time` (RFC 3339),
    /// `schemaVersion`, `contentType`, `tags`, `headers`, `workflowId`, `correlationId`, `causationId` and
    /// `traceparent`. What is not JSON goes into `dataBase64` instead of `data`. Lines that have ids can be
    /// published again: they are not stored twice.
    #[arg(value_name = "FILE.jsonl", verbatim_doc_comment)]
    file: PathBuf,
    /// Most events in one append; an append is stored whole or not at all
    #[arg(long, default_value_t = Grouping::default().append_events_max as u64, value_name = "EVENTS",
          value_parser = clap::value_parser!(u64).range(1..=1_000))]
    batch: u64,
    /// Lines over which events of a stream are gathered into one append: the order within a stream is
    /// always kept, between streams it is kept to within this many lines
    #[arg(long, default_value_t = Grouping::default().window_lines, value_name = "LINES",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    window: u64,
    #[command(flatten)]
    remote: Remote,
}

/// Where lines come from.
pub(crate) struct Source {
    pub name: String,
    reader: Box<dyn Read + Send>,
    /// Size as it is stored, if that is known.
    pub bytes: Option<u64>,
    /// Whether ids are taken from the lines; else the host makes them.
    keep_ids: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        if name == "-" {
            return Ok(Self {
                name: "standard input".into(),
                reader: Box::new(io::stdin()),
                bytes: None,
                keep_ids: true,
            });
        }
        let file = File::open(path).map_err(|error| Failure::file(&name, &error))?;
        let metadata = file.metadata().map_err(|error| Failure::file(&name, &error))?;
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, reader: Box::new(file), bytes, keep_ids: true })
    }

    /// Gzipped lines that are part of this program, so many times over; more than once they are new
    /// events each time.
    pub(crate) fn embedded(name: &str, bytes: &'static [u8], times: usize) -> Self {
        let again: Box<dyn Read + Send> = Box::new(io::empty());
        let reader = (0..times).fold(again, |reader, _| Box::new(reader.chain(bytes)));
        Self { name: name.into(), reader, bytes: Some((bytes.len() * times) as u64), keep_ids: times <= 1 }
    }

    /// Unpacked if it is gzipped, which its first bytes say and its name need not.
    fn unpack(self, progress: &ProgressBar) -> io::Result<Box<dyn BufRead + Send>> {
        let mut reader = BufReader::with_capacity(1 << 16, progress.wrap_read(self.reader));
        if reader.fill_buf()?.starts_with(&GZIP) {
            return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))));
        }
        Ok(Box::new(reader))
    }
}

/// What came of publishing, whether or not it went to the end.
#[derive(Debug)]
pub(crate) struct Published {
    pub sent: Sent,
    pub took: Duration,
    pub failure: Option<Failure>,
}

/// The result as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    events: u64,
    known_already: u64,
    appends: u64,
    last_position: Option<u64>,
    seconds: f64,
    events_per_second: u64,
}

impl Show for Report {
    fn to_text(&self) -> String {
        let known = match self.known_already {
            0 => String::new(),
            known => format!(", {} of which the host knew already", grouped(known)),
        };
        let position = self.last_position.map_or_else(String::new, |position| format!("; last position {position}"));
        format!(
            "published {} events in {} appends{known}: {} ({} a second){position}",
            grouped(self.events),
            grouped(self.appends),
            duration(Duration::from_secs_f64(self.seconds)),
            grouped(self.events_per_second),
        )
    }
}

pub(crate) async fn run(args: PublishArgs, output: Output) -> Result<(), Failure> {
    let source = Source::open(&args.file)?;
    let client = args.remote.connect().await?;
    let append_events_max = usize::try_from(args.batch).expect("the range is checked by the parser");
    let grouping = Grouping { append_events_max, window_lines: args.window, ..Grouping::default() };
    let bar = match source.bytes {
        Some(bytes) => output.bytes_bar("publishing", bytes),
        None => output.spinner("publishing"),
    };
    let published = publish(&client, source, grouping, &bar, signalled()).await;
    bar.finish_and_clear();
    let Published { sent, took, failure } = published;
    match failure {
        None => output.show(&Report {
            events: sent.events,
            known_already: sent.known,
            appends: sent.appends,
            last_position: sent.last_position,
            seconds: took.as_secs_f64(),
            events_per_second: rate(sent.events, took),
        }),
        Some(failure) => Err(with_count(failure, sent)),
    }
}

/// Publishes a source to its end, to the first line that is malformed, to the first append that is
/// refused, or until `stop`. What was sent until then is answered before this returns.
pub(crate) async fn publish(
    client: &Client,
    source: Source,
    grouping: Grouping,
    progress: &ProgressBar,
    stop: impl Future<Output = ()>,
) -> Published {
    let started = Instant::now();
    let name = source.name.clone();
    let (ready, appends) = mpsc::channel(READY_APPENDS);
    let reader_progress = progress.clone();
    tokio::task::spawn_blocking(move || read(source, grouping, &reader_progress, &ready));
    let mut sender = match Sender::open(client).await {
        Ok(sender) => sender,
        Err(failure) => return Published { sent: Sent::default(), took: started.elapsed(), failure: Some(failure) },
    };
    let mut failure = feed(&mut sender, appends, &name, progress, stop).await.err();
    if let Err(refused) = sender.finish().await {
        // Of two failures the one on the wire came first: the other is about a later line.
        failure = Some(refused);
    }
    Published { sent: sender.sent(), took: started.elapsed(), failure }
}

async fn feed(
    sender: &mut Sender,
    mut appends: mpsc::Receiver<Result<Append, Malformed>>,
    name: &str,
    progress: &ProgressBar,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    tokio::pin!(stop);
    loop {
        let next = tokio::select! {
            biased;
            () = &mut stop => return Err(Failure::interrupted("publishing was stopped by a signal")),
            next = appends.recv() => next,
        };
        match next {
            None => return Ok(()),
            Some(Ok(append)) => {
                if !sender.send(append).await? {
                    return Ok(());
                }
                progress.set_message(format!("{} events", grouped(sender.sent().events)));
            }
            Some(Err(Malformed { line, column, why })) => {
                return Err(Failure::failed("malformed_line", format!("{name}:{line}:{column}: {why}"))
                    .with_help("nothing of this line and those behind it was sent; mend it and publish again"));
            }
        }
    }
}

/// Reads and groups, on a thread of its own: unpacking and parsing take as long as sending.
fn read(source: Source, grouping: Grouping, progress: &ProgressBar, ready: &mpsc::Sender<Result<Append, Malformed>>) {
    let mut grouper = Grouper::new(grouping);
    let keep_ids = source.keep_ids;
    let malformed = match source.unpack(progress) {
        Ok(reader) => group_lines(&mut Lines::new(reader), keep_ids, &mut grouper, ready).err(),
        Err(error) => Some(Malformed { line: 1, column: 1, why: format!("cannot be read: {error}") }),
    };
    let rest = std::iter::from_fn(|| grouper.pop()).map(Ok);
    for append in rest.chain(malformed.map(Err)) {
        if ready.blocking_send(append).is_err() {
            return;
        }
    }
}

fn group_lines<R: BufRead>(
    lines: &mut Lines<R>,
    keep_ids: bool,
    grouper: &mut Grouper,
    ready: &mpsc::Sender<Result<Append, Malformed>>,
) -> Result<(), Malformed> {
    while let Some(mut parsed) = lines.next_event()? {
        if !keep_ids {
            parsed.event.id.clear();
        }
        grouper.push(parsed);
        while let Some(append) = grouper.pop_ready() {
            if ready.blocking_send(Ok(append)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn with_count(mut failure: Failure, sent: Sent) -> Failure {
    let position = sent.last_position.map_or_else(String::new, |position| format!(", the last at position {position}"));
    let detail = super::exit::Detail {
        at: String::new(),
        message: format!("{} events were published before{position}", grouped(sent.events)),
        facts: [("published".to_owned(), sent.events.to_string())].into(),
    };
    failure.details.push(detail);
    failure
}
