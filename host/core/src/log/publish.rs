//! Publishing: checks what a publisher hands in, and takes it to the group commit.

use std::sync::Arc;

use uuid::Uuid;

use super::commit::{CommitError, Committer, Submitted};
use crate::clock::Clock;
use crate::code::{Code, Detail, Problem};
use crate::event::{DEFAULT_CONTENT_TYPE, NewEvent, PreparedEvent};
use crate::limits::publish as limits;
use crate::name::{self, InvalidName, StreamName};
use crate::store::{Appended, Expected, Store, StoreError, StreamAppend, Unit};

/// Broken rules that one answer lists; a thousand equal mistakes need no thousand lines.
const BROKEN_RULES_MAX: usize = 20;

/// Events for one stream, appended together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Append {
    pub stream: String,
    pub expected: Expected,
    pub events: Vec<NewEvent>,
}

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("stream name: {0}")]
    StreamName(#[source] InvalidName),
    #[error("an append has 1 to {} events; this one has none", limits::APPEND_EVENTS_MAX)]
    Empty,
    #[error("an append has 1 to {} events; this one has {events}", limits::APPEND_EVENTS_MAX)]
    TooManyEvents { events: usize },
    #[error("an append has at most {} bytes; this one has {bytes}", limits::APPEND_BYTES_MAX)]
    TooManyBytes { bytes: usize },
    #[error("an event's data has at most {} bytes", limits::EVENT_DATA_BYTES_MAX)]
    EventTooLarge(Vec<Detail>),
    #[error("events break the rules; nothing was appended")]
    InvalidEvents(Vec<Detail>),
    #[error("the cause of an event could not be looked up")]
    Store(#[source] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

#[derive(Clone)]
pub struct Publisher {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
}

/// An append on its way to the store, where dropping this does not stop it.
#[derive(Debug)]
pub struct SubmittedAppend(Submitted);

impl SubmittedAppend {
    /// Returns when the events are durable, or turned away.
    pub async fn outcome(self) -> Result<Appended, AppendError> {
        let committed = self.0.outcome().await?;
        Ok(committed.appends.into_iter().next().expect("a unit answers each of its appends"))
    }
}

impl Publisher {
    pub fn new(store: Arc<dyn Store>, committer: Committer, clock: Arc<dyn Clock>) -> Self {
        Self { store, committer, clock }
    }

    /// Returns when the events are durable. Nothing is stored on an error, but for the unknown
    /// outcome that [`CommitError`] names.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.submit(append).await?.outcome().await
    }

    /// Returns when the append is checked and queued; those submitted one after the other are stored
    /// in that order.
    pub async fn submit(&self, append: Append) -> Result<SubmittedAppend, AppendError> {
        let unit = Unit::append(self.prepare(append).await?);
        Ok(SubmittedAppend(self.committer.submit(unit).await?))
    }

    async fn prepare(&self, mut append: Append) -> Result<StreamAppend, AppendError> {
        let stream = StreamName::new(&append.stream).map_err(AppendError::StreamName)?;
        check(&append.events)?;
        self.inherit_origins(&mut append.events).await?;
        let now = self.clock.now();
        let encode = |event: &NewEvent| PreparedEvent::encode(event, &stream, now);
        let events: Arc<[PreparedEvent]> = append.events.iter().map(encode).collect();
        let bytes = events.iter().map(|event| event.body.len()).sum();
        if bytes > limits::APPEND_BYTES_MAX {
            return Err(AppendError::TooManyBytes { bytes });
        }
        Ok(StreamAppend { stream, expected: append.expected, events })
    }

    /// An event that names its cause carries on the cause's workflow, correlation and trace, unless it
    /// brings its own. The cause may stand earlier in the same append, or in the log; one that is not
    /// known is kept as it is.
    async fn inherit_origins(&self, events: &mut [NewEvent]) -> Result<(), AppendError> {
        let needs = |event: &NewEvent| event.origin.correlation_id.is_none() || event.origin.workflow_id.is_none();
        let cause = |event: &NewEvent| Uuid::try_parse(event.origin.causation_id.as_deref()?).ok();
        let wanted: Vec<Uuid> = events.iter().filter(|event| needs(event)).filter_map(cause).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let stored = self.store.find_events(&wanted).await.map_err(AppendError::Store)?;
        for i in 0..events.len() {
            let Some(id) = cause(&events[i]).filter(|_| needs(&events[i])) else { continue };
            if let Some(stored) = stored.iter().find(|event| event.id() == id) {
                events[i].origin.inherit(stored);
            } else if let Some(earlier) = events[..i].iter().find(|earlier| earlier.id == id) {
                let origin = earlier.origin.clone();
                let own = &mut events[i].origin;
                own.workflow_id = own.workflow_id.take().or(origin.workflow_id);
                own.correlation_id = own.correlation_id.take().or(origin.correlation_id);
                own.traceparent = own.traceparent.take().or(origin.traceparent);
            }
        }
        Ok(())
    }
}

/// Checks every event, so that one answer names all that is wrong.
fn check(events: &[NewEvent]) -> Result<(), AppendError> {
    if events.is_empty() {
        return Err(AppendError::Empty);
    }
    if events.len() > limits::APPEND_EVENTS_MAX {
        return Err(AppendError::TooManyEvents { events: events.len() });
    }
    let mut broken = Broken::default();
    for (index, event) in events.iter().enumerate() {
        if event.data.len() > limits::EVENT_DATA_BYTES_MAX {
            let (bytes, max) = (event.data.len(), limits::EVENT_DATA_BYTES_MAX);
            broken.too_large.push(Detail {
                at: format!("events[{index}].data"),
                message: format!("it has {bytes} bytes; the limit is {max}"),
                facts: vec![("bytes", bytes.to_string()), ("limit", max.to_string())],
            });
        }
        check_event(event, index, &mut broken);
    }
    broken.into_result()
}

#[derive(Default)]
struct Broken {
    too_large: Vec<Detail>,
    rules: Vec<Detail>,
    uncounted: usize,
}

impl Broken {
    fn rule(&mut self, index: usize, field: &str, message: impl Into<String>) {
        if self.rules.len() == BROKEN_RULES_MAX {
            self.uncounted += 1;
            return;
        }
        let at = format!("events[{index}].{field}");
        self.rules.push(Detail { at, message: message.into(), facts: Vec::new() });
    }

    fn into_result(mut self) -> Result<(), AppendError> {
        if self.uncounted > 0 {
            let message = format!("{} more rules are broken", self.uncounted);
            self.rules.push(Detail { at: "events".into(), message, facts: Vec::new() });
        }
        self.too_large.truncate(BROKEN_RULES_MAX);
        match (self.too_large.is_empty(), self.rules.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => Err(AppendError::EventTooLarge(self.too_large)),
            (_, false) => {
                self.rules.extend(self.too_large);
                Err(AppendError::InvalidEvents(self.rules))
            }
        }
    }
}

fn check_event(event: &NewEvent, index: usize, broken: &mut Broken) {
    if event.id.is_nil() {
        broken.rule(index, "id", "the nil UUID identifies nothing");
    }
    if let Err(error) = name::check(&event.event_type) {
        broken.rule(index, "type", error.to_string());
    }
    let mut text = |field: &str, value: Option<&String>, bytes_max: usize| {
        let Some(value) = value else { return };
        if value.is_empty() || value.len() > bytes_max {
            broken.rule(index, field, format!("it has {} bytes, where 1 to {bytes_max} are allowed", value.len()));
        } else if value.chars().any(char::is_control) {
            broken.rule(index, field, "it has a control character");
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
        broken.rule(index, "tags", format!("there are {}; the limit is {}", event.tags.len(), limits::TAGS_MAX));
    }
    check_headers(event, index, broken);
    if event.time.is_some_and(|time| !(0..=limits::TIME_US_MAX).contains(&time.0)) {
        broken.rule(index, "time", "it does not lie between 1970 and 9999; is it in microseconds?");
    }
    check_data(event, index, broken);
}

fn check_data(event: &NewEvent, index: usize, broken: &mut Broken) {
    let json = event.content_type.as_deref().is_none_or(|content_type| content_type == DEFAULT_CONTENT_TYPE);
    if !json || event.data.len() > limits::EVENT_DATA_BYTES_MAX {
        return;
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&event.data) {
        broken.rule(index, "data", format!("it is not JSON, as its content type says: {error}"));
        return;
    }
    let depth = json_depth(&event.data);
    if depth > limits::JSON_DEPTH_MAX {
        broken.rule(
            index,
            "data",
            format!("it is nested {depth} levels deep; the limit is {}", limits::JSON_DEPTH_MAX),
        );
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

fn check_headers(event: &NewEvent, index: usize, broken: &mut Broken) {
    let bytes: usize = event.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::HEADERS_BYTES_MAX {
        let max = limits::HEADERS_BYTES_MAX;
        broken.rule(index, "headers", format!("they have {bytes} bytes together; the limit is {max}"));
    }
    for (name, value) in &event.headers {
        if name.is_empty() || name.chars().chain(value.chars()).any(char::is_control) {
            let name = name.escape_debug();
            broken.rule(index, "headers", format!("`{name}`: a name is not empty, and neither has control characters"));
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let message = error.to_string();
        let with = |code, details: Vec<Detail>| Problem { code, message: message.clone(), details };
        match error {
            AppendError::StreamName(name) => Problem::new(Code::InvalidName, message).with("stream", name.to_string()),
            AppendError::Empty => Problem::new(Code::EmptyAppend, message),
            AppendError::TooManyEvents { .. } | AppendError::TooManyBytes { .. } => {
                Problem::new(Code::AppendTooLarge, message)
            }
            AppendError::EventTooLarge(details) => with(Code::EventTooLarge, details),
            AppendError::InvalidEvents(details) => with(Code::InvalidEvent, details),
            AppendError::Store(store) => Problem::from(&store),
            AppendError::Commit(commit) => commit.into(),
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
