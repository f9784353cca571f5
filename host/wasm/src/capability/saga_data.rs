//! `saga-data`: the shared data of one saga, within a step of it.

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::saga_data::Host;

/// No step is running: a saga is loaded, checked and described so far.
fn no_step<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg("saga-data is only there within a step"))
}

impl Host for Sandbox {
    fn get(&mut self, _key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        no_step()
    }

    fn put(&mut self, _key: String, _value: Vec<u8>) -> wasmtime::Result<()> {
        no_step()
    }

    fn remove(&mut self, _key: String) -> wasmtime::Result<()> {
        no_step()
    }

    fn output_of(&mut self, _step: String) -> wasmtime::Result<Option<Vec<u8>>> {
        no_step()
    }
}
