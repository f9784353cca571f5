//! The engine against components: some written by hand here, some hostile ones built of Rust, and the
//! plugin of the demo. One binary, since linking an engine takes longer than running the tests.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers of tests are tests")]

mod support;

mod cache;
mod calls;
mod determinism;
mod fuzz;
mod handlers;
mod hostile;
mod lies;
mod limits;
mod refusals;
mod saga_examples;
mod sagas;
mod upcasters;
mod world;
