//! How streams end, in part or in whole: truncation and deletion.
//!
//! One commit unit hides the events, so that it happens at once; bounded units then remove them, with
//! appends in between. What is hidden and not removed when a host stops is removed by
//! [retention](super::retention).

use std::sync::Arc;

use super::config::Deletion;
use super::configs::StreamConfigs;
use crate::code::{Code, Problem};
use crate::event::{Offset, Position};
use crate::limits::stream::REMOVE_EVENTS_MAX;
use crate::log::commit::{CommitError, Committer};
use crate::log::tail::Tail;
use crate::log_id;
use crate::metrics::Metrics;
use crate::name::StreamName;
use crate::record::{StreamInfo, StreamState};
use crate::store::{Change, Direction, Expected, PageLimit, Store, StoreError, StreamCheck, Unit};
use crate::tasks::chain;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// Its events go; the next append brings it back, and its offsets go on.
    Soft,
    /// Its events go, and nothing is ever appended to it again.
    Hard,
}

/// Why a stream was not truncated or deleted.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the configuration of stream `{stream}` says `deletion: {}`", said(*deletion))]
    Protected { stream: StreamName, deletion: Deletion },
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

fn said(deletion: Deletion) -> &'static str {
    match deletion {
        Deletion::Allowed => "allowed",
        Deletion::SoftOnly => "soft_only",
        Deletion::Forbidden => "forbidden",
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Protected { .. } => Problem::new(Code::StreamProtected, error.to_string()),
            StreamError::Store(store) => Problem::from(&store),
            StreamError::Commit(commit) => commit.into(),
        }
    }
}

/// Truncates and deletes streams. Cheap to clone.
#[derive(Clone)]
pub struct Streams {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) committer: Committer,
    pub(crate) configs: StreamConfigs,
    pub(crate) tail: Arc<Tail>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Streams {
    /// Removes the events below `offset`, if the stream is as `expected`. An offset beyond its end
    /// removes them all; one that is below what is left changes nothing. Returns when they are hidden
    /// and, unless the store fails meanwhile, removed.
    pub async fn truncate_before(
        &self,
        stream: &StreamName,
        offset: Offset,
        expected: Expected,
    ) -> Result<StreamInfo, StreamError> {
        self.check_allowed(stream, |deletion| deletion != Deletion::Forbidden)?;
        self.set(stream, offset, StreamState::Live, expected).await?;
        self.finish(stream, log_id::STREAM_TRUNCATED, "stream truncated").await
    }

    /// Deletes a stream, if it is as `expected`. Returns as [`Streams::truncate_before`] does.
    pub async fn delete(
        &self,
        stream: &StreamName,
        mode: DeleteMode,
        expected: Expected,
    ) -> Result<StreamInfo, StreamError> {
        let state = match mode {
            DeleteMode::Soft => StreamState::Deleted,
            DeleteMode::Hard => StreamState::Tombstoned,
        };
        self.check_allowed(stream, |deletion| match deletion {
            Deletion::Allowed => true,
            Deletion::SoftOnly => mode == DeleteMode::Soft,
            Deletion::Forbidden => false,
        })?;
        self.set(stream, Offset(u64::MAX), state, expected).await?;
        self.metrics.streams_deleted.inc();
        self.finish(stream, log_id::STREAM_DELETED, "stream deleted").await
    }

    fn check_allowed(&self, stream: &StreamName, allows: impl Fn(Deletion) -> bool) -> Result<(), StreamError> {
        let deletion = self.configs.effective(stream).deletion();
        if allows(deletion) { Ok(()) } else { Err(StreamError::Protected { stream: stream.clone(), deletion }) }
    }

    /// Hides events at once.
    pub(super) async fn set(
        &self,
        stream: &StreamName,
        truncate_before: Offset,
        state: StreamState,
        expected: Expected,
    ) -> Result<(), CommitError> {
        let checks = match expected {
            Expected::Any => Vec::new(),
            expected => vec![StreamCheck { stream: stream.clone(), expected }],
        };
        let changes = vec![Change::SetStream { stream: stream.clone(), truncate_before, state }];
        self.committer.commit(Unit { checks, changes, ..Unit::default() }).await.map(drop)
    }

    /// Removes what was hidden; it counts as done even if that is interrupted.
    async fn finish(&self, stream: &StreamName, event_id: u32, what: &str) -> Result<StreamInfo, StreamError> {
        let removed = self.remove_hidden(stream).await;
        match &removed {
            Ok(removed) => tracing::info!(event_id, stream = stream.as_str(), removed, what),
            Err(error) => {
                let (event_id, error) = (log_id::REMOVAL_INTERRUPTED, chain(error));
                tracing::warn!(event_id, stream = stream.as_str(), error, "{what}; its events are removed later");
            }
        }
        Ok(self.info(stream).await?)
    }

    /// Removes what is hidden of a stream, in bounded units, and says how many events that were.
    pub(super) async fn remove_hidden(&self, stream: &StreamName) -> Result<u64, StreamError> {
        let mut removed = 0;
        self.forget_hidden(&self.info(stream).await?).await?;
        loop {
            let by_unit = self.remove_some(stream).await?;
            removed += by_unit;
            if by_unit < REMOVE_EVENTS_MAX as u64 {
                return Ok(removed);
            }
        }
    }

    /// One unit of a removal; the tail cache has [forgotten](Self::forget_hidden) the events before.
    pub(super) async fn remove_some(&self, stream: &StreamName) -> Result<u64, CommitError> {
        let change = Change::RemoveEvents { stream: stream.clone(), limit: REMOVE_EVENTS_MAX };
        let removed = self.committer.commit(Unit::change(vec![change])).await?.removed;
        self.metrics.events_removed.inc_by(removed);
        Ok(removed)
    }

    /// Drops hidden events from the tail cache before they are removed, so that no reader finds them
    /// there afterwards.
    pub(super) async fn forget_hidden(&self, info: &StreamInfo) -> Result<(), StoreError> {
        let Some(last) = info.truncate_before.0.checked_sub(1) else { return Ok(()) };
        let one = PageLimit { events: 1, bytes: 1 };
        let last = self.store.read_stream(&info.name, Offset(last), Direction::Backward, one).await?;
        if let Some(event) = last.first() {
            self.tail.forget_before(Position(event.position().0 + 1));
        }
        Ok(())
    }

    pub(super) async fn info(&self, stream: &StreamName) -> Result<StreamInfo, StoreError> {
        let missing = || StoreError::Damaged { what: format!("stream `{stream}` has gone, which no stream ever does") };
        self.store.stream(stream).await?.ok_or_else(missing)
    }
}
