//! The Wasm room: checks, compiles, limits and runs plugins, behind the traits of
//! [`wasmill_core::guest`].
//!
//! Modules stand in reading order. An upload goes through [`contract`] (does it keep the contract?),
//! `compile` and `cache` (machine code, once), and `worlds` (one module for each world of each
//! version of the contract). What runs then is an instance in a `sandbox`: all that it can reach,
//! and every limit on it. `capability` is what the host gives it, one file each.

mod config;
mod engine;
mod settings;
mod threads;
mod ticker;

mod cache;
mod compile;
mod contract;
mod module;

mod sandbox;

mod capability;
mod worlds;

pub use config::WasmConfig;
pub use engine::{EngineError, WasmEngine};
