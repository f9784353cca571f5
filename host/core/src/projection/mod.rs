//! Projections: plugins that fold the log into a read model.

pub mod query;
pub mod runner;
pub mod state;
