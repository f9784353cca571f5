//! WASI 0.2, virtualised: every interface is there, since interpreters import them all, and none of
//! them leads out. No files, no network, no arguments, no environment.

use wasmtime_wasi::WasiCtx;

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
