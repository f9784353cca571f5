//! What a queue's message says of its own delivery, in headers.

use crate::clock::Timestamp;
use crate::event::Event;

/// Milliseconds from its recording on: it is not handed out before, and holds its key until then. Counted from
/// there, and not given as a time, so that a message that is sent again is the same.
pub const DELAY_MS: &str = "wasmill-delay-ms";
/// Milliseconds from its recording on: it is not handed out from then on.
pub const TIME_TO_LIVE_MS: &str = "wasmill-time-to-live-ms";

/// When a message may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) not_before: Timestamp,
    pub(super) expires_at: Timestamp,
}

pub(super) const ALWAYS: Times = Times { not_before: Timestamp(0), expires_at: Timestamp(i64::MAX) };

/// What cannot be read is not said.
pub(super) fn times(event: &Event) -> Times {
    let mut times = ALWAYS;
    for (name, value) in event.headers() {
        let after = || {
            let ms: i64 = value.parse().ok()?;
            Some(Timestamp(event.recorded_at().0.saturating_add(ms.saturating_mul(1_000))))
        };
        match name {
            DELAY_MS => times.not_before = after().unwrap_or(times.not_before),
            TIME_TO_LIVE_MS => times.expires_at = after().unwrap_or(times.expires_at),
            _ => {}
        }
    }
    times
}
