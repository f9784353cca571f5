//! The contract's own suite.

use std::cell::Cell;

use wasmill_core::store::conformance;

use super::open;
use super::reopening::Reopening;

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    let next = || directory.path().join(format!("{}.db", count.replace(count.get() + 1)));
    conformance::run(async || open(&next()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_reopened_before_every_call_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    let next = || directory.path().join(format!("{}.db", count.replace(count.get() + 1)));
    conformance::one_caller(async || Reopening::at(&next()).await).await;
}
