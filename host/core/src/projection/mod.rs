//! Projections: plugins that fold the log into a read model.

pub mod changes;
pub mod diff;
pub mod field;
pub mod follow;
pub mod generation;
pub mod index;
pub(crate) mod parked;
mod parts;
pub mod query;
pub mod runner;
pub mod state;
