//! A caller that goes away in the middle of a call leaves nothing half done.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmill_core::event::Position;
use wasmill_core::log::filter::Filter;
use wasmill_core::record::GenerationId;
use wasmill_core::store::{Change, Direction, DocumentStore, LogStore, PluginStore, Store, Unit};

use super::{ALL, NOW, advance, append, commit, event, generation, ids, open, put, scratch};
use wasmill_core::random::{Random, seeds};

/// Polls the future up to `polls` times, with time for other tasks between, and drops it.
async fn abandon<T>(future: impl Future<Output = T>, polls: u64) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn a_dropped_commit_is_there_in_full_or_not_at_all() {
    for seed in seeds(3) {
        let mut random = Random::new(seed);
        let (_directory, path) = scratch();
        let store = open(&path).await;
        commit(&store, Unit::change(vec![Change::CreateGeneration(generation(1))])).await.unwrap();
        let mut checkpoint = 0;
        for n in 0..100 {
            let mut unit = append("s", [event("s", n * 2, "x"), event("s", n * 2 + 1, "x")]);
            unit.changes = vec![put(1, &n.to_string(), "v"), advance(1, checkpoint, checkpoint + 1)];
            let polls = random.below(400);
            let answered = abandon(store.commit(&[unit], NOW), polls).await.is_some();
            // The next one waits for what still runs.
            let next = commit(&store, append("t", [event("t", 10_000 + n, "x")])).await.unwrap();
            let stored = ids(&store).await;
            let events = stored.iter().filter(|id| **id / 2 == n).count();
            let document = store.document(GenerationId(1), "c", &n.to_string()).await.unwrap().is_some();
            let moved = store.generations().await.unwrap()[0].checkpoint.0 == checkpoint + 1;
            assert!(
                [(0, false, false), (2, true, true)].contains(&(events, document, moved)),
                "{events} events of 2, document: {document}, checkpoint: {moved}"
            );
            assert!(moved || !answered, "what was answered is there");
            assert_eq!(next.appends[0].first_position.0 + 1, stored.len() as u64, "and no position is lost");
            checkpoint += u64::from(moved);
        }
    }
}

#[tokio::test]
async fn a_dropped_read_gives_its_connection_back() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    for n in 0..200 {
        commit(&store, append("s", [event("s", n, vec![7; 2_000])])).await.unwrap();
    }
    for polls in 0..200 {
        abandon(store.read_log(Position(0), Direction::Forward, &Filter::default(), ALL), polls).await;
    }
    assert_eq!(ids(&store).await.len(), 200);
}
