//! Projections: plugins that fold the log into a read model.

pub mod generation;
pub mod query;
pub mod runner;
pub mod state;
