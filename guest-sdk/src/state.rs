//! The documents of a projection, as one batch sees them.
//!
//! A call of the host costs about as much as folding a small event, and so does parsing a document.
//! Batches touch the same documents again and again, so each is read, parsed, serialised and written
//! once a batch: changes stay here until the batch ends. Nothing outlives the batch, since the host
//! may roll it back.

mod cache;
mod index;
mod scan;

use std::ptr;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use scan::{Page, Scan};

use crate::{Collection, Failure, host};
use cache::{Documents, Slot};

/// What can be a document: anything that serde writes and reads as JSON.
pub trait Document: Serialize + DeserializeOwned + 'static {}
impl<T: Serialize + DeserializeOwned + 'static> Document for T {}

/// The documents of a plugin. It reads its own writes; the host never shows an error of its storage
/// here but ends the call.
///
/// Every method fails with `document.malformed` (halt) when a stored document is not of the type of
/// its collection, which is what a changed type without a rebuild comes to.
#[derive(Default)]
pub struct State {
    /// A handful, so that looking through them is faster than a map.
    collections: Vec<Documents>,
}

impl State {
    /// The document under `key`, where there is one.
    ///
    /// # Errors
    /// `document.malformed`.
    pub fn get<T: Document>(&mut self, collection: &Collection<T>, key: &str) -> Result<Option<&T>, Failure> {
        Ok(self.slot(collection, key).document(collection.name())?.map(|document| &*document))
    }

    /// The documents under `keys`, in their order; those not yet read come from the host in one call.
    ///
    /// # Errors
    /// `document.malformed`.
    pub fn get_many<T: Document>(
        &mut self,
        collection: &Collection<T>,
        keys: &[&str],
    ) -> Result<Vec<Option<&T>>, Failure> {
        let mut prefetch = self.prefetch();
        for key in keys {
            prefetch.document(collection, key);
        }
        prefetch.fetch();
        let documents = self.documents(collection.name());
        for key in keys {
            documents.slot(key).document::<T>(collection.name())?;
        }
        let documents = &*documents;
        Ok(keys.iter().map(|key| documents.parsed(key)).collect())
    }

    /// Changes the document under `key`, which begins as its type's default.
    ///
    /// # Errors
    /// `document.malformed`.
    pub fn update<T: Document + Default, R>(
        &mut self,
        collection: &Collection<T>,
        key: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Failure> {
        Ok(change(self.slot(collection, key).document_to_change(collection.name())?))
    }

    /// Sets the document under `key`, without reading what was there.
    ///
    /// # Errors
    /// `document.unwritable` (halt) when it cannot be written as JSON, e.g. a map whose keys are not
    /// strings.
    pub fn put<T: Document>(&mut self, collection: &Collection<T>, key: &str, document: &T) -> Result<(), Failure> {
        let bytes = cache::to_bytes(document, collection.name(), key)?;
        self.put_bytes(collection, key, bytes);
        Ok(())
    }

    /// Removes the document under `key`, if there is one.
    pub fn remove<T>(&mut self, collection: &Collection<T>, key: &str) {
        self.documents(collection.name()).slot(key).remove();
    }

    /// The bytes of a document, whatever they are.
    ///
    /// # Errors
    /// `document.unwritable`, when an earlier change to it cannot be written.
    pub fn get_bytes<T>(&mut self, collection: &Collection<T>, key: &str) -> Result<Option<&[u8]>, Failure> {
        self.slot(collection, key).bytes(collection.name())
    }

    /// Sets a document to bytes, which need not be JSON.
    pub fn put_bytes<T>(&mut self, collection: &Collection<T>, key: &str, bytes: Vec<u8>) {
        self.documents(collection.name()).slot(key).put(bytes);
    }

    /// The documents whose keys begin with `prefix`, in the byte order of their keys. They are read
    /// from the host a page at a time as the iterator goes on.
    ///
    /// # Errors
    /// `document.unwritable`: changes so far are written first, so that the scan sees them.
    pub fn scan<T: Document>(&mut self, collection: &Collection<T>, prefix: &str) -> Result<Scan<'_, T>, Failure> {
        self.write()?;
        Ok(Scan::new(collection.name(), prefix))
    }

    /// One page of a scan: up to `limit` documents whose keys come after `after`.
    ///
    /// # Errors
    /// `document.unwritable`, and `document.malformed`.
    pub fn scan_page<T: Document>(
        &mut self,
        collection: &Collection<T>,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<T>, Failure> {
        self.write()?;
        scan::page(collection.name(), prefix, after, limit)
    }

    pub(crate) fn prefetch(&mut self) -> Prefetch<'_> {
        Prefetch { state: self }
    }

    /// Hands every change to the host, and forgets what was read. One call a collection for all that is
    /// put, and one for each that is removed: the contract has no other way.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        for documents in &mut self.collections {
            documents.write()?;
        }
        Ok(())
    }

    /// The place of a document, read from the host if it has not been.
    fn slot<T>(&mut self, collection: &Collection<T>, key: &str) -> &mut Slot {
        let slot = self.documents(collection.name()).slot(key);
        if slot.is_unread() {
            slot.fill(host::get(collection.name(), key));
        }
        slot
    }

    fn documents(&mut self, collection: &'static str) -> &mut Documents {
        // A collection is a constant, so its name is nearly always the same string in memory too.
        let is_same = |documents: &Documents| ptr::eq(documents.collection(), collection);
        let is_equal = |documents: &Documents| documents.collection() == collection;
        let known = self.collections.iter().position(is_same);
        let known = known.or_else(|| self.collections.iter().position(is_equal));
        let place = known.unwrap_or_else(|| {
            self.collections.push(Documents::new(collection));
            self.collections.len() - 1
        });
        &mut self.collections[place]
    }
}

/// Collects the documents that a batch will read; see [`Projection::documents`](crate::Projection::documents).
pub struct Prefetch<'a> {
    state: &'a mut State,
}

impl Prefetch<'_> {
    /// Names a document. Naming one twice costs next to nothing.
    pub fn document<T>(&mut self, collection: &Collection<T>, key: &str) {
        self.state.documents(collection.name()).slot(key);
    }

    pub(crate) fn fetch(self) {
        for documents in &mut self.state.collections {
            documents.fetch();
        }
    }
}
