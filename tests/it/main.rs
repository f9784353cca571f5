//! Tests over the real binary, its real ports and real components.
//!
//! `tests/run` builds what they need and runs them.

// One binary: `pub` and `pub(crate)` are the same.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, though not in a `#[test]`")]

mod support;

mod append;
mod bad_input;
mod bindings;
mod browser;
mod cdevents;
mod cli;
mod cli_groups;
mod cli_queues;
mod cli_replays;
mod cli_schedules;
mod cli_streams;
mod clients;
mod conditions;
mod contract;
mod determinism;
mod faults;
mod figures;
mod filters;
mod flights;
mod follow;
mod groups;
mod groups_http;
mod hostile;
mod languages;
mod lifecycle;
mod plugin_dev;
mod plugin_kinds;
mod plugin_life;
mod plugin_swaps;
mod plugins;
mod process;
mod projects;
mod queues;
mod read_models;
mod receipts;
mod replays;
mod saga_faces;
mod saga_faults;
mod sagas;
mod schedules;
mod schemas;
mod tidy;
