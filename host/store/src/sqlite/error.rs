//! What SQLite's result codes mean for the host: <https://sqlite.org/rescode.html>.

use std::path::Path;

use sqlx::error::DatabaseError;
use wasmill_core::store::StoreError;

/// What stops an operation, before the file's name is put to it.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl Failure {
    pub(super) fn of(self, file: &Path) -> StoreError {
        match self {
            Failure::Sql(error) => store_error(file, error),
            Failure::Store(StoreError::Damaged { what }) => damaged(file, &what),
            Failure::Store(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

const ERROR: u32 = 1;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const NOT_A_DATABASE: u32 = 26;
/// Extended code of a failed fsync or fdatasync.
const IO_ERROR_OF_SYNC: u32 = 1034;
/// Extended code of a violated primary key.
const CONSTRAINT_PRIMARY_KEY: u32 = 1555;

/// Everything not named here leaves the outcome of a write unknown: an I/O error above all, since a
/// failed fsync may have dropped what a later one reports as written.
pub(super) fn store_error(file: &Path, error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolClosed | sqlx::Error::PoolTimedOut => StoreError::Unavailable(error.into()),
        sqlx::Error::Database(database) => match primary_code(&**database) {
            BUSY | LOCKED => StoreError::Unavailable(error.into()),
            FULL => StoreError::Full(error.into()),
            CORRUPT | NOT_A_DATABASE => damaged(file, database.message()),
            _ if extended_code(&**database) == IO_ERROR_OF_SYNC => {
                failed(file, &format!("what was written could not be synced to the disk: {error}"))
            }
            _ => failed(file, &error.to_string()),
        },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => damaged(file, &error.to_string()),
        _ => failed(file, &error.to_string()),
    }
}

fn failed(file: &Path, what: &str) -> StoreError {
    StoreError::Failed(format!("{}: {}", file.display(), in_one_line(what)).into())
}

pub(super) fn damaged(file: &Path, what: &str) -> StoreError {
    StoreError::Damaged { what: format!("{}: {}", file.display(), in_one_line(what)) }
}

/// SQLite quotes the whole text of a table that it cannot make sense of.
fn in_one_line(what: &str) -> String {
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a statement failed because an event id is stored already.
pub(super) fn is_known_event_id(error: &sqlx::Error) -> bool {
    let Some(database) = error.as_database_error() else { return false };
    extended_code(database) == CONSTRAINT_PRIMARY_KEY && database.message().contains("event_id.id")
}

/// Whether a rollback failed because SQLite had rolled back by itself, as it does on a full disk.
pub(super) fn is_no_transaction(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| primary_code(database) == ERROR)
}

/// Whether the file contradicts itself, or is no database at all.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        error => {
            let database = error.as_database_error();
            database.is_some_and(|database| matches!(primary_code(database), CORRUPT | NOT_A_DATABASE))
        }
    }
}

pub(super) fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| primary_code(database) == FULL)
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| matches!(primary_code(database), BUSY | LOCKED))
}

fn primary_code(database: &dyn DatabaseError) -> u32 {
    extended_code(database) & 0xff
}

/// sqlx gives the extended code as text.
fn extended_code(database: &dyn DatabaseError) -> u32 {
    database.code().and_then(|code| code.parse().ok()).unwrap_or_default()
}
