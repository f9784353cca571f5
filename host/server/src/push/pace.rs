//! When a connection has to say something, and when it is given up. Pure: it is told what time it is.

use std::time::Duration;

use tokio::time::Instant;

use super::{PING_EVERY, SILENCE_MAX, STALL_MAX};

/// How exactly the times below are kept.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Fine,
    Ping,
    Silent,
    Stalled,
}

#[derive(Debug)]
pub(super) struct Pace {
    heard: Instant,
    said: Instant,
    flowed: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, said: now, flowed: now }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    pub(super) fn said(&mut self, now: Instant) {
        self.said = now;
    }

    /// There is room on the way out.
    pub(super) fn flows(&mut self, now: Instant) {
        self.flowed = now;
    }

    /// `full`: there is no room on the way out.
    pub(super) fn look(&mut self, now: Instant, full: bool) -> Look {
        if !full {
            self.flowed = now;
        }
        if now - self.flowed >= STALL_MAX {
            Look::Stalled
        } else if now - self.heard >= SILENCE_MAX && !full {
            // A client that is behind may not have got our ping, and that is judged above.
            Look::Silent
        } else if now - self.said >= PING_EVERY && !full {
            Look::Ping
        } else {
            Look::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_on_which_nothing_happens_is_pinged_and_then_given_up() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.look(now, false), Look::Fine);
        now += PING_EVERY;
        assert_eq!(pace.look(now, false), Look::Ping);
        pace.said(now);
        assert_eq!(pace.look(now, false), Look::Fine);
        now += SILENCE_MAX - PING_EVERY;
        assert_eq!(pace.look(now, false), Look::Silent);
        pace.heard(now);
        assert_eq!(pace.look(now, false), Look::Ping);
    }

    #[test]
    fn who_takes_nothing_is_cut_off() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        now += STALL_MAX - SECOND;
        assert_eq!(pace.look(now, true), Look::Fine);
        pace.flows(now);
        now += STALL_MAX - SECOND;
        assert_eq!(pace.look(now, true), Look::Fine);
        now += SECOND;
        assert_eq!(pace.look(now, true), Look::Stalled);
    }
}
