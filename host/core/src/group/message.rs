//! What a queue's message says of its own delivery, in headers.

use crate::clock::Timestamp;
use crate::event::Event;

/// Microseconds since 1970: it is not handed out before, and holds its key until then.
pub const NOT_BEFORE: &str = "wasmill-not-before-us";
/// Microseconds since 1970: it is not handed out from then on.
pub const EXPIRES_AT: &str = "wasmill-expires-at-us";

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
        let Ok(us) = value.parse() else { continue };
        match name {
            NOT_BEFORE => times.not_before = Timestamp(us),
            EXPIRES_AT => times.expires_at = Timestamp(us),
            _ => {}
        }
    }
    times
}
