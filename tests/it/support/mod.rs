//! What the tests share: a host process, clients, and the flights.

pub mod flights;
pub mod host;
pub mod raw;
pub mod rng;

pub use host::TestHost;

use std::path::PathBuf;

/// The root of the checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// Whether the long form was asked for (`tests/run --long`).
pub fn long() -> bool {
    std::env::var_os("WASMILL_TEST_LONG").is_some()
}
