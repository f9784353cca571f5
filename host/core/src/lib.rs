//! The heart of Wasmill: the vocabulary, the log, and everything derived from it.
//!
//! Modules stand in reading order. Nothing here names a database, a Wasm engine or a network
//! protocol: those live in `host/store`, `host/wasm` and `host/server` and come in through the
//! traits of [`store`] and [`guest`].

pub mod clock;
pub mod code;
pub mod limits;
pub mod name;

pub mod event;
pub mod wire;

pub mod store;

pub mod log;
pub mod log_id;
pub mod metrics;
mod own;
pub mod random;
pub mod record;
pub mod tasks;
mod timer;

pub mod schema;
pub mod stream;

pub mod group;
pub mod receipt;
pub mod schedule;

pub mod guest;
pub mod handler;
pub mod plugin;
pub mod projection;
pub mod replay;
pub mod saga;
pub mod upcast;

pub mod host;
pub mod principal;
