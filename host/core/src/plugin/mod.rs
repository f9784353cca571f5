//! Plugins: what they say of themselves, what they log, and their life cycle.

pub mod deploy;
pub mod descriptor;
mod lead;
pub mod log;
pub mod registry;
pub(crate) mod rules;
pub(crate) mod swap;
