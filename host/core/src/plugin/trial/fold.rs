//! Projections and handlers: a batch at a time, and what failed one by one.

use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Call, Changed, Course, Failed, Life, Output, OutputKind, Run, Trial, TrialError, call_of};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::guest::{Batch, Disposition, Failure, Guest, GuestError};
use crate::handler::outbox::Outbox;
use crate::limits::plugin as limits;
use crate::projection::state::State;
use crate::record::{GenerationId, GenerationRecord, GenerationState};
use crate::store::memory::MemoryStore;
use crate::store::{Change, DocumentStore as _, Rejection, Store, StoreError, Unit};

const GENERATION: GenerationId = GenerationId(1);
/// Calls behind one checkpoint in a course with a crash: some of what it loses has to be folded again.
const CRASHING_CALLS: usize = 3;

pub(super) struct Folding<'a> {
    trial: &'a Trial,
    events: &'a [Event],
    course: Course,
    store: Arc<MemoryStore>,
    /// `None` only while the guest has it.
    state: Option<State>,
    guest: Option<Box<dyn Guest>>,
    run: Run,
    /// Calls since the checkpoint.
    uncommitted: usize,
    /// Of `run`, at the checkpoint.
    settled: Settled,
}

/// How far a run was when its documents were stored.
#[derive(Clone, Copy, Default)]
struct Settled {
    at: usize,
    output: usize,
    calls: usize,
    trace: usize,
}

impl<'a> Folding<'a> {
    pub(super) async fn new(trial: &'a Trial, events: &'a [Event], course: Course) -> Result<Self, TrialError> {
        let store = Arc::new(MemoryStore::default());
        let generation = GenerationRecord {
            id: GENERATION,
            plugin: trial.descriptor.name.clone(),
            revision: 1,
            state: GenerationState::Serving,
            checkpoint: Position(0),
            lifts: 0,
            created_at: Timestamp(0),
        };
        write(&*store, vec![Change::CreateGeneration(generation)]).await?;
        let folding = Self {
            state: None,
            guest: None,
            run: Run::default(),
            uncommitted: 0,
            settled: Settled::default(),
            trial,
            events,
            course,
            store,
        };
        Ok(Self { state: Some(folding.stored_state(true)), ..folding })
    }

    /// The documents as they are stored.
    fn stored_state(&self, empty: bool) -> State {
        let collections = self.trial.descriptor.collections.iter().map(|collection| collection.name.clone());
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(&self.store);
        State::new(store, GENERATION, &collections.collect::<Vec<_>>(), empty)
    }

    pub(super) async fn run(mut self, wanted: &[usize]) -> Result<Run, TrialError> {
        let mut crash = self.course.crash_after;
        let mut at = 0;
        while at < wanted.len() && !self.run.halted {
            let call = call_of(self.events, wanted, at, self.course.batch_events);
            match self.call(&wanted[call.clone()]).await? {
                Ok(()) => {
                    at = call.end;
                    if crash.is_some_and(|after| at >= after) && self.uncommitted > 1 {
                        crash = None;
                        at = self.crash();
                    } else if crash.is_none() || self.uncommitted >= CRASHING_CALLS {
                        self.commit(at).await?;
                    }
                }
                Err(_) => {
                    // As the host does: back to the checkpoint, up to the failed call as before, and then its
                    // events one by one.
                    let again = self.settled.at;
                    self.drop_uncommitted();
                    self.repeat(wanted, again..call.start).await?;
                    for one in call.clone() {
                        if self.run.halted {
                            break;
                        }
                        self.single(wanted[one]).await?;
                        self.commit(one + 1).await?;
                    }
                    at = call.end;
                }
            }
        }
        self.commit(at).await?;
        self.run.read_model = self.documents().await?;
        Ok(self.run)
    }

    /// Does calls again that succeeded before.
    async fn repeat(&mut self, wanted: &[usize], range: Range<usize>) -> Result<(), TrialError> {
        let mut at = range.start;
        while at < range.end {
            let call = call_of(self.events, &wanted[..range.end], at, self.course.batch_events);
            if self.call(&wanted[call.clone()]).await?.is_err() {
                self.drop_uncommitted();
                for one in call.clone() {
                    self.single(wanted[one]).await?;
                    self.commit(one + 1).await?;
                }
            }
            at = call.end;
        }
        self.commit(range.end).await
    }

