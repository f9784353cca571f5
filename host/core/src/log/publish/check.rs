//! The rules that an event keeps, and the list of those that were broken.

use std::fmt;

use super::error::AppendError;
use crate::code::Detail;
use crate::event::{DEFAULT_CONTENT_TYPE, NewEvent};
use crate::limits::publish as limits;
use crate::name;

/// Broken rules that one answer lists; a thousand equal mistakes need no thousand lines.
pub(super) const BROKEN_RULES_MAX: usize = 20;

/// Where an event stands in what was handed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// `None` when there is only the one append.
    pub(super) append: Option<usize>,
    pub(super) event: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(append) = self.append {
            write!(f, "appends[{append}].")?;
        }
        write!(f, "events[{}]", self.event)
    }
}

/// What is wrong, collected so that one answer names all of it.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// Of the transaction itself: its streams, checks and conditions.
    shape: Vec<Detail>,
    rules: Vec<Detail>,
    too_large: Vec<Detail>,
    /// Limit of the first event that is too large.
    too_large_for: usize,
    too_many: Vec<Detail>,
    uncounted: usize,
}

impl Broken {
    pub(super) fn shape(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.list(|broken| &mut broken.shape, || plain(at, message));
    }

    fn rule(&mut self, at: At, field: &str, message: impl Into<String>) {
        self.list(|broken| &mut broken.rules, || plain(format!("{at}.{field}"), message));
    }

    /// An event's data has more bytes than `limit`.
    fn too_large(&mut self, at: At, bytes: usize, limit: usize) {
        if self.too_large.is_empty() {
            self.too_large_for = limit;
        }
        let detail = || Detail {
            at: format!("{at}.data"),
            message: format!("it has {bytes} bytes; the limit is {limit}"),
            facts: vec![("bytes", bytes.to_string()), ("limit", limit.to_string())],
        };
        self.list(|broken| &mut broken.too_large, detail);
    }

    /// An append has more events than its stream's configuration allows.
    pub(super) fn too_many(&mut self, at: impl Into<String>, events: usize, limit: usize) {
        let detail = || Detail {
            at: at.into(),
            message: format!("there are {events}; this stream takes {limit} in one append"),
            facts: vec![("events", events.to_string()), ("limit", limit.to_string())],
        };
        self.list(|broken| &mut broken.too_many, detail);
    }

    fn list(&mut self, list: impl Fn(&mut Self) -> &mut Vec<Detail>, detail: impl FnOnce() -> Detail) {
        if list(self).len() == BROKEN_RULES_MAX {
            self.uncounted += 1;
            return;
        }
        list(self).push(detail());
    }

    /// The code is that of what has to be mended first.
    pub(super) fn into_result(mut self) -> Result<(), AppendError> {
        let mut details = std::mem::take(&mut self.shape);
        let shape = !details.is_empty();
        details.append(&mut self.rules);
        let rules = !details.is_empty();
        details.append(&mut self.too_large);
        let too_large = !details.is_empty();
        details.append(&mut self.too_many);
        if details.is_empty() {
            return Ok(());
        }
        if self.uncounted > 0 {
            details.push(plain("events", format!("{} more rules are broken", self.uncounted)));
        }
        Err(match (shape, rules, too_large) {
            (true, ..) => AppendError::InvalidTransaction(details),
            (false, true, _) => AppendError::InvalidEvents(details),
            (false, false, true) => AppendError::EventTooLarge { limit: self.too_large_for, details },
            (false, false, false) => AppendError::TooManyForStream(details),
        })
    }
}

fn plain(at: impl Into<String>, message: impl Into<String>) -> Detail {
    Detail { at: at.into(), message: message.into(), facts: Vec::new() }
}

/// Checks one event; its data may have `data_bytes_max` bytes.
pub(super) fn check(event: &NewEvent, at: At, data_bytes_max: usize, broken: &mut Broken) {
    if event.data.len() > data_bytes_max {
        broken.too_large(at, event.data.len(), data_bytes_max);
    }
    check_event(event, at, broken);
}

fn check_event(event: &NewEvent, at: At, broken: &mut Broken) {
    if event.id.is_nil() {
        broken.rule(at, "id", "the nil UUID identifies nothing");
    }
    if let Err(error) = name::check(&event.event_type) {
        broken.rule(at, "type", error.to_string());
    }
    let mut text = |field: &str, value: Option<&String>, bytes_max: usize| {
        let Some(value) = value else { return };
        if value.is_empty() || value.len() > bytes_max {
            broken.rule(at, field, format!("it has {} bytes, where 1 to {bytes_max} are allowed", value.len()));
        } else if value.chars().any(char::is_control) {
            broken.rule(at, field, "it has a control character");
        }
    };
    text("key", event.key.as_ref(), limits::KEY_BYTES_MAX);
    text("content_type", event.content_type.as_ref(), limits::ID_BYTES_MAX);
    text("workflow_id", event.origin.workflow_id.as_ref(), limits::ID_BYTES_MAX);
    text("correlation_id", event.origin.correlation_id.as_ref(), limits::ID_BYTES_MAX);
    text("causation_id", event.origin.causation_id.as_ref(), limits::ID_BYTES_MAX);
    text("traceparent", event.origin.traceparent.as_ref(), limits::TRACEPARENT_BYTES_MAX);
    for (i, tag) in event.tags.iter().enumerate() {
        text(&format!("tags[{i}]"), Some(tag), limits::TAG_BYTES_MAX);
    }
    if event.tags.len() > limits::TAGS_MAX {
        broken.rule(at, "tags", format!("there are {}; the limit is {}", event.tags.len(), limits::TAGS_MAX));
    }
    check_headers(event, at, broken);
    if event.time.is_some_and(|time| !(0..=limits::TIME_US_MAX).contains(&time.0)) {
        broken.rule(at, "time", "it does not lie between 1970 and 9999; is it in microseconds?");
    }
    check_data(event, at, broken);
}

fn check_data(event: &NewEvent, at: At, broken: &mut Broken) {
    let json = event.content_type.as_deref().is_none_or(|content_type| content_type == DEFAULT_CONTENT_TYPE);
    if !json || event.data.len() > limits::EVENT_DATA_BYTES_MAX {
        return;
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&event.data) {
        broken.rule(at, "data", format!("it is not JSON, as its content type says: {error}"));
        return;
    }
    let depth = json_depth(&event.data);
    if depth > limits::JSON_DEPTH_MAX {
        broken.rule(at, "data", format!("it is nested {depth} levels deep; the limit is {}", limits::JSON_DEPTH_MAX));
    }
}

/// How deep arrays and objects lie in each other, in text that is known to be JSON.
fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn check_headers(event: &NewEvent, at: At, broken: &mut Broken) {
    let bytes: usize = event.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::HEADERS_BYTES_MAX {
        let max = limits::HEADERS_BYTES_MAX;
        broken.rule(at, "headers", format!("they have {bytes} bytes together; the limit is {max}"));
    }
    for (name, value) in &event.headers {
        if name.is_empty() || name.chars().chain(value.chars()).any(char::is_control) {
            let name = name.escape_debug();
            broken.rule(at, "headers", format!("`{name}`: a name is not empty, and neither has control characters"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_levels_and_not_brackets() {
        for (json, depth) in
            [("1", 0), ("[]", 1), (r#"{"a":[1,{"b":2}],"c":[[]]}"#, 3), (r#"["[[[", "\"[[", "\\", [1]]"#, 2)]
        {
            assert_eq!(json_depth(json.as_bytes()), depth, "{json}");
        }
    }
}
