//! `wasmill publish`: lines of JSON into appends.

mod group;
pub(super) mod lines;
mod send;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Remote};
use super::exit::{Detail, Failure};
use super::output::{Output, Show};
use super::table::{count, duration, grouped, rate};
use super::until_interrupted;
use crate::serve::signalled;
pub(crate) use group::Grouping;
use group::{Append, Grouper};
use lines::{Lines, Malformed};
use send::{Sender, Sent};

/// Appends that are ready before the connection takes them.
const READY_APPENDS: usize = 64;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// After a signal the answers to what was sent are waited for, but no longer than this, nor beyond a
/// second signal.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(10);

/// The code of a line that is no event. Those before it were sent, and none behind it.
const MALFORMED_LINE: &str = "malformed_line";

const FORMAT: &str = "\
Each line is a JSON object with `stream`, `type` and `data`. It may have `key`, `id` (a UUID),
`time` (RFC 3339), `schemaVersion`, `contentType`, `tags`, `headers`, `workflowId`,
`correlationId`, `causationId` and `traceparent`. What is not JSON goes into `dataBase64` instead of
`data`, with its `contentType`. What `wasmill read --output json` prints is such a file.

The first line that is wrong ends it: the lines before it are stored, nothing of it or behind it.
Lines that have ids can be published again: they are not stored twice.

  {\"stream\":\"order-1\",\"type\":\"order.placed\",\"data\":{\"pence\":1999}}";

#[derive(Args, Clone, Debug)]
#[command(after_long_help = FORMAT)]
pub(crate) struct PublishArgs {
    /// Events as JSON Lines, gzipped or not; `-` stands for standard input
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    /// Most events in one append; an append is stored whole or not at all
    #[arg(long, default_value_t = Grouping::default().append_events_max as u64, value_name = "EVENTS",
          value_parser = clap::value_parser!(u64).range(1..=1_000))]
    batch: u64,
    /// Lines over which events of a stream are gathered into one append. 1 keeps the order of the file;
    /// more is faster where streams alternate, and lets an event overtake those of other streams by
    /// fewer lines than this. Within a stream the order is always kept
    #[arg(long, default_value_t = 1, value_name = "LINES",
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
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
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
        if metadata.is_dir() {
            return Err(Failure::failed("file", format!("{name}: a folder, and not a file of events")));
        }
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
    pub(crate) fn unpack(self, progress: &ProgressBar) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = BufReader::with_capacity(1 << 16, progress.wrap_read(self.reader));
        if reader.fill_buf()?.starts_with(&GZIP) {
            return Ok(Box::new(MultiGzDecoder::new(reader)));
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
        let Some(position) = self.last_position else { return "there were no events to publish".into() };
        let (events, known) = (count(self.events, "event"), self.known_already);
        let what = match known {
            0 => format!("published {events}"),
            _ if known == self.events => format!("published nothing new, {events} known already"),
            _ => format!("published {}, {} more known already", count(self.events - known, "event"), grouped(known)),
        };
        let took = duration(Duration::from_secs_f64(self.seconds));
        let (appends, rate) = (count(self.appends, "append"), grouped(self.events_per_second));
        format!("{what}; {appends} in {took} ({rate} events/s); last position {position}")
    }
}

pub(crate) async fn run(args: PublishArgs, output: Output) -> Result<(), Failure> {
    let source = Source::open(&args.file)?;
    let client = until_interrupted(args.remote.connect()).await?;
    let append_events_max = usize::try_from(args.batch).expect("the range is checked by the parser");
    let grouping = Grouping { append_events_max, window_lines: args.window, ..Grouping::default() };
    let bar = match source.bytes {
        Some(bytes) => output.bytes_bar("publishing", bytes),
        None => output.spinner("publishing"),
    };
    let published = publish(&client, source, grouping, &bar, signalled).await;
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
/// refused, or until `stop` resolves. What was sent until then is answered before this returns, unless
/// the host takes too long or `stop` resolves a second time.
pub(crate) async fn publish<S: Future<Output = ()>>(
    client: &Client,
    source: Source,
    grouping: Grouping,
    progress: &ProgressBar,
    stop: impl Fn() -> S,
) -> Published {
    let started = Instant::now();
    let name = source.name.clone();
    let opened = tokio::select! {
        opened = Sender::open(client, &name) => opened,
        () = stop() => Err(stopped()),
    };
    let mut sender = match opened {
        Ok(sender) => sender,
        Err(failure) => return Published { sent: Sent::default(), took: started.elapsed(), failure: Some(failure) },
    };
    let (ready, appends) = mpsc::channel(READY_APPENDS);
    let reader_progress = progress.clone();
    tokio::task::spawn_blocking(move || read(source, grouping, &reader_progress, &ready));
    let stopping = CancellationToken::new();
    let work = async {
        let failure = feed(&mut sender, appends, &name, progress, &stopping).await.err();
        // Of two failures the one on the wire came first: the other is about a later line.
        sender.finish().await.err().or(failure)
    };
    let give_up = async {
        stop().await;
        stopping.cancel();
        progress.set_message("waiting for answers");
        tokio::select! {
            () = stop() => {}
            () = tokio::time::sleep(ANSWERS_TIMEOUT) => {}
        }
    };
    let failure = tokio::select! {
        failure = work => failure,
        () = give_up => Some(stopped().with_detail("", "the host has not answered all that was sent: it may store more")),
    };
    Published { sent: sender.sent(), took: started.elapsed(), failure }
}

fn stopped() -> Failure {
    Failure::interrupted("publishing was stopped by a signal")
}

async fn feed(
    sender: &mut Sender,
    mut appends: mpsc::Receiver<Result<Append, Malformed>>,
    name: &str,
    progress: &ProgressBar,
    stopping: &CancellationToken,
) -> Result<(), Failure> {
    loop {
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => return Err(stopped()),
            next = appends.recv() => next,
        };
        match next {
            None => return Ok(()),
            Some(Ok(append)) => {
                if !sender.send(append).await? {
                    return Ok(());
                }
                progress.set_message(count(sender.sent().events, "event"));
            }
            Some(Err(malformed)) => return Err(end_at(name, malformed)),
        }
    }
}

