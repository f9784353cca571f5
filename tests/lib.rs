//! The guests that tests need, built with this crate; the tests over the whole host are in `it/`.

use std::path::PathBuf;

/// The component of a guest: `flights`, `cdevents`, `test-guest` or the name of one of its variants, `test-handler`,
/// `test-saga`, `test-upcaster`, or one of `plugins/examples-rust`.
pub fn guest(name: &str) -> PathBuf {
    PathBuf::from(env!("GUESTS")).join(name).with_extension("wasm")
}
