//! Plugins: what they say of themselves, what they log, and their life cycle.

pub mod descriptor;
pub mod log;
pub mod registry;
