//! Retention: the task that lets events go when their stream's configuration says so.
//!
//! It walks all streams, hides what has outlived its time, and removes it in bounded units at a
//! bounded rate, with appends in between. It also finishes removals that were interrupted, deletes
//! streams that are empty, and forgets the ids of events that were removed long ago. Whatever it does
//! may be done twice, by two hosts or after a crash, and comes to the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::cut::cut;
use super::effective::Effective;
use super::lifecycle::{StreamError, Streams};
use crate::clock::{Clock, Timestamp};
use crate::event::Offset;
use crate::limits::stream as limits;
use crate::log::commit::CommitError;
use crate::log_id;
use crate::name::StreamName;
use crate::record::{StreamInfo, StreamState};
use crate::store::{Change, Expected, StoreError, Unit};
use crate::tasks::chain;

const HOUR_US: i64 = 3_600_000_000;
const MINUTES_OF_DAY: u16 = 24 * 60;

/// When and how fast retention works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionOptions {
    /// Time from the end of one run to the next; 60 s by default, at least 1 ms.
    pub every: Duration,
    /// The part of the day in which it runs; always by default.
    pub window: Option<Window>,
    /// Units of at most 1,000 events that it removes in a second; 100 by default, at least 1.
    pub units_per_second_max: u32,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self { every: Duration::from_secs(60), window: None, units_per_second_max: 100 }
    }
}

/// A part of the day, UTC. One that ends before it starts goes over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: u16,
    end: u16,
}

impl Window {
    /// From minute `start` of the day on and before minute `end`, both 0 to 1,439. `None` if one is out
    /// of its range, or if they are equal.
    pub fn new(start: u16, end: u16) -> Option<Self> {
        (start < MINUTES_OF_DAY && end < MINUTES_OF_DAY && start != end).then_some(Self { start, end })
    }

    pub fn is_open(self, now: Timestamp) -> bool {
        let minute = now.0.div_euclid(60_000_000).rem_euclid(i64::from(MINUTES_OF_DAY));
        let (start, end) = (i64::from(self.start), i64::from(self.end));
        if start < end { (start..end).contains(&minute) } else { minute >= start || minute < end }
    }
}

/// What one run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Streams that were looked at; none when nothing can have changed.
    pub streams: u64,
    pub events_removed: u64,
    pub streams_deleted: u64,
    /// Removed events whose ids are new again.
    pub ids_forgotten: u64,
    /// Streams that were left as they are because of a failure.
    pub failures: u64,
}

/// Why a run ended early; the next one begins anew.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error("the store does not take removals at the moment")]
    Commit(#[from] CommitError),
}

/// The task, and a way to run it once. Cheap to clone.
#[derive(Clone)]
pub struct Retention {
    streams: Streams,
    clock: Arc<dyn Clock>,
    options: RetentionOptions,
    done: Arc<Mutex<Done>>,
}

/// What need not be done again yet.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    /// The store's revision before the last walk that came to its end.
    walked: Option<u64>,
    /// When ids are to be forgotten again: once an hour, since that is a commit even if there are none.
    forget_at: Timestamp,
}

/// One run.
struct Run<'a> {
    streams: &'a Streams,
    now: Timestamp,
    pace: Interval,
    /// Asked between units.
    goes_on: &'a (dyn Fn() -> bool + Send + Sync),
    report: RetentionReport,
}

impl Retention {
    pub(crate) fn new(streams: Streams, clock: Arc<dyn Clock>, options: RetentionOptions) -> Self {
        Self { streams, clock, options, done: Arc::default() }
    }