    /// One event by itself; if it fails here, it is the guilty one.
    async fn single(&mut self, event: usize) -> Result<(), TrialError> {
        for attempts in 1.. {
            let Err(error) = self.call(&[event]).await? else { return Ok(()) };
            self.drop_uncommitted();
            let disposition = match &error {
                GuestError::Failed(Failure { disposition, .. }) => Some(*disposition),
                _ => None,
            };
            if disposition == Some(Disposition::Retry) && attempts < limits::ATTEMPTS {
                continue;
            }
            self.run.halted |= disposition == Some(Disposition::Halt);
            self.run.failures.push(Failed { event, error, attempts });
            break;
        }
        Ok(())
    }

    async fn call(&mut self, events: &[usize]) -> Result<Result<(), GuestError>, TrialError> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.trial.module.start(self.trial.environment()).await.map_err(TrialError::Start)?,
        };
        let batch: Arc<[Event]> = events.iter().map(|i| self.events[*i].clone()).collect();
        let state = self.state.take().expect("no call is under way");
        let batch = Batch { events: batch, state, outbox: Outbox::new(Arc::clone(&self.trial.grants)) };
        let began = self.trial.clock.now();
        let (batch, outcome) = guest.call(batch).await;
        let took_us = self.trial.clock.now().0 - began.0;
        self.state = Some(batch.state);
        if let Err(error) = outcome {
            // Whatever the failure left in the instance goes with it.
            return Ok(Err(error));
        }
        for emitted in batch.outbox.emitted().iter().cloned() {
            let what = OutputKind::Emitted { stream: emitted.stream, event: Box::new(emitted.event) };
            self.run.output.push(Output { event: events[emitted.cause as usize], what });
        }
        let (first, last) = (events[0], events[events.len() - 1]);
        let memory_bytes = guest.memory_bytes();
        self.run.calls.push(Call { events: first..last + 1, took_us, memory_bytes });
        self.uncommitted += 1;
        if self.course.life == Life::Long {
            self.guest = Some(guest);
        }
        Ok(Ok(()))
    }

    /// The host is gone with all that it had in memory, and comes back to what is stored.
    fn crash(&mut self) -> usize {
        self.guest = None;
        self.drop_uncommitted();
        self.state = Some(self.stored_state(false));
        self.settled.at
    }

    /// Back to the checkpoint.
    fn drop_uncommitted(&mut self) {
        let Settled { output, calls, trace, .. } = self.settled;
        self.run.output.truncate(output);
        self.run.calls.truncate(calls);
        self.run.trace.truncate(trace);
        self.uncommitted = 0;
        self.state.as_mut().expect("no call is under way").discard();
    }

    /// Stores what changed; everything before `at` is in it.
    async fn commit(&mut self, at: usize) -> Result<(), TrialError> {
        let state = self.state.as_mut().expect("no call is under way");
        let changes = state.changes().await;
        let mut documents = changes.map_err(|error| TrialError::Start(GuestError::State(Arc::new(error))))?;
        documents.sort_unstable_by(|a, b| (&a.collection, &a.key).cmp(&(&b.collection, &b.key)));
        let call = self.run.calls.len().saturating_sub(1);
        for document in &documents {
            let value = document.value.as_ref().map(|value| Sha256::digest(value).into());
            let (collection, key) = (Arc::clone(&document.collection), document.key.clone());
            self.run.trace.push(Changed { call, collection, key, value });
        }
        if !documents.is_empty() {
            write(&*self.store, vec![Change::PutDocuments { generation: GENERATION, documents }]).await?;
        }
        state.settle();
        self.uncommitted = 0;
        let (output, calls, trace) = (self.run.output.len(), self.run.calls.len(), self.run.trace.len());
        self.settled = Settled { at, output, calls, trace };
        Ok(())
    }

    async fn documents(&mut self) -> Result<super::ReadModel, StoreError> {
        let mut read_model = super::ReadModel::new();
        for name in self.store.collections(GENERATION).await? {
            let collection: Arc<str> = name.as_str().into();
            let mut after: Option<String> = None;
            loop {
                let page = self.store.scan(GENERATION, &name, "", after.as_deref(), limits::SCAN_ENTRIES_MAX).await?;
                after = page.documents.last().map(|document| document.key.clone());
                let documents = page.documents.into_iter();
                read_model.extend(documents.map(|found| ((Arc::clone(&collection), found.key), found.value)));
                if !page.more {
                    break;
                }
            }
        }
        Ok(read_model)
    }
}

async fn write(store: &dyn Store, changes: Vec<Change>) -> Result<(), StoreError> {
    let outcome = store.commit(&[Unit::change(changes)], Timestamp(0)).await?;
    let passed: Result<Vec<_>, Rejection> = outcome.into_iter().collect();
    passed.map(drop).map_err(|rejection| StoreError::Damaged { what: format!("{rejection:?}") })
}
