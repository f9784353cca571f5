//! Upcasters: plugins that lift an event of an old schema version to the next, on its way to a reader.
//!
//! Nothing that is stored changes. Every reader reads through a [`LiftSet`], which is immutable: what all
//! readers use at present is in [`Lifts`]; a projection keeps the one that it was begun with until it is
//! rebuilt, so that its read model is made by one set alone.

pub mod set;
mod upcaster;

use std::sync::{Arc, PoisonError, RwLock};

pub use set::{InvalidLifts, LiftSet};
pub use upcaster::{Parts, Upcaster};

/// The set that readers use at present. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Lifts(Arc<RwLock<Arc<LiftSet>>>);

impl Lifts {
    pub fn current(&self) -> Arc<LiftSet> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, set: Arc<LiftSet>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = set;
    }
}
