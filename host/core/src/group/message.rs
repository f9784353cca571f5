//! What a queue's message says of its own delivery, in headers.

use crate::clock::Timestamp;
use crate::event::Event;

/// Milliseconds from its recording on: it is not handed out before, and holds its key until then. Counted from
/// there, and not given as a time, so that a message that is sent again is the same.
pub const DELAY_MS: &str = "wasmill-delay-ms";
/// Milliseconds from its recording on: it is not handed out from then on.
pub const TIME_TO_LIVE_MS: &str = "wasmill-time-to-live-ms";
/// 0 to 9: of messages that wait, those of a higher one are handed out first. The order within a key stands.
pub const PRIORITY: &str = "wasmill-priority";
pub const PRIORITY_MAX: u8 = 9;
/// Of a message that says nothing, so that there are lower ones; as in JMS.
pub const PRIORITY_DEFAULT: u8 = 4;

/// When a message may be handed out, and before which others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) not_before: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) priority: u8,
}

pub(super) const NONE: Wishes =
    Wishes { not_before: Timestamp(0), expires_at: Timestamp(i64::MAX), priority: PRIORITY_DEFAULT };

/// What cannot be read is not said.
pub(super) fn wishes(event: &Event) -> Wishes {
    let mut wishes = NONE;
    for (name, value) in event.headers() {
        let after = || {
            let ms: i64 = value.parse().ok()?;
            Some(Timestamp(event.recorded_at().0.saturating_add(ms.saturating_mul(1_000))))
        };
        match name {
            DELAY_MS => wishes.not_before = after().unwrap_or(wishes.not_before),
            TIME_TO_LIVE_MS => wishes.expires_at = after().unwrap_or(wishes.expires_at),
            PRIORITY => wishes.priority = value.parse().unwrap_or(PRIORITY_DEFAULT).min(PRIORITY_MAX),
            _ => {}
        }
    }
    wishes
}
