//! `state`: the documents of a projection, through core's overlay and cache. What is known answers at
//! once; only a miss awaits the store. The guest never sees a storage error: its call ends.

use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::guest::GuestError;
use wasmill_core::projection::state::{State, StateError};

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::state::{Entry, Host, Page};

impl Host for Sandbox {
    async fn get(&mut self, collection: String, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let value = self.state()?.get(&collection, &key).await;
        Ok(self.or_end(value)?.map(Vec::from))
    }

    async fn get_many(&mut self, collection: String, keys: Vec<String>) -> wasmtime::Result<Vec<Option<Vec<u8>>>> {
        let values = self.state()?.get_many(&collection, &keys).await;
        let values = self.or_end(values)?;
        self.check_room(&values)?;
        Ok(values.into_iter().map(|value| value.map(Vec::from)).collect())
    }

    fn put_many(&mut self, collection: String, entries: Vec<Entry>) -> wasmtime::Result<()> {
        let state = self.state()?;
        let put = |entry: Entry| state.put(&collection, &entry.key, Some(entry.value.into()));
        let all = entries.into_iter().try_for_each(put);
        self.or_end(all)
    }

    fn put(&mut self, collection: String, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        let put = self.state()?.put(&collection, &key, Some(value.into()));
        self.or_end(put)
    }

    fn remove(&mut self, collection: String, key: String) -> wasmtime::Result<()> {
        let removed = self.state()?.put(&collection, &key, None);
        self.or_end(removed)
    }

    async fn scan(
        &mut self,
        collection: String,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Page> {
        let page = self.state()?.scan(&collection, &prefix, after.as_deref(), limit as usize).await;
        let page = self.or_end(page)?;
        let entry = |document: wasmill_core::store::Document| Entry { key: document.key, value: document.value.into() };
        Ok(Page { entries: page.entries.into_iter().map(entry).collect(), next_after: page.next_after })
    }
}

impl Sandbox {
    pub(super) fn state(&mut self) -> wasmtime::Result<&mut State> {
        let none = || wasmtime::Error::msg("an upcaster has no state");
        self.work("state")?.state.as_mut().ok_or_else(none)
    }

    /// One large document under a million names costs the guest little and the host all it has.
    pub(super) fn check_room(&mut self, values: &[Option<Bytes>]) -> wasmtime::Result<()> {
        let bytes = values.iter().flatten().map(Bytes::len).sum::<usize>();
        let room = self.memory_bytes_max();
        if bytes <= room {
            return Ok(());
        }
        Err(self.end(GuestError::OutOfMemory { asked_bytes: bytes as u64, limit_bytes: room as u64 }))
    }

    pub(super) fn or_end<T>(&mut self, result: Result<T, StateError>) -> wasmtime::Result<T> {
        result.map_err(|error| self.end(GuestError::State(Arc::new(error))))
    }
}
