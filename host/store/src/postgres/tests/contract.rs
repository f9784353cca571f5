//! The contract's own suite.

use wasmill_core::store::conformance;

use super::fresh;

#[tokio::test(flavor = "multi_thread")]
async fn the_postgres_store_keeps_the_contract() {
    conformance::run(fresh).await;
}
