//! Sagas over the memory store, with guests that do as they are told and hosts that end anywhere.

#![allow(clippy::unwrap_used, reason = "these are tests, though not in a `#[test]`")]

mod bench;
mod control;
mod faults;
mod shown;
mod waits;
