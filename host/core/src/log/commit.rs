//! The group commit: the one writer of a host.
//!
//! Units queue; the writer takes what is waiting, gives it to the store as one transaction, moves the
//! tail and answers. While a transaction runs the next group gathers by itself, so an idle host adds
//! no delay and a busy one shares each fsync among many publishers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::tail::Tail;
use crate::clock::Clock;
use crate::code::{Code, Problem};
use crate::limits::commit as limits;
use crate::log_id;
use crate::metrics::Metrics;
use crate::store::{Committed, Rejection, Store, StoreError, Unit};

/// Why a unit was not committed, or why that is not known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the host has more to write than it can take in at the moment")]
    Overloaded,
    #[error("the host is stopping")]
    Stopped,
    /// After [`StoreError::Failed`] and [`StoreError::Unknown`] the outcome is not known; repeating with
    /// the same event ids settles it.
    #[error("the store could not commit")]
    Store(#[source] Arc<StoreError>),
}

impl CommitError {
    /// Whether the unit may have been committed all the same.
    pub fn is_unknown(&self) -> bool {
        matches!(self, CommitError::Store(error) if matches!(**error, StoreError::Unknown(_) | StoreError::Failed(_)))
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Rejected(rejection) => rejection.into(),
            CommitError::Overloaded => Problem::new(Code::Overloaded, error.to_string()),
            CommitError::Stopped => Problem::new(Code::Draining, error.to_string()),
            CommitError::Store(store) => Problem::from(&*store),
        }
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable(_) => Code::StorageUnavailable,
            StoreError::Unknown(_) => Code::OutcomeUnknown,
            StoreError::Full(_) | StoreError::Damaged { .. } | StoreError::Failed(_) => Code::StorageFailed,
        };
        Problem::new(code, error.to_string())
    }
}

/// The door to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Waiting>,
    /// One permit a KiB of what waits or is being written.
    room: Arc<Semaphore>,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Waiting {
    unit: Unit,
    answer: oneshot::Sender<Result<Committed, CommitError>>,
    _room: OwnedSemaphorePermit,
}

/// A unit on its way to the store, where dropping this does not stop it.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Committed, CommitError>>);

impl Submitted {
    /// Returns when the unit is durable, or turned away.
    pub async fn outcome(self) -> Result<Committed, CommitError> {
        self.0.await.unwrap_or(Err(CommitError::Stopped))
    }
}

