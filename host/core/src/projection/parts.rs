//! The instances of a projection, each with the state that it folds into: one, or one for each of its partitions.
//!
//! Partitions share a checkpoint: each batch is divided among them by key, they fold their parts at the same time,
//! and what they have changed is one commit. So their number changes nothing of what comes out, as long as the
//! projection does what it says: that no document belongs to two keys.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::state::{State, StateError};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::group::share::slot_of;
use crate::guest::{Batch, Guest, GuestEnvironment, GuestError, GuestModule};
use crate::handler::outbox::Outbox;
use crate::limits::plugin as limits;
use crate::store::DocumentChange;

/// What instances are made of.
pub(super) struct Maker {
    pub(super) module: Arc<dyn GuestModule>,
    pub(super) environment: GuestEnvironment,
}

struct Part {
    guest: Option<Box<dyn Guest>>,
    /// Calls of this instance.
    calls: u32,
    /// `None` only while the guest has it.
    state: Option<State>,
}

pub(super) struct Parts(Vec<Part>);

impl Parts {
    pub(super) fn new(count: u32, state: impl Fn() -> State) -> Self {
        let part = |_| Part { guest: None, calls: 0, state: Some(state()) };
        Self((0..count.max(1)).map(part).collect())
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Folds a batch. After an error nothing of it, nor of those since the last commit, may be kept.
    pub(super) async fn fold(
        &mut self,
        maker: &Maker,
        now: Timestamp,
        events: &Arc<[Event]>,
    ) -> Result<(), GuestError> {
        if let [only] = &mut self.0[..] {
            return only.fold(maker, now, Arc::clone(events)).await;
        }
        let count = self.0.len();
        let mut divided = vec![Vec::new(); count];
        for event in events.iter() {
            let key = event.key().unwrap_or(event.stream());
            divided[usize::from(slot_of(key.as_bytes())) % count].push(event.clone());
        }
        let busy = self.0.iter_mut().zip(divided).filter(|(_, events)| !events.is_empty());
        let folds = busy.map(|(part, events)| part.fold(maker, now, events.into()));
        join_all(folds).await.into_iter().collect()
    }

    /// What all have changed. No two may have changed the same document.
    pub(super) async fn changes(&mut self) -> Result<Vec<DocumentChange>, GuestError> {
        let mut changes = Vec::new();
        for part in &mut self.0 {
            let state = part.state.as_mut().expect("no call is under way");
            changes.extend(state.changes().await.map_err(|error| GuestError::State(Arc::new(error)))?);
        }
        if self.0.len() > 1 {
            let mut seen = HashSet::with_capacity(changes.len());
            let twice = changes.iter().find(|change| !seen.insert((&*change.collection, change.key.as_str())));
            if let Some(DocumentChange { collection, key, .. }) = twice {
                let what = format!(
                    "it says that it folds each key by itself, but events of two keys have changed `{collection}/{key}`; \
                     run it with one partition, or mend it"
                );
                return Err(GuestError::Contract { what });
            }
        }
        Ok(changes)
    }

    pub(super) fn settle(&mut self) {
        self.0.iter_mut().filter_map(|part| part.state.as_mut()).for_each(State::settle);
    }

    /// Back to the last commit, with fresh instances.
    pub(super) fn begin_anew(&mut self) {
        for part in &mut self.0 {
            part.guest = None;
            if let Some(state) = &mut part.state {
                state.discard();
            }
        }
    }

    pub(super) fn drop_instances(&mut self) {
        self.0.iter_mut().for_each(|part| part.guest = None);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.0.iter().all(|part| part.state.as_ref().is_some_and(State::is_clean))
    }

    pub(super) fn overlay_bytes(&self) -> usize {
        self.states().map(State::overlay_bytes).sum()
    }

    pub(super) fn overlay_rows(&self) -> usize {
        self.states().map(State::overlay_rows).sum()
    }

    /// Of the largest instance: each may have as much as the limit says.
    pub(super) fn memory_bytes(&self) -> Option<usize> {
        self.guests().map(|guest| guest.memory_bytes()).max()
    }

    /// Of the longest of the calls that were made together.
    pub(super) fn call_time(&self) -> Option<Duration> {
        self.guests().filter_map(|guest| guest.call_time()).max()
    }

    fn guests(&self) -> impl Iterator<Item = &dyn Guest> {
        self.0.iter().filter_map(|part| part.guest.as_deref())
    }

    fn states(&self) -> impl Iterator<Item = &State> {
        self.0.iter().filter_map(|part| part.state.as_ref())
    }
}

impl Part {
    async fn fold(&mut self, maker: &Maker, now: Timestamp, events: Arc<[Event]>) -> Result<(), GuestError> {
        if self.calls >= limits::CALLS_OF_INSTANCE_MAX {
            self.guest = None;
        }
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => {
                self.calls = 0;
                maker.module.start(maker.environment.clone()).await?
            }
        };
        self.calls += 1;
        maker.environment.log.begin_call(now);
        let state = self.state.take().expect("no call is under way");
        let (batch, outcome) = guest.call(Batch { events, state, outbox: Outbox::default() }).await;
        self.state = Some(batch.state);
        // Whatever a failure left in the instance goes with it.
        self.guest = outcome.is_ok().then_some(guest);
        outcome
    }
}

/// A store that does not answer is not the guest's fault.
pub(super) fn is_hosts(error: &GuestError) -> bool {
    matches!(error, GuestError::State(error) if matches!(**error, StateError::Store(_)))
}
