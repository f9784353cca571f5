//! Appends onto the wire, many at a time over one call, and their answers.
//!
//! A stream has at most one append under way. So an append that has to be sent again, or in pieces,
//! cannot be overtaken by a later one of its stream, and when publishing stops at an error, no stream
//! holds anything from behind it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use wasmill_core::code::Code;

use super::group::Append;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::proto::append_bulk_answer::Outcome;
use crate::proto::append_bulk_response::Kind;
use crate::proto::{AppendBulkAnswer, AppendBulkRequest, AppendBulkResponse, AppendRequest, AppendResponse};

/// What a host that has too much to do is given to recover: 6 s in all.
const RETRIES_MAX: u32 = 7;
const RETRY_BASE: Duration = Duration::from_millis(50);
/// Requests that may wait for the connection, besides those on the wire: more would only be memory.
const QUEUE_APPENDS: usize = 16;

/// What has been published so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub events: u64,
    /// Of these, how many the host knew already.
    pub known: u64,
    /// Of these, how many have no id that would make them known a second time.
    pub without_id: u64,
    pub appends: u64,
    pub last_position: Option<u64>,
}

/// An append that waits for its answer, with what is to follow once it is answered.
struct UnderWay {
    append: Append,
    /// The other pieces of what had to be divided.
    then: VecDeque<Append>,
    attempt: u32,
}

/// A bulk call.
pub(crate) struct Sender {
    /// What failures call the source of the lines.
    source: String,
    requests: mpsc::Sender<AppendBulkRequest>,
    answers: Streaming<AppendBulkResponse>,
    under_way: HashMap<u64, UnderWay>,
    /// Tag of the append that is under way for a stream.
    busy: HashMap<String, u64>,
    window: usize,
    next_tag: u64,
    sent: Sent,
    /// The first failure: from then on nothing new is sent.
    failure: Option<Failure>,
}

impl Sender {
    pub(crate) async fn open(client: &Client, source: &str) -> Result<Self, Failure> {
        let (requests, queue) = mpsc::channel(QUEUE_APPENDS);
        let mut answers = client.log().append_bulk(ReceiverStream::new(queue)).await?.into_inner();
        let first = answers.message().await?.and_then(|response| response.kind);
        let Some(Kind::Window(window)) = first else {
            return Err(Failure::failed("malformed_answer", "the host did not say how many appends may be under way"));
        };
        let window = usize::try_from(window.appends).unwrap_or(1).max(1);
        let (source, under_way, busy, sent) = (source.to_owned(), HashMap::new(), HashMap::new(), Sent::default());
        Ok(Self { source, requests, answers, under_way, busy, window, next_tag: 0, sent, failure: None })
    }

    pub(crate) fn sent(&self) -> Sent {
        self.sent
    }

    /// Sends an append, once there is room and the one before it in its stream is answered. Returns
    /// false when something has failed, and nothing more is to be sent.
    pub(crate) async fn send(&mut self, append: Append) -> Result<bool, Failure> {
        while self.failure.is_none() && (self.under_way.len() >= self.window || self.busy.contains_key(&append.stream))
        {
            self.take_answer().await?;
        }
        if self.failure.is_none() {
            self.put(UnderWay { append, then: VecDeque::new(), attempt: 0 }).await?;
        }
        Ok(self.failure.is_none())
    }

    /// Waits for all answers.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        while !self.under_way.is_empty() {
            self.take_answer().await?;
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    async fn put(&mut self, under_way: UnderWay) -> Result<(), Failure> {
        let tag = self.next_tag;
        self.next_tag += 1;
        let Append { stream, events, .. } = under_way.append.clone();
        self.busy.insert(stream.clone(), tag);
        self.under_way.insert(tag, under_way);
        let append = Some(AppendRequest { stream, events, ..AppendRequest::default() });
        if self.requests.send(AppendBulkRequest { tag, append }).await.is_err() {
            // The call is over; its end says why.
            return Err(self.ended().await);
        }
        Ok(())
    }

    async fn take_answer(&mut self) -> Result<(), Failure> {
        match self.answers.message().await?.and_then(|response| response.kind) {
            Some(Kind::Answer(AppendBulkAnswer { tag, outcome: Some(outcome) })) => self.settle(tag, outcome).await,
            Some(Kind::Window(_)) => Ok(()),
            Some(Kind::Answer(_)) => Err(Failure::failed("malformed_answer", "an answer without an outcome")),
            None => Err(self.ended().await),
        }
    }

    async fn ended(&mut self) -> Failure {
        match self.answers.message().await {
            Err(status) => status.into(),
            Ok(_) => Failure::failed("connection_lost", "the host ended the call before it had answered everything"),
        }
    }

