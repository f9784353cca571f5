//! How fast a replay goes.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::Event;
use crate::limits::replay as limits;

/// As it is stored. Both may be said; then both hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pace {
    pub events_per_second: Option<u64>,
    /// Times the speed at which the events happened, by their `time`; 1 is the original.
    pub speed: Option<f64>,
}

impl Pace {
    /// What is wrong with it, and in which field.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(rate) = self.events_per_second.filter(|rate| !(1..=limits::PER_SECOND_MAX).contains(rate)) {
            let what = format!("{rate} is out of its range, 1 to {}", limits::PER_SECOND_MAX);
            return Err(("eventsPerSecond", what));
        }
        if let Some(speed) = self.speed.filter(|speed| !(limits::SPEED_MIN..=limits::SPEED_MAX).contains(speed)) {
            let what = format!("{speed} is out of its range, {} to {}", limits::SPEED_MIN, limits::SPEED_MAX);
            return Err(("speed", what));
        }
        Ok(())
    }
}

/// Keeps to a pace, from when it is made: what lies before is not made up for.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    /// Events, in millionths, that may go.
    allowance: i64,
    counted_at: Timestamp,
    /// When the first event went, and when it had happened.
    began: Option<(Timestamp, Timestamp)>,
}

const MILLION: i64 = 1_000_000;

impl Pacer {
    pub(crate) fn new(pace: Pace, now: Timestamp) -> Self {
        Self { pace, allowance: 0, counted_at: now, began: None }
    }

    fn rate(&self) -> Option<i64> {
        self.pace.events_per_second.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX))
    }

    /// How many events may go now, at most `max`; or when to ask again.
    pub(crate) fn room(&mut self, max: usize, now: Timestamp) -> Result<usize, Timestamp> {
        let Some(rate) = self.rate() else { return Ok(max) };
        let gone = (now.0 - self.counted_at.0).clamp(0, MILLION);
        let most = (rate * limits::BURST_US).max(MILLION);
        self.allowance = (self.allowance + gone * rate).min(most);
        self.counted_at = now;
        let slice = (rate * limits::SLICE_US).clamp(MILLION, most).min(max as i64 * MILLION);
        if self.allowance < slice {
            let wait = (slice - self.allowance + rate - 1) / rate;
            return Err(Timestamp(now.0 + wait.max(1)));
        }
        Ok(max.min(usize::try_from(self.allowance / MILLION).unwrap_or(max)))
    }

    /// How many of the events have their time, and when the next one has; notes that they go.
    pub(crate) fn take(&mut self, events: &[Event], now: Timestamp) -> (usize, Option<Timestamp>) {
        let (mut count, mut next) = (events.len(), None);
        if let (Some(speed), Some(first)) = (self.pace.speed, events.first()) {
            let (began, happened) = *self.began.get_or_insert((now, first.time()));
            let due = |event: &Event| {
                let us = (event.time().0.saturating_sub(happened.0)) as f64 / speed;
                Timestamp(began.0.saturating_add(us as i64))
            };
            count = events.iter().take_while(|event| due(event) <= now).count();
            next = events.get(count).map(due);
        }
        if self.rate().is_some() {
            self.allowance -= count as i64 * MILLION;
        }
        (count, next)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use uuid::Uuid;

    use super::*;
    use crate::event::{NewEvent, Offset, Position, PreparedEvent, decode_run};
    use crate::name::StreamName;
    use crate::random::{Random, seeds};

    fn at(us: i64) -> Event {
        let event = NewEvent {
            id: Uuid::from_u128(1),
            event_type: "t".into(),
            time: Some(Timestamp(us)),
            ..NewEvent::default()
        };
        let (mut run, mut events) = (BytesMut::new(), Vec::new());
        let prepared = PreparedEvent::encode(&event, &StreamName::from_stored("s"), Timestamp(0));
        prepared.place(&mut run, Position(0), Offset(0), Timestamp(0));
        decode_run(run.freeze(), &mut events).unwrap();
        events.remove(0)
    }

    #[test]
    fn a_rate_is_kept_however_often_it_is_asked() {
        for seed in seeds(100) {
            let mut random = Random::new(seed);
            let rate = 1 + random.below(1_000_000);
            let pace = Pace { events_per_second: Some(rate), speed: None };
            let (mut pacer, mut now, mut gone) = (Pacer::new(pace, Timestamp(0)), Timestamp(0), 0_u64);
            let event = at(0);
            for _ in 0..2_000 {
                match pacer.room(256, now) {
                    Ok(room) => gone += pacer.take(&vec![event.clone(); room], now).0 as u64,
                    Err(until) => {
                        assert!(until > now, "it does not spin");
                        now = until;
                    }
                }
                if random.percent(1) {
                    now.0 += random.below(100_000) as i64;
                }
                let most = rate * (now.0 as u64 + limits::BURST_US as u64) / 1_000_000 + 1;
                assert!(gone <= most, "{gone} of {most} at {now:?} with {rate}/s");
            }
            assert!(gone > 0);
        }
    }

    #[test]
    fn a_replay_that_is_not_held_up_is_as_fast_as_it_may_be() {
        let pace = Pace { events_per_second: Some(10_000), speed: None };
        let (mut pacer, mut now, mut gone) = (Pacer::new(pace, Timestamp(0)), Timestamp(0), 0);
        let event = at(0);
        while now < Timestamp(10_000_000) {
            match pacer.room(256, now) {
                Ok(room) => gone += pacer.take(&vec![event.clone(); room], now).0,
                Err(until) => now = until,
            }
        }
        assert!((99_800..=100_000).contains(&gone), "{gone}");
    }

    #[test]
    fn events_keep_the_distances_that_they_had() {
        let pace = Pace { events_per_second: None, speed: Some(2.0) };
        let mut pacer = Pacer::new(pace, Timestamp(0));
        let events = [at(1_000), at(1_000), at(5_000), at(4_000), at(9_000)];
        assert_eq!(pacer.take(&events, Timestamp(100)), (2, Some(Timestamp(2_100))));
        assert_eq!(pacer.take(&events[2..], Timestamp(2_099)), (0, Some(Timestamp(2_100))));
        assert_eq!(pacer.take(&events[2..], Timestamp(2_100)), (2, Some(Timestamp(4_100))));
        assert_eq!(pacer.take(&events[4..], Timestamp(5_000)), (1, None));
    }
}