pub(super) fn end_at(name: &str, Malformed { line, column, why, unreadable }: Malformed) -> Failure {
    match (unreadable, line) {
        (true, 1) => Failure::failed("file", format!("{name}: {why}")),
        (true, _) => Failure::failed("file", format!("{name}:{line}: {why}")),
        (false, _) => Failure::failed(MALFORMED_LINE, format!("{name}:{line}:{column}: {why}"))
            .with_fact("line", line)
            .with_fact("column", column as u64)
            .with_help("nothing of this line and those behind it was sent: mend it and publish again"),
    }
}

/// Reads and groups, on a thread of its own: unpacking and parsing take as long as sending.
fn read(source: Source, grouping: Grouping, progress: &ProgressBar, ready: &mpsc::Sender<Result<Append, Malformed>>) {
    let mut grouper = Grouper::new(grouping);
    let (keep_ids, live) = (source.keep_ids, source.bytes.is_none());
    let malformed = match source.unpack(progress) {
        Ok(reader) => group_lines(&mut Lines::new(reader), keep_ids, live, &mut grouper, ready).err(),
        Err(error) => Some(Malformed::unreadable(1, &error)),
    };
    let rest = std::iter::from_fn(|| grouper.pop()).map(Ok);
    for append in rest.chain(malformed.map(Err)) {
        if ready.blocking_send(append).is_err() {
            return;
        }
    }
}

/// What comes from a `live` source waits for more only as long as there is more.
fn group_lines<R: Read>(
    lines: &mut Lines<R>,
    keep_ids: bool,
    live: bool,
    grouper: &mut Grouper,
    ready: &mpsc::Sender<Result<Append, Malformed>>,
) -> Result<(), Malformed> {
    while let Some(mut parsed) = lines.next_event()? {
        if !keep_ids {
            parsed.event.id.clear();
        }
        grouper.push(parsed);
        let all = live && !lines.next_is_here();
        while let Some(append) = if all { grouper.pop() } else { grouper.pop_ready() } {
            if ready.blocking_send(Ok(append)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What is stored all the same, and whether that makes a second try dangerous.
fn with_count(failure: Failure, sent: Sent) -> Failure {
    let failure = failure.with_fact("published", sent.events);
    let Some(position) = sent.last_position else { return failure.with_detail("", "nothing was published") };
    let again = match sent.without_id {
        0 => "all have ids, so publishing them again does not store them twice".into(),
        without if without == sent.events => "they have no ids, so publishing them again would store them twice".into(),
        without => {
            format!("{} of them have no id, and publishing those again would store them twice", grouped(without))
        }
    };
    let events = count(sent.events, "event");
    let detail = Detail {
        message: format!("{events} published, the last at position {position}: {again}"),
        ..Detail::default()
    };
    let mut failure = failure.with_fact("lastPosition", position);
    failure.details.push(detail);
    if failure.code == MALFORMED_LINE && sent.without_id > 0 {
        failure.help = Some("nothing of this line and those behind it was sent: mend it and publish from it on".into());
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(events: u64, known: u64, without_id: u64) -> Sent {
        let last_position = (events > 0).then_some(events + 10);
        Sent { events, known, without_id, appends: events, last_position }
    }

    #[test]
    fn a_report_tells_new_events_from_known_ones() {
        let text = |events, known| {
            let Sent { events, known: known_already, appends, last_position, .. } = sent(events, known, 0);
            let report =
                Report { events, known_already, appends, last_position, seconds: 0.002, events_per_second: 500 };
            report.to_text().split(';').next().unwrap_or_default().to_owned()
        };
        assert_eq!(text(1, 0), "published 1 event");
        assert_eq!(text(2_000, 2_000), "published nothing new, 2,000 events known already");
        assert_eq!(text(5, 2), "published 3 events, 2 more known already");
        assert_eq!(text(0, 0), "there were no events to publish");
    }

    #[test]
    fn a_failure_says_what_a_second_try_would_do() {
        let last = |sent| with_count(Failure::failed("x", "y"), sent).details.pop().unwrap().message;
        assert_eq!(last(sent(0, 0, 0)), "nothing was published");
        assert!(last(sent(3, 0, 0)).starts_with("3 events published, the last at position 13: all have ids"));
        assert!(last(sent(3, 0, 3)).contains("they have no ids"));
        assert!(last(sent(3, 0, 1)).contains("1 of them have no id"));
    }

    #[test]
    fn a_source_that_cannot_be_read_is_told_from_a_line_that_is_wrong() {
        let source = |bytes: &'static [u8]| Source::embedded("f.gz", bytes, 1);
        let first = |bytes| {
            let (ready, mut appends) = mpsc::channel(READY_APPENDS);
            read(source(bytes), Grouping::default(), &ProgressBar::hidden(), &ready);
            end_at("f.gz", appends.blocking_recv().unwrap().unwrap_err())
        };
        let failure = first(&[0x1f, 0x8b, 0, 0]);
        assert!(failure.code == "file" && failure.message.starts_with("f.gz: cannot be read"), "{}", failure.message);
        let failure = first(b"{");
        assert!(failure.code == MALFORMED_LINE && failure.message.starts_with("f.gz:1:1: "), "{}", failure.message);
        assert_eq!(failure.facts.unwrap()["line"], 1);
    }
}
