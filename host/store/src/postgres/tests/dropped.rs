//! A caller that goes away in the middle of a commit leaves nothing half done.

use std::time::Duration;

use wasmill_core::record::GenerationId;
use wasmill_core::store::{DocumentStore, PluginStore, Store, Unit};

use super::{NOW, append, fresh, generation, log, place, step};
use wasmill_core::random::{Random, seeds};

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_commit_is_there_in_full_or_not_at_all() {
    for seed in seeds(1) {
        let mut random = Random::new(seed);
        let store = fresh().await;
        store.commit(&[Unit::change(vec![generation(1)])], NOW).await.unwrap().remove(0).unwrap();
        let (mut checkpoint, mut dropped) = (0, 0);
        for n in 0..100 {
            let unit = Unit { changes: step(1, checkpoint), ..append("s", n * 2, 2) };
            let wait = Duration::from_micros(random.below(2_000));
            let answered = tokio::time::timeout(wait, store.commit(&[unit], NOW)).await;
            dropped += u32::from(answered.is_err());
            // The next one waits for what still runs.
            let next = place(&store, &append("t", n * 2 + 1, 1)).await.unwrap();
            let stored = log(&store).await;
            let events = stored.iter().filter(|event| event.id().as_u128() >> 16 == n * 2).count();
            let document = store.document(GenerationId(1), "c", &checkpoint.to_string()).await.unwrap().is_some();
            let moved = store.generations().await.unwrap()[0].checkpoint.0 == checkpoint + 1;
            assert!(
                [(0, false, false), (2, true, true)].contains(&(events, document, moved)),
                "{events} events of 2, document: {document}, checkpoint: {moved}"
            );
            assert!(moved || answered.is_err(), "what was answered is there");
            assert_eq!(next.first_position.0 + 1, stored.len() as u64, "and no position is lost");
            checkpoint += u64::from(moved);
        }
        assert!(dropped > 0, "some were dropped");
    }
}
