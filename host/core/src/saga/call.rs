//! What one attempt at a step is given, and what it leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::http::Outgoing;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::handler::outbox::Outbox;
use crate::limits::saga as limits;

/// Doing a step, or undoing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    Execute,
    Compensate,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Execute => "execute",
            Direction::Compensate => "compensate",
        }
    }
}

/// `step-context` of the contract.
#[derive(Clone, Debug)]
pub struct StepContext {
    pub saga_id: String,
    pub saga_type: String,
    pub correlation_id: String,
    pub step: String,
    /// From 1, in this direction of this step.
    pub attempt: u32,
    /// The same for every attempt of this step and direction.
    pub idempotency_key: String,
    /// What the saga was started with.
    pub input: Bytes,
    /// What the step has answered when it completed; only where it is undone, and known.
    pub output: Option<Bytes>,
    /// The event that has woken it, if one did.
    pub woken_by: Option<Event>,
    /// When the attempt is given up.
    pub deadline: Timestamp,
    pub attributes: Vec<(String, String)>,
}

/// What one call of a step works on. It comes back whatever happened.
#[derive(Debug)]
pub struct StepCall {
    pub direction: Direction,
    pub context: StepContext,
    pub data: SagaData,
    /// Its causes are all 0: a saga has no batch.
    pub outbox: Outbox,
    pub http: Arc<Outgoing>,
}

/// What a step answers when it has not failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    Completed(Bytes),
    Suspended(Wait),
}

/// What a suspended step waits for: a time, an event, or whichever comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    pub until: Option<Timestamp>,
    pub event_type: Option<String>,
    /// The event's key; the saga's correlation id where an event is waited for without.
    pub match_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error("a key of saga-data has 1 to {} bytes; this one has {bytes}", limits::DATA_KEY_BYTES_MAX)]
    Key { bytes: usize },
    #[error("the data of one saga has at most {} keys and {} bytes", limits::DATA_KEYS_MAX, limits::DATA_BYTES_MAX)]
    Full,
}

/// The shared data of one saga, and what a step changes of it.
#[derive(Clone, Debug, Default)]
pub struct SagaData {
    values: Arc<BTreeMap<String, Bytes>>,
    /// Outputs of the steps that are completed.
    outputs: Arc<BTreeMap<String, Bytes>>,
    changes: BTreeMap<String, Option<Bytes>>,
}

impl SagaData {
    pub fn new(values: Arc<BTreeMap<String, Bytes>>, outputs: Arc<BTreeMap<String, Bytes>>) -> Self {
        Self { values, outputs, changes: BTreeMap::new() }
    }

    pub fn get(&self, key: &str) -> Option<Bytes> {
        match self.changes.get(key) {
            Some(changed) => changed.clone(),
            None => self.values.get(key).cloned(),
        }
    }

    pub fn put(&mut self, key: String, value: Bytes) -> Result<(), DataError> {
        if key.is_empty() || key.len() > limits::DATA_KEY_BYTES_MAX {
            return Err(DataError::Key { bytes: key.len() });
        }
        let others = self.values.iter().filter(|(other, _)| !self.changes.contains_key(*other));
        let changed = self.changes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let (mut keys, mut bytes) = (1, key.len() + value.len());
        for (_, value) in others.chain(changed).filter(|(other, _)| **other != key) {
            keys += 1;
            bytes += value.len() + limits::DATA_KEY_BYTES_MAX;
        }
        if keys > limits::DATA_KEYS_MAX || bytes > limits::DATA_BYTES_MAX {
            return Err(DataError::Full);
        }
        self.changes.insert(key, Some(value));
        Ok(())
    }

    pub fn remove(&mut self, key: &str) {
        self.changes.insert(key.to_owned(), None);
    }

    pub fn output_of(&self, step: &str) -> Option<Bytes> {
        self.outputs.get(step).cloned()
    }

    /// What was changed: `None` for what was removed.
    pub fn into_changes(self) -> BTreeMap<String, Option<Bytes>> {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reads_its_own_changes_and_the_whole_is_bounded() {
        let before = BTreeMap::from([("a".to_owned(), Bytes::from_static(b"1"))]);
        let mut data = SagaData::new(Arc::new(before), Arc::default());
        assert_eq!(data.get("a").as_deref(), Some(&b"1"[..]));
        data.put("a".into(), Bytes::from_static(b"2")).unwrap();
        data.remove("b");
        assert_eq!(data.get("a").as_deref(), Some(&b"2"[..]));
        let large = Bytes::from(vec![0; limits::DATA_BYTES_MAX]);
        assert_eq!(data.put("c".into(), large), Err(DataError::Full));
        assert_eq!(data.put(String::new(), Bytes::new()), Err(DataError::Key { bytes: 0 }));
        for n in 1..limits::DATA_KEYS_MAX {
            data.put(format!("k{n}"), Bytes::new()).unwrap();
        }
        assert_eq!(data.put("one more".into(), Bytes::new()), Err(DataError::Full));
        data.remove("k1");
        data.put("one more".into(), Bytes::new()).unwrap();
    }
}
