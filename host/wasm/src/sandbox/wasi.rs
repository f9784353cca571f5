//! WASI 0.2, virtualised: every interface is there, since interpreters import them all, and none of
//! them leads out. No files, no network, no arguments, no environment.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::clock::Clock;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

use super::RANDOM_BYTES_MAX;
use super::output::Output;
use super::still::{FixedRandom, StillClock};

/// For projections and upcasters: nothing in it changes from run to run.
pub(super) fn still(output: &Output) -> WasiCtx {
    WasiCtx::builder()
        .stdout(output.stdout())
        .stderr(output.stderr())
        .wall_clock(StillClock)
        .monotonic_clock(StillClock)
        .secure_random(FixedRandom::new(FixedRandom::SECURE_SEED))
        .insecure_random(FixedRandom::new(FixedRandom::INSECURE_SEED))
        .insecure_random_seed(FixedRandom::HASH_SEED)
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// For handlers and sagas: the host's time, and random numbers that nobody knows beforehand.
pub(super) fn live(output: &Output, clock: &Arc<dyn Clock>) -> WasiCtx {
    WasiCtx::builder()
        .stdout(output.stdout())
        .stderr(output.stderr())
        .wall_clock(HostClock(Arc::clone(clock)))
        .monotonic_clock(HostClock(Arc::clone(clock)))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// It ticks in microseconds, and never before 1970.
struct HostClock(Arc<dyn Clock>);

impl HostClock {
    fn now_us(&self) -> u64 {
        u64::try_from(self.0.now().0).unwrap_or(0)
    }
}

impl HostWallClock for HostClock {
    fn resolution(&self) -> Duration {
        Duration::from_micros(1)
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.now_us())
    }
}

impl HostMonotonicClock for HostClock {
    fn resolution(&self) -> u64 {
        1_000
    }

    fn now(&self) -> u64 {
        self.now_us().saturating_mul(1_000)
    }
}
