//! The documents of one collection that a batch has touched.

use std::any::Any;
use std::mem;

use serde::Serialize;

use super::Document;
use super::index::Index;
use crate::{Failure, host, json};

/// In order of first touch, so that what the host sees does not depend on a hash.
pub(super) struct Documents {
    collection: &'static str,
    slots: Vec<Slot>,
    index: Index,
}

pub(super) struct Slot {
    key: String,
    content: Content,
    changed: bool,
}

enum Content {
    /// Not asked for yet.
    Unread,
    Absent,
    Bytes(Vec<u8>),
    Parsed(Box<dyn Parsed>),
}

impl Documents {
    pub(super) fn new(collection: &'static str) -> Self {
        Self { collection, slots: Vec::new(), index: Index::default() }
    }

    pub(super) fn collection(&self) -> &'static str {
        self.collection
    }

    pub(super) fn slot(&mut self, key: &str) -> &mut Slot {
        let place = self.index.find_or_insert(key, &self.slots);
        if place == self.slots.len() {
            self.slots.push(Slot { key: key.to_owned(), content: Content::Unread, changed: false });
        }
        &mut self.slots[place]
    }

    /// The document under `key`, if it has been read and parsed as a `T`.
    pub(super) fn parsed<T: Document>(&self, key: &str) -> Option<&T> {
        let place = self.index.find(key, &self.slots)?;
        match &self.slots[place].content {
            Content::Parsed(document) => document.as_any().downcast_ref(),
            Content::Unread | Content::Absent | Content::Bytes(_) => None,
        }
    }

    /// Reads every slot that has not been, in one call of the host.
    pub(super) fn fetch(&mut self) {
        let mut unread: Vec<&mut Slot> = self.slots.iter_mut().filter(|slot| slot.is_unread()).collect();
        if unread.is_empty() {
            return;
        }
        // The keys are lent to the call, since copying them would cost as much as the rest of this.
        let keys: Vec<String> = unread.iter_mut().map(|slot| mem::take(&mut slot.key)).collect();
        let documents = host::get_many(self.collection, &keys);
        for ((slot, key), document) in unread.into_iter().zip(keys).zip(documents) {
            slot.key = key;
            slot.fill(document);
        }
    }

    /// Hands every change to the host and forgets everything.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        let mut entries = Vec::new();
        for slot in self.slots.drain(..).filter(|slot| slot.changed) {
            match slot.content {
                Content::Bytes(bytes) => entries.push((slot.key, bytes)),
                Content::Parsed(document) => {
                    let bytes = document.to_bytes(self.collection, &slot.key)?;
                    entries.push((slot.key, bytes));
                }
                Content::Absent => host::remove(self.collection, &slot.key),
                Content::Unread => {}
            }
        }
        self.index = Index::default();
        if !entries.is_empty() {
            host::put_many(self.collection, entries);
        }
        Ok(())
    }
}

impl Slot {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn is_unread(&self) -> bool {
        matches!(self.content, Content::Unread)
    }

    /// Takes what the host holds.
    pub(super) fn fill(&mut self, document: Option<Vec<u8>>) {
        self.content = document.map_or(Content::Absent, Content::Bytes);
    }

    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        self.content = Content::Bytes(bytes);
        self.changed = true;
    }

    pub(super) fn remove(&mut self) {
        self.content = Content::Absent;
        self.changed = true;
    }

    pub(super) fn bytes(&mut self, collection: &str) -> Result<Option<&[u8]>, Failure> {
        if let Content::Parsed(document) = &self.content {
            self.content = Content::Bytes(document.to_bytes(collection, &self.key)?);
        }
        match &self.content {
            Content::Bytes(bytes) => Ok(Some(bytes)),
            Content::Unread | Content::Absent | Content::Parsed(_) => Ok(None),
        }
    }

    /// The document as a `T`, parsed on first use.
    pub(super) fn document<T: Document>(&mut self, collection: &str) -> Result<Option<&mut T>, Failure> {
        // One collection used with two types: the second reads what the first would write.
        if let Content::Parsed(document) = &self.content
            && !document.as_any().is::<T>()
        {
            self.content = Content::Bytes(document.to_bytes(collection, &self.key)?);
        }
        if let Content::Bytes(bytes) = &self.content {
            let document: T = from_bytes(bytes, collection, &self.key)?;
            self.content = Content::Parsed(Box::new(document));
        }
        match &mut self.content {
            Content::Parsed(document) => Ok(document.as_any_mut().downcast_mut()),
            Content::Unread | Content::Absent | Content::Bytes(_) => Ok(None),
        }
    }

    /// The document as a `T`, to be changed.
    pub(super) fn document_to_change<T: Document + Default>(&mut self, collection: &str) -> Result<&mut T, Failure> {
        if let Content::Absent = self.content {
            self.content = Content::Parsed(Box::new(T::default()));
        }
        self.changed = true;
        Ok(self.document(collection)?.expect("an absent document has just been made"))
    }
}

/// A parsed document of a type that the cache does not know.
trait Parsed {
    fn to_bytes(&self, collection: &str, key: &str) -> Result<Vec<u8>, Failure>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Document> Parsed for T {
    fn to_bytes(&self, collection: &str, key: &str) -> Result<Vec<u8>, Failure> {
        to_bytes(self, collection, key)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

pub(super) fn to_bytes<T: Serialize>(document: &T, collection: &str, key: &str) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(document).map_err(|error| {
        Failure::halt("document.unwritable", format!("the document `{key}` of `{collection}`: {error}"))
    })
}

pub(super) fn from_bytes<T: Document>(bytes: &[u8], collection: &str, key: &str) -> Result<T, Failure> {
    json::from_bytes(bytes).map_err(|error| {
        Failure::halt("document.malformed", format!("the document `{key}` of `{collection}`: {error}"))
    })
}
