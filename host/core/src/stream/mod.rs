//! Streams as things that are looked after: how each is to be treated, and how its events end.

pub mod config;
pub mod configs;
mod cut;
mod effective;
pub mod lifecycle;
pub mod retention;

pub use effective::{Access, Caller, Effective, Keep};
