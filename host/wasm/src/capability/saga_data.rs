//! `saga-data`: the shared data of one saga, within a step of it.

use wasmill_core::guest::GuestError;

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::saga_data::Host;

impl Host for Sandbox {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.step("saga-data")?.data.get(&key).map(Vec::from))
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<()> {
        let put = self.step("saga-data")?.data.put(key, value.into());
        put.map_err(|error| self.end(GuestError::Data(error)))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        self.step("saga-data")?.data.remove(&key);
        Ok(())
    }

    fn output_of(&mut self, step: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.step("saga-data")?.data.output_of(&step).map(Vec::from))
    }
}
