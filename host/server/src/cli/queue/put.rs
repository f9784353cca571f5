//! `wasmill queue put`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Remote;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::publish::lines::{Lines, Malformed};
use crate::cli::publish::{Source, end_at};
use crate::cli::table::count;
use crate::proto::{EnqueueRequest, Message, NewEvent};

pub(super) const ADVICE: &str = "A line of the file is what a line of `wasmill publish` is, but for `stream`, which is \
    not needed; it may have `delayMs`, `timeToLiveMs` and `priority`. Messages that have ids can be put again: they \
    are not stored twice.";

/// One call stores all of its messages or none; these are well within what a host takes.
const BATCH_MESSAGES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches that are read before the connection takes them.
const READY_BATCHES: usize = 8;

#[derive(Args, Clone, Debug)]
pub(crate) struct PutArgs {
    /// The queue's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Messages as JSON Lines, gzipped or not; `-` stands for standard input
    #[arg(value_name = "FILE.jsonl", required_unless_present = "event_type", conflicts_with_all = ["event_type", "data"])]
    file: Option<PathBuf>,
    /// The type of a single message
    #[arg(long = "type", value_name = "TYPE", requires = "data")]
    event_type: Option<String>,
    /// Its data
    #[arg(long, value_name = "JSON", requires = "event_type")]
    data: Option<String>,
    /// Its key: messages of one key are handed out in their order
    #[arg(long, value_name = "KEY", requires = "event_type")]
    key: Option<String>,
    /// Hand it out so much later, such as 5s; messages of its key wait for it
    #[arg(long, value_name = "TIME", requires = "event_type", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,
    /// Do not hand it out when so much time has passed, such as 1m
    #[arg(long, value_name = "TIME", requires = "event_type", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// 0 to 9: of messages that wait, those of a higher one are handed out first [default: 4]
    #[arg(long, value_name = "NUMBER", requires = "event_type", value_parser = clap::value_parser!(u32).range(0..=9))]
    priority: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Put {
    queue: String,
    messages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_offset: Option<u64>,
    known_already: u64,
}

impl Show for Put {
    fn to_text(&self) -> String {
        let Some(last) = self.last_offset else { return "there were no messages to put".into() };
        let what = count(self.messages, "message");
        match self.known_already {
            0 => format!("put {what} into {}, the last at offset {last}", self.queue),
            known => format!("put {what} into {}, of which {known} known already", self.queue),
        }
    }
}

pub(super) async fn run(args: PutArgs, output: Output) -> Result<(), Failure> {
    let mut put = Put { queue: args.name.clone(), ..Put::default() };
    let outcome = match &args.file {
        Some(file) => {
            let source = Source::open(file)?;
            from_file(&args.remote.connect().await?, source, &mut put).await
        }
        None => put.send(&args.remote.connect().await?, vec![single(&args)]).await,
    };
    match outcome {
        Ok(()) => output.show(&put),
        Err(failure) => Err(failure.with_fact("put", put.messages)),
    }
}

fn single(args: &PutArgs) -> Message {
    let ms = |time: Option<Duration>| time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let event = NewEvent {
        r#type: args.event_type.clone().unwrap_or_default(),
        data: args.data.clone().unwrap_or_default().into(),
        key: args.key.clone(),
        ..NewEvent::default()
    };
    Message { event: Some(event), delay_ms: ms(args.delay), time_to_live_ms: ms(args.ttl), priority: args.priority }
}

async fn from_file(client: &Client, source: Source, put: &mut Put) -> Result<(), Failure> {
    let name = source.name.clone();
    let (ready, mut batches) = mpsc::channel(READY_BATCHES);
    tokio::task::spawn_blocking(move || read(source, &ready));
    while let Some(batch) = batches.recv().await {
        put.send(client, batch.map_err(|malformed| end_at(&name, malformed))?).await?;
    }
    Ok(())
}

impl Put {
    async fn send(&mut self, client: &Client, messages: Vec<Message>) -> Result<(), Failure> {
        let sent = messages.len() as u64;
        let request = EnqueueRequest { queue: self.queue.clone(), messages };
        let answer = client.queues().enqueue(request).await?.into_inner();
        self.messages += sent;
        self.known_already += if answer.duplicate { sent } else { 0 };
        self.first_offset.get_or_insert(answer.first_offset);
        self.last_offset = Some(answer.last_offset);
        Ok(())
    }
}

/// Reads on a thread of its own. What comes from a pipe waits for more only as long as there is more.
fn read(source: Source, ready: &mpsc::Sender<Result<Vec<Message>, Malformed>>) {
    let reader = match source.unpack(&ProgressBar::hidden()) {
        Ok(reader) => reader,
        Err(error) => return drop(ready.blocking_send(Err(Malformed::unreadable(1, &error)))),
    };
    let (mut lines, mut batch, mut bytes) = (Lines::new(reader), Vec::new(), 0);
    let malformed = loop {
        match lines.next_message() {
            Ok(Some(message)) => {
                bytes += message.event.as_ref().map_or(0, |event| event.data.len());
                batch.push(message);
                if batch.len() < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX && lines.next_is_here() {
                    continue;
                }
                bytes = 0;
                if ready.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                    return;
                }
            }
            Ok(None) => break None,
            Err(malformed) => break Some(malformed),
        }
    };
    // Nobody listens any more if this fails.
    let rest = (!batch.is_empty()).then_some(Ok(batch));
    for last in rest.into_iter().chain(malformed.map(Err)) {
        let _ = ready.blocking_send(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_counted() {
        let put = Put { queue: "mail".into(), messages: 3, last_offset: Some(2), ..Put::default() };
        assert_eq!(put.to_text(), "put 3 messages into mail, the last at offset 2");
        let again = Put { known_already: 3, ..put };
        assert_eq!(again.to_text(), "put 3 messages into mail, of which 3 known already");
    }
}
