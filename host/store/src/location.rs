//! Where a store is, as one URL, and opening whatever is there.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;

use crate::postgres::{self, PostgresOptions, PostgresStore};
use crate::sqlite::{self, SqliteOptions, SqliteStore};

/// `memory:`, `sqlite:PATH` or `postgres://...`. It prints without passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// Kept nowhere: for tests and trials.
    Memory,
    Sqlite(PathBuf),
    /// The URL may hold a password.
    Postgres(String),
}

/// What opening needs beside the place.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Connections that read, 1 or more.
    pub readers: u32,
    /// Whether an older database is brought to this binary's version, and a missing one is made.
    pub migrate: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { readers: 4, migrate: true }
    }
}

/// Versions of a database's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// `None` when there are no tables yet.
    pub found: Option<i64>,
    pub newest: i64,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
}

/// A text that is no location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of `memory:`, `sqlite:PATH` and `postgres://user:password@host:port/database`")]
pub struct InvalidLocation;

impl std::str::FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidLocation)?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Location::Memory),
            // sqlite:PATH, and sqlite://PATH as other tools write it.
            "sqlite" => match rest.strip_prefix("//").unwrap_or(rest) {
                "" => Err(InvalidLocation),
                path => Ok(Location::Sqlite(path.into())),
            },
            "postgres" | "postgresql" if postgres::is_url(text) => Ok(Location::Postgres(text.into())),
            _ => Err(InvalidLocation),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Memory => f.write_str("memory:"),
            Location::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Location::Postgres(url) => f.write_str(&postgres::shown(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Location {
    /// Opens the store. Belongs in a Tokio runtime.
    pub async fn open(&self, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
        let OpenOptions { readers, migrate } = options;
        Ok(match self {
            Location::Memory => Arc::new(MemoryStore::default()),
            Location::Sqlite(path) => {
                let options = SqliteOptions { readers, migrate, ..SqliteOptions::at(path) };
                Arc::new(SqliteStore::open(options).await?)
            }
            Location::Postgres(url) => {
                let options = PostgresOptions { readers, migrate, ..PostgresOptions::at(url) };
                Arc::new(PostgresStore::open(options).await?)
            }
        })
    }

    /// Which version the database has; nothing is written to it. `None` for what has no database.
    pub async fn schema_version(&self) -> Result<Option<SchemaVersion>, OpenError> {
        Ok(match self {
            Location::Memory => None,
            Location::Sqlite(path) => Some(sqlite::schema_version(path).await?),
            Location::Postgres(url) => Some(postgres::schema_version(url).await?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_stores() {
        let parse = |text: &str| text.parse::<Location>();
        assert_eq!(parse("memory:"), Ok(Location::Memory));
        assert_eq!(parse("sqlite:a/b.db"), Ok(Location::Sqlite("a/b.db".into())));
        assert_eq!(parse("sqlite:///a/b.db"), Ok(Location::Sqlite("/a/b.db".into())));
        assert!(matches!(parse("postgresql://u@h/d"), Ok(Location::Postgres(_))));
        for wrong in ["", "memory", "memory:x", "sqlite:", "mysql://h/d", "postgres:", "/a/b.db"] {
            assert_eq!(parse(wrong), Err(InvalidLocation), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let location: Location = "postgres://user:geheim@db.example:5433/events?sslmode=require".parse().unwrap();
        assert_eq!(location.to_string(), "postgres://db.example:5433/events");
        assert!(!format!("{location:?}").contains("geheim"));
    }
}
