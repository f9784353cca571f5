//! Consumer groups over databases, against core's reference model.

use std::sync::Arc;

use wasmill_core::group::model;
use wasmill_core::random::seeds;
use wasmill_core::store::Store;
use wasmill_test_postgres::shared;

use super::is_long;
use super::same::Database;

#[tokio::test]
async fn random_calls_on_sqlite_are_answered_as_by_the_reference_model() {
    for seed in seeds(if is_long() { 1_000 } else { 60 }) {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        let database = Database::Sqlite(directory.path().join("wasmill.db"));
        model::run(seed, 80, async || Arc::from(database.open().await) as Arc<dyn Store>).await;
    }
}

#[tokio::test]
async fn random_calls_on_postgres_are_answered_as_by_the_reference_model() {
    for seed in seeds(if is_long() { 300 } else { 15 }) {
        let url = tokio::task::spawn_blocking(|| shared().create_database()).await.expect("a database is made");
        let database = Database::Postgres(url);
        model::run(seed, 80, async || Arc::from(database.open().await) as Arc<dyn Store>).await;
    }
}
