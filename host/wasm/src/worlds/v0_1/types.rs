//! Between the types of the contract and those of core.

use wasmill_core::event::Event;
use wasmill_core::guest::{Disposition, Failure, Lifted, Upcasted};

use super::bindings::exports::wasmill::plugin::upcaster;
use super::bindings::wasmill::plugin::{events, outcomes};

/// Failures reach status pages and alerts.
const FAILURE_CODE_BYTES_MAX: usize = 200;
const FAILURE_MESSAGE_BYTES_MAX: usize = 4 * 1024;

pub(super) fn lower(event: &Event) -> events::Event<'_> {
    events::Event {
        position: event.position().0,
        offset: event.offset().0,
        time_us: time_us(event),
        id: event.id().as_u64_pair(),
        schema_version: event.schema_version(),
        event_type: event.event_type(),
        stream_name: event.stream(),
        key: event.key(),
        correlation_id: event.correlation_id(),
        data: event.data(),
    }
}

/// The contract has no time before 1970.
pub(super) fn time_us(event: &Event) -> u64 {
    u64::try_from(event.time().0).unwrap_or(0)
}

pub(super) fn failure(failure: outcomes::Failure) -> Failure {
    Failure {
        disposition: match failure.disposition {
            outcomes::Disposition::Retry => Disposition::Retry,
            outcomes::Disposition::Reject => Disposition::Reject,
            outcomes::Disposition::Halt => Disposition::Halt,
        },
        code: cut(failure.code, FAILURE_CODE_BYTES_MAX),
        message: cut(failure.message, FAILURE_MESSAGE_BYTES_MAX),
        retry_after_ms: failure.retry_after_ms,
        event_index: failure.event_index,
    }
}

pub(super) fn upcasted(upcasted: upcaster::Upcasted) -> Upcasted {
    match upcasted {
        upcaster::Upcasted::Unchanged => Upcasted::Unchanged,
        upcaster::Upcasted::Replaced(lifted) => Upcasted::Replaced(Lifted {
            event_type: lifted.event_type,
            schema_version: lifted.schema_version,
            data: lifted.data.into(),
        }),
        upcaster::Upcasted::Failed(failed) => Upcasted::Failed(failure(failed)),
    }
}

pub(super) fn rejected(code: &str, message: &str) -> Failure {
    Failure {
        disposition: Disposition::Reject,
        code: cut(code.to_owned(), FAILURE_CODE_BYTES_MAX),
        message: cut(message.to_owned(), FAILURE_MESSAGE_BYTES_MAX),
        retry_after_ms: None,
        event_index: None,
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
