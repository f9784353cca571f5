//! A publisher: notes what it is told, and sends again what it was not told of.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use wasmill_server::proto::append_bulk_answer::Outcome;
use wasmill_server::proto::append_bulk_response::Kind;
use wasmill_server::proto::log_service_client::LogServiceClient;
use wasmill_server::proto::{AppendBulkRequest, AppendRequest, AppendResponse, StreamAppend, TransactRequest};

use super::load::{Phase, Signals};
use super::source::Batch;
use crate::support::host::PATIENCE;

/// Between two requests, so that a publisher whose host is away does not ask without a rest.
const PACE: Duration = Duration::from_millis(2);
/// Batches that are sent in one bulk append.
const BULK_BATCHES: usize = 256;
/// The host cannot be reached, or went away.
pub const NO_CONNECTION: &str = "no connection";

/// How a publisher sends its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One by one: `Append`, or `Transact` for several streams.
    Single,
    /// Many in one `AppendBulk`, which takes batches of one stream only.
    Bulk,
}

pub struct Publisher {
    pub url: watch::Receiver<String>,
    pub signals: Signals,
    pub style: Style,
    pub source: Box<dyn Iterator<Item = Batch> + Send>,
    /// An endless source is left when the load ends; another is published to its end.
    pub endless: bool,
    pub owed: VecDeque<Batch>,
    pub published: Published,
}

/// What a publisher was told.
#[derive(Debug, Default)]
pub struct Published {
    /// Each batch with the answers to its appends.
    pub acknowledged: Vec<(Batch, Vec<AppendResponse>)>,
    /// Sent, and never acknowledged.
    pub unknown: Vec<Batch>,
    /// Error codes, how often, and the message that came last.
    pub errors: BTreeMap<String, (u64, String)>,
    /// The longest time from sending a batch first to its acknowledgement.
    pub slowest: Duration,
}

impl Publisher {
    pub async fn run(mut self) -> Published {
        let (mut client, mut sent_at) = (None, Instant::now());
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signals = self.signals.clone();
        loop {
            pace.tick().await;
            let before = self.published.acknowledged.len();
            if self.owed.is_empty() {
                sent_at = Instant::now();
            }
            if !self.fill() {
                return self.end();
            }
            let sent = tokio::select! {
                sent = tokio::time::timeout(PATIENCE, self.send(&mut client)) => sent,
                () = signals.given_up() => return self.end(),
            };
            match sent.unwrap_or_else(|_| panic!("a publisher was not answered within {PATIENCE:?}")) {
                Ok(()) => {}
                Err(status) => {
                    let code = code_of(&status);
                    if code == NO_CONNECTION {
                        client = None;
                    }
                    self.note(code, status.to_string());
                }
            }
            if self.published.acknowledged.len() > before {
                self.published.slowest = self.published.slowest.max(sent_at.elapsed());
                sent_at = Instant::now();
            }
        }
    }

    fn end(mut self) -> Published {
        self.published.unknown = self.owed.into();
        self.published
    }

    /// Takes new batches behind those that are owed. False when there is nothing to send any more.
    fn fill(&mut self) -> bool {
        let more = match self.signals.phase() {
            Phase::Running => true,
            Phase::Ending => !self.endless,
            Phase::GivenUp => return false,
        };
        let room = if self.style == Style::Bulk { BULK_BATCHES } else { 1 };
        if more {
            let missing = room.saturating_sub(self.owed.len());
            self.owed.extend(self.source.by_ref().take(missing));
        }
        !self.owed.is_empty()
    }

    async fn send(&mut self, client: &mut Option<LogServiceClient<Channel>>) -> Result<(), Status> {
        let client = match client {
            Some(client) => client,
            none => {
                let url = self.url.borrow().clone();
                let channel = Channel::from_shared(url).expect("a URL").connect().await;
                none.insert(LogServiceClient::new(channel.map_err(|error| Status::unavailable(error.to_string()))?))
            }
        };
        match self.style {
            Style::Single => self.send_one(client).await,
            Style::Bulk => self.send_all(client).await,
        }
    }

    async fn send_one(&mut self, client: &mut LogServiceClient<Channel>) -> Result<(), Status> {
        let batch = self.owed.front().expect("there is something to send").clone();
        let answers = match &batch.0[..] {
            [_] => vec![client.append(append(&batch)).await?.into_inner()],
            appends => {
                let appends = appends.iter().map(|(stream, events)| StreamAppend {
                    stream: stream.clone(),
                    events: events.clone(),
                    ..StreamAppend::default()
                });
                let request = TransactRequest { appends: appends.collect(), ..TransactRequest::default() };
                client.transact(request).await?.into_inner().appends
            }
        };
        self.owed.pop_front();
        self.acknowledge(batch, answers);
        Ok(())
    }

    /// Answers come in the order of the requests, so what is owed then is what an answer refused, and
    /// what was not answered, still in order.
    async fn send_all(&mut self, client: &mut LogServiceClient<Channel>) -> Result<(), Status> {
        let requests: Vec<_> = (0..).zip(&self.owed).map(|(tag, batch)| request(tag, batch)).collect();
        let mut answers = client.append_bulk(futures_util::stream::iter(requests)).await?.into_inner();
        let mut refused = 0;
        while let Some(response) = answers.message().await? {
            let Some(Kind::Answer(answer)) = response.kind else { continue };
            match answer.outcome.expect("an answer has an outcome") {
                Outcome::Appended(appended) => {
                    let batch = self.owed.remove(refused).expect("each batch is answered once");
                    self.acknowledge(batch, vec![appended]);
                }
                Outcome::Problem(problem) => {
                    refused += 1;
                    self.note(problem.code, problem.message);
                }
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, batch: Batch, answers: Vec<AppendResponse>) {
        self.signals.acknowledged(batch.event_count() as u64);
        self.published.acknowledged.push((batch, answers));
    }

    fn note(&mut self, code: String, message: String) {
        let noted = self.published.errors.entry(code.clone()).or_default();
        *noted = (noted.0 + 1, message);
        self.signals.refused(&code);
    }
}

fn append(batch: &Batch) -> AppendRequest {
    let [(stream, events)] = &batch.0[..] else { panic!("an append has one stream: {batch:?}") };
    AppendRequest { stream: stream.clone(), events: events.clone(), ..AppendRequest::default() }
}

fn request(tag: u64, batch: &Batch) -> AppendBulkRequest {
    AppendBulkRequest { tag, append: Some(append(batch)) }
}

/// The host's code; what has none was said by the connection.
pub fn code_of(status: &Status) -> String {
    match status.get_error_details().error_info() {
        Some(info) => info.reason.clone(),
        None if [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal].contains(&status.code()) => {
            NO_CONNECTION.into()
        }
        None => format!("{:?}", status.code()),
    }
}
