//! How a group is, for operators: told by its task, read by scrapes and health checks.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus::{Histogram, IntCounter};

use super::config::GroupConfig;
use super::machine::{Counts, Machine};
use crate::clock::Timestamp;
use crate::event::Position;
use crate::limits::group as limits;
use crate::metrics::{GROUP_OUTCOMES, Metrics};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Healthy,
    Degraded,
    Unhealthy,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Unhealthy => "unhealthy",
        }
    }
}

/// A group's health, and why.
#[derive(Clone, Debug)]
pub struct GroupHealth {
    pub group: String,
    pub health: Health,
    pub lag_events: u64,
    /// What is not as it should be.
    pub reason: Option<String>,
}

/// What a group's task last said of it.
#[derive(Debug)]
pub(super) struct Shown {
    counters: [IntCounter; GROUP_OUTCOMES.len()],
    processing: Histogram,
    /// `u64::MAX` while this host has no share of the group.
    floor: AtomicU64,
    unsettled: AtomicU64,
    in_flight: AtomicU64,
    parked_keys: AtomicU64,
    members: AtomicU64,
    /// When the oldest unsettled event was recorded; `i64::MAX` if there is none.
    oldest: AtomicI64,
    /// When something was settled last, or there was nothing to settle.
    moved: AtomicI64,
    /// How long it may stand still, in microseconds.
    patience: AtomicI64,
    degraded_lag: AtomicU64,
    unhealthy_lag: AtomicU64,
    paused: AtomicU64,
}

/// What the task remembers of what it has said.
#[derive(Debug, Default)]
pub(super) struct Said {
    counts: Counts,
    looked_at: Timestamp,
}

/// Between two looks for the oldest event, which goes through all lanes.
const LOOK_US: i64 = 1_000_000;

impl Shown {
    pub(super) fn new(metrics: &Metrics, group: &str, now: Timestamp) -> Self {
        Self {
            counters: GROUP_OUTCOMES.map(|outcome| metrics.group_events.with_label_values(&[group, outcome])),
            processing: metrics.group_processing_seconds.with_label_values(&[group]),
            floor: AtomicU64::new(u64::MAX),
            unsettled: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            parked_keys: AtomicU64::new(0),
            members: AtomicU64::new(0),
            oldest: AtomicI64::new(i64::MAX),
            moved: AtomicI64::new(now.0),
            patience: AtomicI64::new(i64::MAX),
            degraded_lag: AtomicU64::new(u64::MAX),
            unhealthy_lag: AtomicU64::new(u64::MAX),
            paused: AtomicU64::new(0),
        }
    }

    /// Takes over what the task knows.
    pub(super) fn update(&self, machine: &mut Machine, said: &mut Said, now: Timestamp) {
        let counts = machine.counts;
        if counts != said.counts {
            let before = std::mem::replace(&mut said.counts, counts).by_outcome();
            for ((counter, count), before) in self.counters.iter().zip(counts.by_outcome()).zip(before) {
                counter.inc_by(count.saturating_sub(before));
            }
            self.moved.store(now.0, Ordering::Relaxed);
        }
        for us in machine.took_us.drain(..) {
            self.processing.observe(us.max(0) as f64 / 1e6);
        }
        let unsettled = machine.unsettled().events;
        self.floor.store(machine.floor().map_or(u64::MAX, |floor| floor.0), Ordering::Relaxed);
        self.unsettled.store(unsettled as u64, Ordering::Relaxed);
        self.in_flight.store(machine.in_flight() as u64, Ordering::Relaxed);
        self.parked_keys.store(machine.parked_keys() as u64, Ordering::Relaxed);
        self.members.store(machine.members().count() as u64, Ordering::Relaxed);
        self.paused.store(u64::from(machine.record.paused), Ordering::Relaxed);
        if now.0.saturating_sub(said.looked_at.0) >= LOOK_US || unsettled == 0 {
            said.looked_at = now;
            let oldest = machine.oldest().map_or(i64::MAX, |event| event.recorded_at().0);
            self.oldest.store(oldest, Ordering::Relaxed);
            let config: &GroupConfig = &machine.record.config;
            let longest = config.ack_timeout_us().max(config.session_timeout_us());
            self.patience.store(longest.saturating_mul(2), Ordering::Relaxed);
            self.degraded_lag.store(config.degraded_lag.unwrap_or(limits::DEGRADED_LAG), Ordering::Relaxed);
            self.unhealthy_lag.store(config.unhealthy_lag.unwrap_or(limits::UNHEALTHY_LAG), Ordering::Relaxed);
        }
    }

    /// Positions that it has not settled; none while this host has no share of it.
    fn lag(&self, tail: Position) -> Option<u64> {
        let floor = self.floor.load(Ordering::Relaxed);
        (floor != u64::MAX).then(|| tail.0.saturating_sub(floor))
    }

    pub(super) fn health(&self, group: &str, tail: Position, now: Timestamp) -> GroupHealth {
        let lag = self.lag(tail).unwrap_or(0);
        let still = now.0.saturating_sub(self.moved.load(Ordering::Relaxed));
        let works = self.in_flight.load(Ordering::Relaxed) > 0;
        let stands_still = works && still > self.patience.load(Ordering::Relaxed);
        let paused = self.paused.load(Ordering::Relaxed) > 0;
        let (health, reason) = if lag >= self.unhealthy_lag.load(Ordering::Relaxed) {
            (Health::Unhealthy, Some(format!("it is {lag} events behind")))
        } else if stands_still {
            let seconds = still / 1_000_000;
            (Health::Unhealthy, Some(format!("its members have settled nothing for {seconds} s")))
        } else if lag >= self.degraded_lag.load(Ordering::Relaxed) {
            (Health::Degraded, Some(format!("it is {lag} events behind")))
        } else {
            (Health::Healthy, None)
        };
        let reason = reason.map(|reason| if paused { format!("{reason}; it is paused") } else { reason });
        GroupHealth { group: group.to_owned(), health, lag_events: lag, reason }
    }

    /// Brings the gauges up to date.
    pub(super) fn refresh(&self, metrics: &Metrics, group: &str, tail: Position, now: Timestamp) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let set = |gauge: &prometheus::IntGaugeVec, value: i64| gauge.with_label_values(&[group]).set(value);
        let oldest = self.oldest.load(Ordering::Relaxed);
        let age = if oldest == i64::MAX { 0 } else { now.0.saturating_sub(oldest).max(0) / 1_000_000 };
        set(&metrics.group_lag_events, number(self.lag(tail).unwrap_or(0)));
        set(&metrics.group_lag_seconds, age);
        set(&metrics.group_unsettled_events, number(self.unsettled.load(Ordering::Relaxed)));
        set(&metrics.group_in_flight_events, number(self.in_flight.load(Ordering::Relaxed)));
        set(&metrics.group_parked_keys, number(self.parked_keys.load(Ordering::Relaxed)));
        set(&metrics.group_members, number(self.members.load(Ordering::Relaxed)));
        set(&metrics.group_health, self.health(group, tail, now).health as i64);
    }
}

impl Counts {
    /// In the order of [`GROUP_OUTCOMES`].
    fn by_outcome(self) -> [u64; GROUP_OUTCOMES.len()] {
        let Counts { delivered, redelivered, refused, lost, settled, parked, dropped } = self;
        [delivered, redelivered, settled, refused, lost, parked, dropped]
    }
}
