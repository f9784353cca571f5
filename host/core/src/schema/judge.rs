//! Data against the schema of its type and version.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use lru::LruCache;
use serde_json::Value;
use uuid::Uuid;

use super::{cost, document};
use crate::event::{DEFAULT_CONTENT_TYPE, NewEvent};
use crate::limits::schema as limits;

/// What is to be said of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Keeps,
    /// Its type and version have no schema.
    Unknown,
    NotJson,
    Breaks(Vec<Violation>),
}

/// Where data breaks its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A JSON pointer into the data; empty for the whole.
    pub at: String,
    /// What was expected. It never carries the data.
    pub message: String,
}

/// Whether a content type says that data is JSON.
fn is_json(event: &NewEvent) -> bool {
    let Some(content_type) = event.content_type.as_deref() else { return true };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case(DEFAULT_CONTENT_TYPE) || media_type.to_ascii_lowercase().ends_with("+json")
}

pub(super) fn judge_event(schema: &Compiled, event: &NewEvent) -> Judgement {
    if is_json(event) { judge(schema, &event.data) } else { Judgement::NotJson }
}

pub(super) fn judge(schema: &Compiled, text: &[u8]) -> Judgement {
    let Ok(data) = serde_json::from_slice::<Value>(text) else { return Judgement::NotJson };
    if cost::is_too_much(schema.fan, text.len(), &data) {
        let message = format!("it lies too deep: this schema looks at each level in up to {} ways", schema.fan);
        return Judgement::Breaks(vec![Violation { at: String::new(), message }]);
    }
    if schema.validator.is_valid(&data) {
        return Judgement::Keeps;
    }
    let violations = schema.validator.iter_errors(&data).take(limits::VIOLATIONS_MAX).map(|error| Violation {
        at: document::short(&error.instance_path().to_string()),
        message: document::short(&error.masked().to_string()),
    });
    Judgement::Breaks(violations.collect())
}

/// A schema that is ready to judge.
pub(super) struct Compiled {
    pub(super) id: Uuid,
    validator: Validator,
    /// Ways in which it looks at one value more than at what holds the value.
    fan: usize,
    bytes: usize,
}

impl Compiled {
    /// `None` if the text is no schema any more, which cannot be unless the store is damaged.
    pub(super) fn new(id: Uuid, text: &str) -> Option<Self> {
        let schema = serde_json::from_str(text).ok()?;
        let fan = cost::fan(&schema);
        Some(Self { id, validator: document::compile(&schema).ok()?, fan, bytes: text.len() })
    }
}

/// Those that were wanted lately.
pub(super) struct Cache(Mutex<Cached>);

struct Cached {
    compiled: LruCache<(String, u32), Arc<Compiled>>,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self(Mutex::new(Cached { compiled: LruCache::unbounded(), bytes: 0 }))
    }
}

impl Cache {
    pub(super) fn get(&self, event_type: &str, version: u32, id: Uuid) -> Option<Arc<Compiled>> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cached.compiled.get(&(event_type.to_owned(), version))?;
        (found.id == id).then(|| Arc::clone(found))
    }

    pub(super) fn put(&self, event_type: &str, version: u32, compiled: &Arc<Compiled>) {
        // What is dropped is dropped when the lock is free again.
        let mut gone = VecDeque::new();
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.bytes += compiled.bytes;
        gone.extend(cached.compiled.put((event_type.to_owned(), version), Arc::clone(compiled)));
        cached.bytes -= gone.iter().map(|old| old.bytes).sum::<usize>();
        while cached.compiled.len() > limits::CACHED_MAX || cached.bytes > limits::CACHED_BYTES_MAX {
            let Some((_, old)) = cached.compiled.pop_lru() else { break };
            cached.bytes -= old.bytes;
            gone.push_back(old);
        }
        drop(cached);
    }
}