/// The writer itself; [`Writer::run`] is a task of the host.
pub struct Writer {
    queue: mpsc::Receiver<Waiting>,
    closing: CancellationToken,
    store: Arc<dyn Store>,
    tail: Arc<Tail>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

pub fn group_commit(
    store: Arc<dyn Store>,
    tail: Arc<Tail>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> (Committer, Writer) {
    let (sender, receiver) = mpsc::channel(limits::QUEUE_UNITS_MAX);
    let room = Arc::new(Semaphore::new(limits::QUEUE_BYTES_MAX / 1024));
    let closing = CancellationToken::new();
    let committer = Committer { queue: sender, room, closing: closing.clone() };
    (committer, Writer { queue: receiver, closing, store, tail, clock, metrics })
}

impl Committer {
    /// Returns when the unit is durable, or turned away. Dropping the future after it was queued does
    /// not take the unit back.
    pub async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        self.submit(unit).await?.outcome().await
    }

    /// Returns when the unit is queued. Units of one caller that submits them one after the other are
    /// committed in that order; polling several commits in order does not promise that, since the
    /// runtime may make any of them wait a turn.
    pub async fn submit(&self, unit: Unit) -> Result<Submitted, CommitError> {
        let wait = Duration::from_millis(limits::QUEUE_WAIT_MS_MAX);
        let (answer, outcome) = oneshot::channel();
        match tokio::time::timeout(wait, self.enter(unit, answer)).await {
            Ok(entered) => entered.map(|()| Submitted(outcome)),
            Err(_) => Err(CommitError::Overloaded),
        }
    }

    /// Turns later units away; the writer ends when it has finished those that wait.
    pub fn close(&self) {
        self.closing.cancel();
    }

    async fn enter(
        &self,
        unit: Unit,
        answer: oneshot::Sender<Result<Committed, CommitError>>,
    ) -> Result<(), CommitError> {
        let kib = (unit.bytes() / 1024 + 1).min(limits::QUEUE_BYTES_MAX / 1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| CommitError::Stopped)?;
        let place = self.queue.reserve().await.map_err(|_| CommitError::Stopped)?;
        place.send(Waiting { unit, answer, _room: room });
        Ok(())
    }
}

impl Writer {
    /// Runs until it is closed and the queue is empty, or until the store fails for good, which it
    /// returns: the host must then stop, since nothing more can be promised.
    pub async fn run(mut self) -> Result<(), Arc<StoreError>> {
        let mut waiting = Vec::with_capacity(limits::GROUP_UNITS_MAX);
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(first) => first,
                None => match self.next_waiting().await {
                    Some(first) => first,
                    None => return Ok(()),
                },
            };
            self.gather(first, &mut waiting, &mut left_over);
            self.commit_group(&mut waiting).await?;
        }
    }

    async fn next_waiting(&mut self) -> Option<Waiting> {
        tokio::select! {
            biased;
            waiting = self.queue.recv() => waiting,
            () = self.closing.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        }
    }

    /// Takes what is waiting now, up to the bounds of a group.
    fn gather(&mut self, first: Waiting, waiting: &mut Vec<Waiting>, left_over: &mut Option<Waiting>) {
        let (mut events, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(candidate) = next {
            events += candidate.unit.event_count();
            bytes += candidate.unit.bytes();
            let alone = candidate.unit.stands_alone();
            let full = alone || events > limits::GROUP_EVENTS_MAX || bytes > limits::GROUP_BYTES_MAX;
            if full && !waiting.is_empty() {
                *left_over = Some(candidate);
                return;
            }
            waiting.push(candidate);
            if alone {
                return;
            }
            next = if waiting.len() < limits::GROUP_UNITS_MAX { self.queue.try_recv().ok() } else { None };
        }
    }

    async fn commit_group(&self, waiting: &mut Vec<Waiting>) -> Result<(), Arc<StoreError>> {
        let (units, answers): (Vec<Unit>, Vec<_>) =
            waiting.drain(..).map(|waiting| (waiting.unit, (waiting.answer, waiting._room))).unzip();
        match self.commit_units(&units).await {
            Ok(outcomes) => {
                for (outcome, (answer, _room)) in outcomes.into_iter().zip(answers) {
                    // A publisher that went away does not need its answer.
                    let _ = answer.send(outcome.map_err(CommitError::Rejected));
                }
            }
            // One of them has met what is damaged; the others need not suffer for it.
            Err(error) if units.len() > 1 && matches!(*error, StoreError::Damaged { .. }) => {
                for (unit, (answer, _room)) in units.into_iter().zip(answers) {
                    let outcome = self.commit_units(std::slice::from_ref(&unit)).await;
                    let failure = outcome.as_ref().err().cloned();
                    let outcome = match outcome {
                        Ok(mut outcomes) => outcomes.remove(0).map_err(CommitError::Rejected),
                        Err(error) => Err(CommitError::Store(error)),
                    };
                    let _ = answer.send(outcome);
                    failure.map_or(Ok(()), goes_on_after)?;
                }
            }
            Err(error) => {
                for (answer, _room) in answers {
                    let _ = answer.send(Err(CommitError::Store(Arc::clone(&error))));
                }
                goes_on_after(error)?;
            }
        }
        Ok(())
    }

    async fn commit_units(&self, units: &[Unit]) -> Result<Vec<Result<Committed, Rejection>>, Arc<StoreError>> {
        let timer = self.metrics.commit_seconds.start_timer();
        let outcomes = self.store.commit(units, self.clock.now()).await;
        timer.observe_duration();
        self.metrics.commit_units.observe(units.len() as f64);
        match outcomes {
            Ok(outcomes) => {
                self.tail.advance(outcomes.iter().flatten().flat_map(|committed| &committed.chunks));
                outcomes.iter().for_each(|outcome| self.count(outcome));
                Ok(outcomes)
            }
            Err(error) => {
                let (event_id, error) = (log_id::COMMIT_FAILED, Arc::new(error));
                tracing::error!(event_id, error = crate::tasks::chain(&*error), "commit failed");
                Err(error)
            }
        }
    }

    fn count(&self, outcome: &Result<Committed, Rejection>) {
        match outcome {
            Ok(committed) => {
                let events: u64 = committed.chunks.iter().map(|chunk| u64::from(chunk.count)).sum();
                self.metrics.events_published.inc_by(events);
            }
            Err(_) => self.metrics.units_rejected.inc(),
        }
    }
}

/// The host must stop after a commit of which nothing is known. What is damaged and was met before
/// anything was written concerns only those who met it.
fn goes_on_after(error: Arc<StoreError>) -> Result<(), Arc<StoreError>> {
    match &*error {
        StoreError::Unavailable(_) | StoreError::Full(_) | StoreError::Unknown(_) | StoreError::Damaged { .. } => {
            Ok(())
        }
        StoreError::Failed(_) => Err(error),
    }
}
