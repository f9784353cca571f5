//! A world that stands still, for projections and upcasters: their time is the events' time, and the
//! same events have to give the same bytes.
//!
//! A clock that follows the batch would not do: batch boundaries and the lives of instances differ
//! between live running and a rebuild, and an interpreter seeds its own generators from what it finds
//! at its start. So both clocks stand at 0 for ever, and random numbers are the same sequence in each
//! new instance. Neither may change between releases.

use std::convert::Infallible;
use std::time::Duration;

use rand_core::TryRng;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::Sandbox;

pub(super) struct StillClock;

impl HostWallClock for StillClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StillClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        0
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014), written out so that no release of a library changes it.
pub(super) struct FixedRandom {
    state: u64,
}

impl FixedRandom {
    pub(super) const SECURE_SEED: u64 = 0x7761_736d_696c_6c01;
    pub(super) const INSECURE_SEED: u64 = 0x7761_736d_696c_6c02;
    /// What `wasi:random/insecure-seed` answers.
    pub(super) const HASH_SEED: u128 = 0x7761_736d_696c_6c03;

    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl TryRng for FixedRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A sleep would never end where time stands still, and hold an instance where it does not; no deadline runs
/// while a guest waits.
pub(crate) fn forbid_timers(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    // The host's version of the interface, whatever the guest's: another would hide the whole
    // interface from guests of exactly that version.
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    for timer in ["subscribe-duration", "subscribe-instant"] {
        clock.func_wrap(timer, |_: StoreContextMut<'_, Sandbox>, (_,): (u64,)| {
            Err::<(Resource<DynPollable>,), _>(wasmtime::Error::msg("timers are not available to plugins: a projection's time is its events', a handler asks to be retried later"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_never_changes() {
        // The published test vector of SplitMix64 for seed 1234567.
        let mut random = FixedRandom::new(1234567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }
}
