//! Plugins: what they say of themselves, what they log, and their life cycle.

pub(crate) mod capability;
pub mod deploy;
mod deploying;
pub mod descriptor;
pub mod difference;
mod lead;
mod lifting;
pub mod log;
pub mod registry;
pub(crate) mod rules;
mod running;
pub(crate) mod saga;
mod sample;
pub mod settings;
pub mod setup;
pub mod status;
pub(crate) mod swap;
pub mod trial;
pub mod verify;