    /// Runs until it is stopped. Nothing that fails here stops the host.
    pub async fn run(self, stop: CancellationToken) -> Result<(), String> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.options.every.max(Duration::from_millis(1))) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let goes_on = || !stop.is_cancelled() && self.options.window.is_none_or(|w| w.is_open(self.clock.now()));
            if !goes_on() {
                continue;
            }
            match self.run_while(self.clock.now(), &goes_on).await {
                Ok(_) | Err(RetentionError::Commit(CommitError::Stopped)) => {}
                Err(error) => {
                    let (event_id, error) = (log_id::RETENTION_INTERRUPTED, chain(&error));
                    tracing::warn!(event_id, error, "retention was interrupted; it begins anew at its next run");
                }
            }
        }
    }

    /// One run at `now`, whatever the window.
    pub async fn run_once(&self, now: Timestamp) -> Result<RetentionReport, RetentionError> {
        self.run_while(now, &|| true).await
    }

    async fn run_while(
        &self,
        now: Timestamp,
        goes_on: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<RetentionReport, RetentionError> {
        let started = Instant::now();
        let between_units = Duration::from_secs(1) / self.options.units_per_second_max.max(1);
        let mut pace = tokio::time::interval(between_units.max(Duration::from_micros(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut run = Run { streams: &self.streams, now, pace, goes_on, report: RetentionReport::default() };
        let revision = self.streams.store.head().await?.revision;
        let mut done = *self.done();
        // Where no rule lets anything go, only a change can have left something to do.
        let due = done.walked != Some(revision) || self.streams.configs.let_anything_go();
        if due && run.walk().await? {
            done.walked = Some(revision);
        }
        if now >= done.forget_at && run.forget_removed().await? {
            done.forget_at = Timestamp(now.0.saturating_add(HOUR_US));
        }
        *self.done() = done;
        let metrics = &self.streams.metrics;
        metrics.retention_last_run_seconds.set(now.0 as f64 / 1e6);
        metrics.retention_duration_seconds.set(started.elapsed().as_secs_f64());
        run.report.log();
        Ok(run.report)
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run<'_> {
    /// Looks at every stream; false when it was told to end before.
    async fn walk(&mut self) -> Result<bool, RetentionError> {
        let mut after = None;
        loop {
            let last = after.as_ref().map(StreamName::as_str);
            let page = self.streams.store.streams(None, last, limits::RETENTION_STREAMS_PAGE).await?;
            let Some(last) = page.last() else { return Ok(true) };
            after = Some(last.name.clone());
            for info in page {
                if !(self.goes_on)() {
                    return Ok(false);
                }
                let stream = info.name.clone();
                match self.look_after(info).await {
                    // Someone has deleted it meanwhile.
                    Ok(()) | Err(StreamError::Commit(CommitError::Rejected(_))) => {}
                    Err(StreamError::Commit(error)) => return Err(error.into()),
                    Err(StreamError::Store(error)) if !matches!(error, StoreError::Damaged { .. }) => {
                        return Err(error.into());
                    }
                    Err(error) => {
                        self.report.failures += 1;
                        let (event_id, stream, error) = (log_id::RETENTION_FAILED, stream.as_str(), chain(&error));
                        tracing::error!(event_id, stream, error, "retention leaves a stream as it is");
                    }
                }
                self.report.streams += 1;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn look_after(&mut self, mut info: StreamInfo) -> Result<(), StreamError> {
        let config = self.streams.configs.effective(&info.name);
        if info.state == StreamState::Live {
            let cut = cut(&*self.streams.store, &info, config.keep(), self.now).await?;
            if cut > info.oldest() {
                self.streams.set(&info.name, cut, StreamState::Live, Expected::Any).await?;
                info = self.streams.info(&info.name).await?;
            }
        }
        if info.truncate_before > info.first_offset {
            self.remove_hidden(&info).await?;
        }
        if self.is_over(&info, &config) {
            self.delete_empty(&info).await?;
        }
        Ok(())
    }

    async fn remove_hidden(&mut self, info: &StreamInfo) -> Result<(), StreamError> {
        self.streams.forget_hidden(info).await?;
        while (self.goes_on)() {
            self.pace.tick().await;
            let removed = self.streams.remove_some(&info.name).await?;
            self.report.events_removed += removed;
            if removed < limits::REMOVE_EVENTS_MAX as u64 {
                break;
            }
        }
        Ok(())
    }

    fn is_over(&self, info: &StreamInfo, config: &Effective) -> bool {
        let Some(after) = config.delete_when_empty_after() else { return false };
        let since_us = u128::try_from(self.now.0.saturating_sub(info.last_recorded_at.0)).unwrap_or(0);
        info.state == StreamState::Live && info.event_count() == 0 && since_us >= after.as_micros()
    }

    /// Deletes a stream, unless something was appended to it meanwhile.
    async fn delete_empty(&mut self, info: &StreamInfo) -> Result<(), StreamError> {
        let last = Expected::Exactly(Offset(info.next_offset.0.saturating_sub(1)));
        match self.streams.set(&info.name, info.next_offset, StreamState::Deleted, last).await {
            Ok(()) => {
                self.report.streams_deleted += 1;
                self.streams.metrics.streams_deleted.inc();
                let (event_id, stream) = (log_id::STREAM_DELETED, info.name.as_str());
                tracing::info!(event_id, stream, "stream deleted, since it was empty");
                Ok(())
            }
            Err(CommitError::Rejected(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets ids that were kept long enough; false when it was told to end before.
    async fn forget_removed(&mut self) -> Result<bool, RetentionError> {
        if self.streams.store.removed_events(None, 1).await?.is_empty() {
            return Ok(true);
        }
        let before = Timestamp(self.now.0.saturating_sub(limits::REMOVED_IDS_KEPT_HOURS * HOUR_US));
        while (self.goes_on)() {
            self.pace.tick().await;
            let change = Change::ForgetRemoved { before, limit: limits::REMOVE_EVENTS_MAX };
            let forgotten = self.streams.committer.commit(Unit::change(vec![change])).await?.removed;
            self.report.ids_forgotten += forgotten;
            if forgotten < limits::REMOVE_EVENTS_MAX as u64 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl RetentionReport {
    fn log(&self) {
        let Self { streams, events_removed, streams_deleted, ids_forgotten, failures } = *self;
        if events_removed + streams_deleted + ids_forgotten + failures > 0 {
            let event_id = log_id::RETENTION_DONE;
            tracing::info!(event_id, streams, events_removed, streams_deleted, ids_forgotten, failures, "retention");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_go_over_midnight() {
        let open = |start, end, minute: i64| {
            let now = Timestamp((20_000 * 1_440 + minute) * 60_000_000 + 59_999_999);
            Window::new(start, end).map(|window| window.is_open(now))
        };
        assert_eq!([59, 60, 119, 120].map(|minute| open(60, 120, minute)), [false, true, true, false].map(Some));
        assert_eq!([0, 29, 30, 1_379, 1_380].map(|m| open(1_380, 30, m)), [true, true, false, false, true].map(Some));
        assert_eq!((open(5, 5, 0), open(1_440, 0, 0), open(0, 1_439, 1_438)), (None, None, Some(true)));
    }
}
