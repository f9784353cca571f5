//! The contract's own suite.

use crate::sqlite::{SqliteOptions, SqliteStore};

#[tokio::test]
async fn the_sqlite_store_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    wasmill_core::store::conformance::run(async || {
        count.set(count.get() + 1);
        let path = directory.path().join(format!("{}.db", count.get()));
        SqliteStore::open(SqliteOptions::at(path)).await.unwrap()
    })
    .await;
}
