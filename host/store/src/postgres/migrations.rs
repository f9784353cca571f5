//! The schema's versions, embedded. Each is applied once, in a transaction, and never edited after a
//! release: its checksum is in the database. While one host migrates, others wait for its lock.

use sqlx::SqlStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;

const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "log", include_str!("../../../../migrations/postgres/0001_log.sql")),
    (2, "append", include_str!("../../../../migrations/postgres/0002_append.sql")),
    (3, "event view", include_str!("../../../../migrations/postgres/0003_event_view.sql")),
];

/// The newest version that this binary knows.
pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

pub(super) fn migrator() -> Migrator {
    let migration = |(version, description, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(MIGRATIONS.map(migration).to_vec())
}

pub(super) async fn migrate(connection: &mut PgConnection) -> Result<(), MigrateError> {
    // `run` would do, but for its `Acquire`: a future that holds it is not seen to be `Send`.
    migrator().run_direct(None, connection, false).await
}
