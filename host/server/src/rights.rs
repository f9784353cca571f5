//! What clients may do with a stream, as its configuration says. The host's own plugins are not asked.

use wasmill_core::code::{Code, Detail, Problem};
use wasmill_core::event::Event;
use wasmill_core::name::StreamName;
use wasmill_core::stream::config::{AccessBy, Scope};
use wasmill_core::stream::configs::StreamConfigs;
use wasmill_core::stream::{Access, Caller};

pub(crate) fn may_read(configs: &StreamConfigs, stream: &StreamName) -> Result<(), Problem> {
    refuse(denied(configs, stream, Access::Read).into_iter().collect())
}

/// Truncation and deletion too.
pub(crate) fn may_publish(configs: &StreamConfigs, stream: &StreamName) -> Result<(), Problem> {
    refuse(denied(configs, stream, Access::Publish).into_iter().collect())
}

/// Names every stream of `wanted` that the caller may not treat so. What is no name of a stream is found
/// elsewhere.
pub(crate) fn may<'a>(
    configs: &StreamConfigs,
    wanted: impl IntoIterator<Item = (&'a str, Access)>,
) -> Result<(), Problem> {
    let named = wanted.into_iter().filter_map(|(stream, access)| Some((StreamName::new(stream).ok()?, access)));
    refuse(named.filter_map(|(stream, access)| denied(configs, &stream, access)).collect())
}

fn refuse(details: Vec<Detail>) -> Result<(), Problem> {
    let Some(first) = details.first() else { return Ok(()) };
    let message = format!("stream `{}` {}", first.at, first.message);
    Err(Problem { code: Code::Forbidden, message, details })
}

fn denied(configs: &StreamConfigs, stream: &StreamName, access: Access) -> Option<Detail> {
    let effective = configs.effective(stream);
    if effective.allows(Caller::Api, access) {
        return None;
    }
    let config = effective.config();
    let (verb, field, by) = match access {
        Access::Publish => ("published to", "access.publish", config.access.publish),
        Access::Read => ("read", "access.read", config.access.read),
    };
    let (field, value) = match (config.scope, by) {
        (Some(Scope::Internal), _) => ("scope", "internal"),
        (_, Some(AccessBy::Plugins)) => (field, "plugins"),
        (_, _) => ("scope", "another"),
    };
    let message = format!("is not {verb} by clients: its configuration says `{field}: {value}`");
    Some(Detail { at: stream.to_string(), message, facts: vec![("field", field.into()), ("value", value.into())] })
}

/// Drops the events of streams that clients may not read. Neighbours often are of one stream.
pub(crate) fn keep_readable(configs: &StreamConfigs, events: &mut Vec<Event>) {
    if configs.all_open_to_readers() {
        return;
    }
    let mut last: Option<(StreamName, bool)> = None;
    events.retain(|event| match &last {
        Some((stream, readable)) if stream.as_str() == event.stream() => *readable,
        _ => {
            let stream = StreamName::from_stored(event.stream());
            let readable = configs.may_read(&stream, Caller::Api);
            last = Some((stream, readable));
            readable
        }
    });
}
