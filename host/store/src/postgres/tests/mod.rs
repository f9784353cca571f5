//! The PostgreSQL store beside the contract, and what only a server can show.

mod contract;
mod opening;
mod view;

use wasmill_test_postgres::shared;

use super::{PostgresOptions, PostgresStore};

/// A store in a database of its own.
async fn fresh() -> PostgresStore {
    let url = tokio::task::spawn_blocking(|| shared().create_database()).await.expect("a database is made");
    open(&url).await
}

async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(PostgresOptions::at(url)).await.expect("the database opens")
}
