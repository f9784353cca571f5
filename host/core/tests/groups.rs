//! Consumer groups over the memory store, against a plain reference model.

use std::sync::Arc;

use wasmill_core::group::model;
use wasmill_core::random::seeds;
use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;

#[tokio::test]
async fn random_calls_are_answered_as_by_the_reference_model() {
    for seed in seeds(if std::env::var_os("WASMILL_TEST_LONG").is_some() { 100_000 } else { 8_000 }) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        model::run(seed, 80, async || Arc::clone(&store)).await;
    }
}