    async fn settle(&mut self, tag: u64, outcome: Outcome) -> Result<(), Failure> {
        let Some(mut under_way) = self.under_way.remove(&tag) else {
            return Err(Failure::failed("malformed_answer", format!("an answer to {tag}, which was not asked")));
        };
        self.busy.remove(&under_way.append.stream);
        let failure = match outcome {
            Outcome::Appended(appended) => {
                self.count(&under_way.append, &appended);
                return match under_way.then.pop_front() {
                    Some(append) if self.failure.is_none() => {
                        self.put(UnderWay { append, then: under_way.then, attempt: 0 }).await
                    }
                    _ => Ok(()),
                };
            }
            Outcome::Problem(problem) => Failure::from(problem),
        };
        if self.failure.is_some() {
            return Ok(());
        }
        // Lines that were published before may stand beside new ones now.
        if failure.code == Code::EventIdConflict.as_str() && under_way.append.events.len() > 1 {
            let (first, second) = halves(under_way.append);
            under_way.then.push_front(second);
            return self.put(UnderWay { append: first, then: under_way.then, attempt: 0 }).await;
        }
        if failure.retryable && under_way.attempt < RETRIES_MAX {
            tokio::time::sleep(RETRY_BASE * 2_u32.pow(under_way.attempt)).await;
            under_way.attempt += 1;
            return self.put(under_way).await;
        }
        self.failure = Some(by_lines(failure, &self.source, &under_way.append));
        Ok(())
    }

    fn count(&mut self, append: &Append, appended: &AppendResponse) {
        let events = append.events.len() as u64;
        self.sent.events += events;
        self.sent.appends += 1;
        self.sent.without_id += append.events.iter().filter(|event| event.id.is_empty()).count() as u64;
        if appended.duplicate {
            self.sent.known += events;
        }
        self.sent.last_position = self.sent.last_position.max(Some(appended.last_position));
    }
}

fn halves(append: Append) -> (Append, Append) {
    let Append { stream, mut events, mut lines } = append;
    let (second_events, second_lines) = (events.split_off(events.len() / 2), lines.split_off(lines.len() / 2));
    let second = Append { stream: stream.clone(), events: second_events, lines: second_lines };
    (Append { stream, events, lines }, second)
}

/// A host names events by their place in the append; people look for them by line.
fn by_lines(mut failure: Failure, source: &str, append: &Append) -> Failure {
    let place = |at: &str| {
        let (index, field) = at.strip_prefix("events[")?.split_once(']')?;
        let line = *append.lines.get(index.parse::<usize>().ok()?)?;
        Some((line, field.trim_start_matches('.').to_owned()))
    };
    for detail in &mut failure.details {
        let Some((line, field)) = place(&detail.at) else { continue };
        detail.at = format!("{source}:{line}");
        if !field.is_empty() {
            detail.message = format!("{field}: {}", detail.message);
        }
        failure.facts.get_or_insert_default().entry("line").or_insert(line);
    }
    let (first, last) = (append.lines.first().copied().unwrap_or(0), append.lines.last().copied().unwrap_or(0));
    let lines = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
    failure.message = format!("the append of {lines} to stream {:?} was refused: {}", append.stream, failure.message);
    if failure.code == Code::InvalidEvent.as_str() {
        failure.help = Some("mend what is named and publish again".into());
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::NewEvent;

    fn append(lines: std::ops::Range<u64>) -> Append {
        let events = lines.clone().map(|line| NewEvent { id: line.to_string(), ..NewEvent::default() });
        Append { stream: "s".into(), events: events.collect(), lines: lines.collect() }
    }

    #[test]
    fn halves_keep_order_and_lose_nothing() {
        for length in 2..9 {
            let (first, second) = halves(append(10..10 + length));
            assert!(!first.events.is_empty() && !second.events.is_empty());
            let lines: Vec<u64> = first.lines.iter().chain(&second.lines).copied().collect();
            let ids: Vec<String> = first.events.iter().chain(&second.events).map(|event| event.id.clone()).collect();
            assert_eq!(lines, (10..10 + length).collect::<Vec<_>>());
            assert_eq!(ids, lines.iter().map(u64::to_string).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_refused_event_is_named_by_its_line() {
        let failure = Failure::failed("invalid_event", "no").with_detail("events[2].key", "control character");
        let failure = by_lines(failure, "f.jsonl", &append(7..12));
        assert_eq!((failure.details[0].at.as_str(), failure.facts.as_ref().unwrap()["line"]), ("f.jsonl:9", 9));
        assert_eq!(failure.details[0].message, "key: control character");
        assert!(failure.message.contains("lines 7 to 11"), "{}", failure.message);
    }
}
