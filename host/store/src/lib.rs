//! The databases that can stand behind a host, each an implementation of [`wasmill_core::store::Store`].
//!
//! The only crate that knows SQL. What passes and what places events get is decided by
//! `wasmill_core::store::plan`; a backend here loads what the plan has to know and writes what it says.
//! A backend is a folder, split by what is stored (`log`, `streams`, `documents`, `plugins`), with the
//! same file names in each; its tables are in `migrations/`.

mod chunk;
mod guards;
mod heads;
mod location;
mod matches;
mod number;
mod page;
pub mod postgres;
mod removal;
pub mod sqlite;
mod term;
#[cfg(test)]
mod tests;
mod walk;

pub use location::{InvalidLocation, Location, OpenError, OpenOptions, SchemaVersion};
pub use postgres::{PostgresOptions, PostgresStore};
pub use sqlite::{SqliteOptions, SqliteStore};
