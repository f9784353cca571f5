//! A store whose commits fail when they are told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::store::wrapped::Wrapped;
use crate::store::{Committed, Rejection, Store, StoreError, Unit};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fault {
    None,
    /// The next commit is not stored, and says so.
    Before,
    /// The next commit is stored, and the answer is lost.
    After,
    /// Nothing is stored any more: the host is dead.
    Dead,
}

pub(super) struct Faulty {
    store: Arc<dyn Store>,
    fault: AtomicU8,
}

impl Faulty {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, fault: AtomicU8::new(Fault::None as u8) }
    }

    pub(super) fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    pub(super) fn fault(&self) -> Fault {
        let fault = self.fault.load(Ordering::SeqCst);
        [Fault::Before, Fault::After, Fault::Dead].into_iter().find(|f| *f as u8 == fault).unwrap_or(Fault::None)
    }
}

#[async_trait]
impl Wrapped for Faulty {
    fn wrapped(&self) -> &dyn Store {
        &*self.store
    }

    /// A host of its own: with others it would have to wait until its earlier life is taken for dead.
    fn is_shared(&self) -> bool {
        false
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        match self.fault() {
            Fault::None => self.store.commit(units, now).await,
            Fault::Dead => Err(StoreError::Unavailable("the host is dead".into())),
            Fault::Before => {
                self.set(Fault::None);
                Err(StoreError::Unavailable("a fault was injected".into()))
            }
            Fault::After => {
                self.set(Fault::None);
                self.store.commit(units, now).await?;
                Err(StoreError::Unknown("a fault was injected".into()))
            }
        }
    }
}
