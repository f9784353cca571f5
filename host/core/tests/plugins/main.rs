//! Handlers, upcasters and the life cycle of plugins over the memory store, with guests written in Rust.

#![allow(clippy::unwrap_used, reason = "these are tests, though not in a `#[test]`")]

mod handlers;
mod support;
mod swaps;
mod upcasters;
