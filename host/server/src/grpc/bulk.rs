//! Appending in bulk: many appends in flight over one call, answered in the order of the requests.
//!
//! The appends of one call reach the writer in order: each is queued before the next is looked at. One
//! that names its cause waits for those before it, among which the cause may be.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use futures_util::stream::FuturesOrdered;
use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wasmill_core::code::Problem;
use wasmill_core::event::Origin;

use super::convert;
use super::status::{status, unreadable};
use crate::app::App;
use crate::proto::append_bulk_answer::Outcome;
use crate::proto::append_bulk_response::Kind;
use crate::proto::{AppendBulkAnswer, AppendBulkRequest, AppendBulkResponse, AppendBulkWindow};
use crate::publish::{self, Publication, Submitted};

/// Appends that may wait for their answers: enough to fill a group commit from one client.
const WINDOW_APPENDS: usize = 64;
/// What those may hold together; beyond it the client is not read from.
const WINDOW_BYTES_MAX: usize = 16 * 1024 * 1024;

type Answer = Result<AppendBulkResponse, Status>;

/// Starts taking in appends; ends with the client's last one, or with the host.
pub(super) fn start(
    app: Arc<App>,
    requests: Streaming<AppendBulkRequest>,
    defaults: Origin,
) -> impl Stream<Item = Answer> + Send {
    let (answers, receiver) = mpsc::channel(WINDOW_APPENDS);
    tokio::spawn(async move {
        // An error is a client that went away; what was queued is committed all the same.
        let _ = Bulk { app, requests, defaults, answers, bytes: VecDeque::new() }.run().await;
    });
    ReceiverStream::new(receiver)
}

struct Bulk {
    app: Arc<App>,
    requests: Streaming<AppendBulkRequest>,
    defaults: Origin,
    answers: mpsc::Sender<Answer>,
    /// Sizes of the appends in flight.
    bytes: VecDeque<usize>,
}

/// The client has gone.
struct Gone;

enum Request {
    Append(AppendBulkRequest),
    /// No more will come, because of an error or in peace.
    End(Option<Status>),
}

impl Bulk {
    async fn run(mut self) -> Result<(), Gone> {
        let window = AppendBulkWindow { appends: WINDOW_APPENDS as u32 };
        self.send(Ok(AppendBulkResponse { kind: Some(Kind::Window(window)) })).await?;
        let mut in_flight = FuturesOrdered::new();
        loop {
            let room = in_flight.len() < WINDOW_APPENDS && self.bytes.iter().sum::<usize>() < WINDOW_BYTES_MAX;
            let next = tokio::select! {
                biased;
                Some(answer) = in_flight.next() => {
                    self.bytes.pop_front();
                    self.send(Ok(answer)).await?;
                    continue;
                }
                () = self.answers.closed() => return Err(Gone),
                request = Self::next(&mut self.requests, &self.app), if room => request,
            };
            match next {
                Request::Append(request) => {
                    let bytes = request.encoded_len();
                    let publication = convert::append(request.append.unwrap_or_default(), &self.defaults);
                    if publication.as_ref().is_ok_and(looks_up_a_cause) {
                        self.drain(&mut in_flight).await?;
                    }
                    let submitted = match publication {
                        Ok(publication) => publish::submit(&self.app, publication).await,
                        Err(problem) => Err(problem),
                    };
                    self.bytes.push_back(bytes);
                    in_flight.push_back(answer(request.tag, submitted));
                }
                Request::End(error) => {
                    self.drain(&mut in_flight).await?;
                    return match error {
                        Some(error) => self.send(Err(error)).await,
                        None => Ok(()),
                    };
                }
            }
        }
    }

    async fn drain<F>(&mut self, in_flight: &mut FuturesOrdered<F>) -> Result<(), Gone>
    where
        F: Future<Output = AppendBulkResponse>,
    {
        while let Some(answer) = in_flight.next().await {
            self.bytes.pop_front();
            self.send(Ok(answer)).await?;
        }
        Ok(())
    }

    async fn send(&self, answer: Answer) -> Result<(), Gone> {
        self.answers.send(answer).await.map_err(|_| Gone)
    }

    async fn next(requests: &mut Streaming<AppendBulkRequest>, app: &App) -> Request {
        let request = tokio::select! {
            biased;
            () = app.drain.cancelled() => return Request::End(Some(status(&App::draining()))),
            request = requests.message() => request,
        };
        match request {
            Ok(Some(request)) => Request::Append(request),
            Ok(None) => Request::End(None),
            Err(error) => Request::End(Some(unreadable(&error).map_or(error, |problem| status(&problem)))),
        }
    }
}

/// Whether publishing has to look for what an event inherits.
fn looks_up_a_cause(publication: &Publication) -> bool {
    publication.append.events.iter().any(|event| event.origin.causation_id.is_some())
}

async fn answer(tag: u64, submitted: Result<Submitted, Problem>) -> AppendBulkResponse {
    let answer = match submitted {
        Ok(submitted) => submitted.answer().await,
        Err(problem) => Err(problem),
    };
    let outcome = match answer {
        Ok(answer) => Outcome::Appended(convert::answer(&answer)),
        Err(problem) => Outcome::Problem(convert::problem(problem)),
    };
    AppendBulkResponse { kind: Some(Kind::Answer(AppendBulkAnswer { tag, outcome: Some(outcome) })) }
}
