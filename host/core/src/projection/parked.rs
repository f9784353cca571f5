//! Keys whose events a projection passes over, since one of them failed for good.
//!
//! They are documents of the generation, in a collection of the host's own, and written with its checkpoint. A read
//! model that has any is incomplete, which its status tells; a build by a mended revision folds all events again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::event::{Event, Position};
use crate::limits::read;
use crate::own;
use crate::record::GenerationId;
use crate::store::{DocumentChange, Store, StoreError};

const COLLECTION: &str = "$parked";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parked {
    /// Of the event that failed.
    position: u64,
    error: String,
    /// Events that were passed over, the first included.
    events: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ParkedKeys {
    keys: HashMap<String, Parked>,
    /// As they are stored, where they have changed since.
    changed: HashMap<String, Option<Parked>>,
}

impl ParkedKeys {
    pub(crate) async fn load(store: &dyn Store, generation: GenerationId) -> Result<Self, StoreError> {
        let mut keys = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.scan(generation, COLLECTION, "", after.as_deref(), read::LIST_DOCUMENTS_MAX).await?;
            after = page.documents.last().map(|document| document.key.clone());
            for document in page.documents {
                let parked = own::decode_json(&|| format!("the parked key `{}`", document.key), &document.value)?;
                keys.insert(document.key, parked);
            }
            if !page.more {
                return Ok(Self { keys, changed: HashMap::new() });
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Events that were passed over.
    pub(crate) fn events(&self) -> u64 {
        self.keys.values().map(|parked| parked.events).sum()
    }

    /// Passes over the key's events from this one on, which is folded by nobody.
    pub(super) fn park(&mut self, event: &Event, error: &str) {
        let parked = Parked { position: event.position().0, error: error.to_owned(), events: 0 };
        self.remember(key_of(event));
        self.keys.insert(key_of(event).to_owned(), parked);
    }

    /// Whether the event is passed over; it is counted.
    pub(super) fn passes_over(&mut self, event: &Event) -> bool {
        let key = key_of(event);
        if self.keys.get(key).is_none_or(|parked| event.position() < Position(parked.position)) {
            return false;
        }
        self.remember(key);
        if let Some(parked) = self.keys.get_mut(key) {
            parked.events += 1;
        }
        true
    }

    fn remember(&mut self, key: &str) {
        if !self.changed.contains_key(key) {
            self.changed.insert(key.to_owned(), self.keys.get(key).cloned());
        }
    }

    pub(super) fn changes(&self) -> Vec<DocumentChange> {
        let collection: Arc<str> = COLLECTION.into();
        let change = |key: &String| {
            let value = self.keys.get(key).map(|parked| serde_json::to_vec(parked).expect("texts and numbers"));
            DocumentChange { collection: Arc::clone(&collection), key: key.clone(), value: value.map(Bytes::from) }
        };
        self.changed.keys().map(change).collect()
    }

    /// They are stored as they are.
    pub(super) fn settle(&mut self) {
        self.changed.clear();
    }

    /// Back to what is stored, but for keys that were parked since: those stay.
    pub(super) fn discard(&mut self) {
        for (key, stored) in &mut self.changed {
            match (stored, self.keys.get_mut(key)) {
                (Some(stored), Some(parked)) => *parked = stored.clone(),
                (None, Some(parked)) => parked.events = 0,
                (_, None) => {}
            }
        }
    }
}

fn key_of(event: &Event) -> &str {
    event.key().unwrap_or(event.stream())
}
