//! The log over the memory store, with a clock that is the tests' own.

#![allow(clippy::unwrap_used, reason = "these are tests, though not in a `#[test]`")]

mod configs;
mod following;
mod groups;
mod lifecycle;
mod others;
mod receipts;
mod replays;
mod retention;
mod schedules;
mod schemas;
mod shared;
mod support;
mod transactions;
