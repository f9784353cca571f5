//! A generation as the rest of the host sees it: how far it is, how it is doing, how to stop it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};
use tokio_util::sync::CancellationToken;

use super::changes::Feed;
use crate::clock::Timestamp;
use crate::event::Position;
use crate::plugin::descriptor::Descriptor;
use crate::record::{GenerationId, GenerationRecord};
use crate::replay::Pace;

/// How a generation's runner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Behind the end of the log.
    CatchingUp,
    /// At the end of the log.
    Live,
    /// Waits before it tries a failed batch again.
    Retrying,
    /// Stopped at an event that it cannot fold; needs a person.
    Paused,
    Stopped,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::CatchingUp => "catching_up",
            Phase::Live => "live",
            Phase::Retrying => "retrying",
            Phase::Paused => "paused",
            Phase::Stopped => "stopped",
        }
    }
}

/// Why a generation does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureInfo {
    pub reason: String,
    /// The event that cannot be folded, when it is known.
    pub position: Option<Position>,
    pub time: Timestamp,
    pub attempts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Every event before this position is in the read model.
    pub next: Position,
    pub phase: Phase,
    pub failure: Option<FailureInfo>,
    /// Events folded since the host started.
    pub folded: u64,
    /// `recorded_at` of the newest event that was looked at.
    pub seen_at: Timestamp,
    /// Events that were passed over, of keys that are parked; none while nobody has looked.
    pub parked_events: Option<u64>,
    /// The newest failure, be it over or not.
    pub last_failure: Option<FailureInfo>,
    /// Events a second, lately.
    pub rate: Rate,
}

impl Progress {
    pub(crate) fn count(&mut self, events: u64, now: Timestamp) {
        self.folded += events;
        self.rate.count(events, now);
    }
}

/// A moving average of events a second, over some ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    per_second: f64,
    /// Since when events are counted that are not in the average yet, and how many these are.
    since: Option<Timestamp>,
    events: u64,
}

impl Eq for Rate {}

impl Rate {
    const STEP_US: i64 = 1_000_000;
    const WINDOW_US: f64 = 10_000_000.0;

    fn count(&mut self, events: u64, now: Timestamp) {
        self.events += events;
        let since = *self.since.get_or_insert(now);
        let took_us = now.0 - since.0;
        if took_us >= Self::STEP_US {
            self.per_second = self.blended(took_us);
            (self.since, self.events) = (Some(now), 0);
        }
    }

    fn blended(&self, took_us: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "it is told with one digit behind the point")]
        let (took_us, events) = (took_us as f64, self.events as f64);
        let weight = (took_us / Self::WINDOW_US).min(1.0);
        self.per_second * (1.0 - weight) + events * 1_000_000.0 / took_us * weight
    }

    pub fn per_second(&self, now: Timestamp) -> f64 {
        match self.since.map(|since| now.0 - since.0) {
            Some(took_us) if took_us >= Self::STEP_US => self.blended(took_us),
            _ => self.per_second,
        }
    }
}

/// How fast a generation may go on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throttle {
    /// By the replay that it is built for.
    pub paused: bool,
    pub pace: Pace,
    /// By its plugin's operator.
    pub held: bool,
    /// It keeps no instance while it is held.
    pub cold: bool,
    /// By its plugin's operator, as long as it is being built.
    pub build_events_per_second: Option<u64>,
}

impl Throttle {
    /// How fast it is: a replay's pace goes before the operator's.
    pub fn pace(self) -> Pace {
        match self.build_events_per_second {
            Some(events) if self.pace == Pace::default() => Pace { events_per_second: Some(events), ..Pace::default() },
            _ => self.pace,
        }
    }

    pub fn rests(self) -> bool {
        self.paused || self.held
    }
}

/// A running generation.
#[derive(Debug)]
pub struct Generation {
    pub id: GenerationId,
    pub revision: u32,
    /// Number of the set of upcasters that it reads through.
    pub lifts: u64,
    pub progress: watch::Sender<Progress>,
    pub stop: CancellationToken,
    pub throttle: watch::Sender<Throttle>,
    /// For those who follow what changes.
    pub feed: Feed,
    /// What its revision says of itself; a generation outlives the revision that is current.
    descriptor: OnceLock<Arc<Descriptor>>,
    /// Held for reading while a query runs, and for writing when the generation is given up, so that
    /// no query ever sees half of a read model.
    in_use: Arc<RwLock<()>>,
    retired: AtomicBool,
    confirmed: AtomicBool,
    /// Queries wait until the generation has come this far: as far as the one that served before it.
    floor: AtomicU64,
}

impl Generation {
    pub fn new(record: &GenerationRecord) -> Self {
        let progress = Progress {
            next: record.checkpoint,
            phase: Phase::CatchingUp,
            failure: None,
            folded: 0,
            seen_at: Timestamp(0),
            parked_events: None,
            last_failure: None,
            rate: Rate::default(),
        };
        Self {
            id: record.id,
            revision: record.revision,
            lifts: record.lifts,
            confirmed: AtomicBool::new(false),
            progress: watch::Sender::new(progress),
            stop: CancellationToken::new(),
            throttle: watch::Sender::default(),
            feed: Feed::default(),
            descriptor: OnceLock::new(),
            in_use: Arc::default(),
            retired: AtomicBool::new(false),
            floor: AtomicU64::new(0),
        }
    }

    /// One that does not run: its documents are only to be removed.
    pub fn new_stopped(record: &GenerationRecord) -> Self {
        let this = Self::new(record);
        this.progress.send_modify(|progress| progress.phase = Phase::Stopped);
        this
    }

    /// One that cannot be run. It is stopped too, in that nobody has to be waited for.
    pub fn new_paused(record: &GenerationRecord, reason: String, time: Timestamp) -> Self {
        let this = Self::new_stopped(record);
        let failure = FailureInfo { reason, position: None, time, attempts: 0 };
        this.progress.send_modify(|progress| {
            progress.last_failure = Some(failure.clone());
            progress.failure = Some(failure);
        });
        this
    }

    /// To be told once, before anybody finds it.
    pub fn describe(&self, descriptor: Arc<Descriptor>) {
        // A second time says the same.
        let _ = self.descriptor.set(descriptor);
    }

    /// `None` for one whose revision cannot be read.
    pub fn descriptor(&self) -> Option<&Arc<Descriptor>> {
        self.descriptor.get()
    }

    pub fn next(&self) -> Position {
        self.progress.borrow().next
    }

    pub fn floor(&self) -> Position {
        Position(self.floor.load(Ordering::Acquire))
    }

    pub fn raise_floor(&self, floor: Position) {
        self.floor.fetch_max(floor.0, Ordering::AcqRel);
    }

    /// A person wants it to serve.
    pub fn confirm(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Keeps the documents in place while the guard lives; `None` when they are being removed.
    pub async fn hold(&self) -> Option<OwnedRwLockReadGuard<()>> {
        let guard = Arc::clone(&self.in_use).read_owned().await;
        (!self.retired.load(Ordering::Acquire)).then_some(guard)
    }

    /// Returns when no query uses the documents any more, and none will again.
    pub async fn retire(&self) {
        let _alone = self.in_use.write().await;
        self.retired.store(true, Ordering::Release);
    }

    /// Stops the runner and waits until it has.
    pub async fn stopped(&self) {
        self.stop.cancel();
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.phase == Phase::Stopped).await;
    }
}
