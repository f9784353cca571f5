//! A subscription with credit: events are sent while there is some, and acknowledging gives it back.

use std::collections::VecDeque;

use wasmill_core::code::Problem;

use super::protocol::{CREDIT_MAX, wrong};

/// Counts the events that a client still has room for. Pure.
#[derive(Debug)]
pub(super) struct Window {
    credit: u64,
    /// Places of the events that were sent and not acknowledged, the oldest first: with the credit no more
    /// than [`CREDIT_MAX`].
    sent: VecDeque<u64>,
    /// Nothing from here on was sent.
    next: u64,
}

impl Window {
    pub(super) fn new(credit: u64, next: u64) -> Self {
        Self { credit, sent: VecDeque::new(), next }
    }

    /// Events that may be sent now.
    pub(super) fn room(&self) -> usize {
        usize::try_from(self.credit).unwrap_or(usize::MAX)
    }

    pub(super) fn send(&mut self, place: u64) {
        self.credit = self.credit.saturating_sub(1);
        self.sent.push_back(place);
        self.next = place + 1;
        self.bound();
    }

    pub(super) fn add(&mut self, events: u64) -> Result<(), Problem> {
        if events == 0 || self.credit.saturating_add(events) > CREDIT_MAX {
            let message = format!("{events} beside {} is not 1 to {CREDIT_MAX} together", self.credit);
            return Err(wrong("events", message));
        }
        self.credit += events;
        self.bound();
        Ok(())
    }

    /// Everything up to `place` was handled. Saying it again changes nothing.
    pub(super) fn ack(&mut self, word: &str, place: u64) -> Result<(), Problem> {
        if place >= self.next {
            let message = format!("{place} was not sent yet; the next one is {} or later", self.next);
            return Err(wrong(word, message));
        }
        let done = self.sent.partition_point(|sent| *sent <= place);
        self.sent.drain(..done);
        self.credit += done as u64;
        Ok(())
    }

    /// Who gives credit and never acknowledges gets nothing back for what is old.
    fn bound(&mut self) {
        while self.credit + self.sent.len() as u64 > CREDIT_MAX && self.sent.pop_front().is_some() {}
    }
}

/// Where events have their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Offset,
    Position,
}

impl By {
    pub(super) fn word(self) -> &'static str {
        match self {
            By::Offset => "offset",
            By::Position => "position",
        }
    }

    pub(super) fn next(self) -> &'static str {
        match self {
            By::Offset => "nextOffset",
            By::Position => "nextPosition",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledging_gives_back_the_credit_of_everything_before() {
        let mut window = Window::new(3, 10);
        for place in [10, 12, 17] {
            window.send(place);
        }
        assert_eq!(window.room(), 0);
        window.ack("offset", 15).unwrap();
        assert_eq!(window.room(), 2, "15 itself was never sent, but all before it is done");
        window.ack("offset", 15).unwrap();
        assert_eq!(window.room(), 2, "an acknowledgement counts once");
        assert!(window.ack("offset", 18).is_err(), "what was not sent cannot be acknowledged");
        window.ack("offset", 17).unwrap();
        assert_eq!(window.room(), 3);
    }

    #[test]
    fn credit_has_a_bound() {
        let mut window = Window::new(1, 0);
        assert!(window.add(0).is_err() && window.add(CREDIT_MAX).is_err());
        window.add(CREDIT_MAX - 1).unwrap();
        for place in 0..CREDIT_MAX {
            window.send(place);
        }
        window.add(CREDIT_MAX).unwrap();
        for place in CREDIT_MAX..2 * CREDIT_MAX {
            window.send(place);
        }
        window.ack("offset", 2 * CREDIT_MAX - 1).unwrap();
        assert_eq!(window.room() as u64, CREDIT_MAX, "only what is remembered is given back");
    }
}
