//! What PostgreSQL's error codes mean for the host:
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use wasmill_core::store::StoreError;

/// What stops an operation.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(sqlx::Error),
    Store(StoreError),
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

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => store_error(error),
            Failure::Store(error) => error,
        }
    }
}

/// Another host has appended: raised by `wasmill_move`.
pub(super) const STALE_HEAD: &str = "WM001";
/// The host has another connection, or is not known any more: raised by `wasmill_begin`.
const FENCED: &str = "WM002";

/// For reads, and for writes that are certain not to have been committed.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    if is_lost(&error) {
        return StoreError::Unavailable(error.into());
    }
    match &error {
        sqlx::Error::PoolClosed | sqlx::Error::PoolTimedOut => StoreError::Unavailable(error.into()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            StoreError::Damaged { what: format!("the database: {error}") }
        }
        sqlx::Error::Database(_) => match code(&error).as_deref().unwrap_or_default() {
            // disk_full
            "53100" => StoreError::Full(error.into()),
            // data_corrupted, index_corrupted
            "XX001" | "XX002" => StoreError::Damaged { what: format!("the database: {error}") },
            // read_only_sql_transaction: a standby, or a primary that was demoted
            "25006" => StoreError::Unavailable(error.into()),
            // insufficient_resources, operator_intervention, transaction_rollback, lock_not_available
            class if ["53", "57", "40", "55"].contains(&class.get(..2).unwrap_or_default()) => {
                StoreError::Unavailable(error.into())
            }
            FENCED => StoreError::Unavailable(error.into()),
            _ => StoreError::Failed(error.into()),
        },
        _ => StoreError::Failed(error.into()),
    }
}

/// Whether the connection is gone, so that what was running on it may or may not have happened.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Tls(_) => true,
        // connection_exception; admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout
        sqlx::Error::Database(_) => code(error).is_some_and(|code| {
            code.starts_with("08") || ["57P01", "57P02", "57P03", "57P05", "25P03"].contains(&code.as_str())
        }),
        _ => false,
    }
}

/// Whether the connection is of no use although it is there: nothing was committed, and another connection
/// may find things better.
pub(super) fn is_shut_out(error: &sqlx::Error) -> bool {
    // The host's row is gone, as when it has been silent for long. read_only_sql_transaction: a standby, or
    // a primary that was demoted.
    code(error).is_some_and(|code| [FENCED, "25006"].contains(&code.as_str()))
}

/// Whether a group may pass when it is tried again: another host was faster, or the two were in each
/// other's way.
pub(super) fn is_overtaken(error: &sqlx::Error) -> bool {
    // serialization_failure, deadlock_detected
    code(error).is_some_and(|code| [STALE_HEAD, "40001", "40P01"].contains(&code.as_str()))
}

/// Whether a statement failed because an event id is stored already.
pub(super) fn is_known_event_id(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|database| database.constraint() == Some("event_id_pk"))
}

pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}
