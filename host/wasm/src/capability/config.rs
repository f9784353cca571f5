//! `config`: fixed for the life of a revision.

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::config::Host;

impl Host for Sandbox {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        let found = self.config.iter().find(|(name, _)| *name == key);
        Ok(found.map(|(_, value)| value.clone()))
    }

    fn get_all(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.config.to_vec())
    }
}
