//! `env`: real time and random numbers, for handlers and sagas.

use wasmill_core::guest::GuestError;

use crate::sandbox::{RANDOM_BYTES_MAX, Sandbox};
use crate::worlds::v0_1::bindings::wasmill::plugin::env::Host;

impl Host for Sandbox {
    fn now_us(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.clock.now().0).unwrap_or(0))
    }

    fn random(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        if u64::from(len) > RANDOM_BYTES_MAX {
            let what = format!("it asked for {len} random bytes at once; the limit is {RANDOM_BYTES_MAX}");
            return Err(self.end(GuestError::Contract { what }));
        }
        let mut bytes = vec![0; len as usize];
        getrandom::fill(&mut bytes).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        Ok(bytes)
    }
}
