//! What is there again after a restart: everything.

use wasmill_core::event::{Offset, Position};
use wasmill_core::name::StreamName;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::record::{GenerationId, GenerationState, RevisionRecord};
use wasmill_core::store::{Change, DocumentStore, LogStore, PluginStore, Rejection, Store, Unit};

use super::{NOW, advance, append, commit, event, generation, ids, log, open, put, scratch};

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    let revision = RevisionRecord {
        plugin: "flights".into(),
        kind: Kind::Projection,
        number: 1,
        sha256: "aa".into(),
        descriptor: "{}".into(),
        setup: "{}".into(),
        deployed_at: NOW,
    };
    let changes = vec![
        Change::Deploy { revision: revision.clone(), component: (&b"wasm"[..]).into() },
        Change::CreateGeneration(generation(7)),
        put(7, "LH", "{\"flights\":2}"),
        Change::SetGenerationState { generation: GenerationId(7), state: GenerationState::Serving },
    ];
    commit(&store, append("aircraft-1", [event("aircraft-1", 1, "a"), event("aircraft-1", 2, "b")])).await.unwrap();
    commit(&store, Unit::change(changes)).await.unwrap();
    commit(&store, Unit::change(vec![advance(7, 0, 2)])).await.unwrap();
    let (head, before) = (store.head().await.unwrap(), log(&store).await);
    let info = store.stream(&StreamName::from_stored("aircraft-1")).await.unwrap();
    store.close().await;

    let store = open(&path).await;
    assert_eq!(store.head().await.unwrap(), head, "head, and the identity of the log");
    assert_eq!(
        log(&store).await.iter().map(|e| e.raw().clone()).collect::<Vec<_>>(),
        [before[0].raw().clone(), before[1].raw().clone()]
    );
    assert_eq!(store.stream(&StreamName::from_stored("aircraft-1")).await.unwrap(), info);
    assert_eq!(store.document(GenerationId(7), "c", "LH").await.unwrap().unwrap(), "{\"flights\":2}");
    assert_eq!(store.plugins().await.unwrap()[0].current, revision);
    assert_eq!(store.component("aa").await.unwrap().unwrap(), "wasm");
    let kept = &store.generations().await.unwrap()[0];
    assert_eq!((kept.state, kept.checkpoint), (GenerationState::Serving, Position(2)));
    let next = commit(&store, append("aircraft-1", [event("aircraft-1", 3, "c")])).await.unwrap();
    assert_eq!((next.appends[0].first_position, next.appends[0].first_offset), (Position(2), Offset(2)));
}

#[tokio::test]
async fn event_ids_are_remembered_over_a_restart() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    let unit = append("s", [event("s", 1, "a"), event("s", 2, "b")]);
    let first = commit(&store, unit.clone()).await.unwrap().appends.remove(0);
    store.close().await;

    let store = open(&path).await;
    let again = commit(&store, unit).await.unwrap().appends.remove(0);
    assert!(again.duplicate && again.first_position == first.first_position, "the first answer: {again:?}");
    let other = commit(&store, append("t", [event("t", 3, "c"), event("t", 2, "b")])).await;
    let Err(Rejection::IdConflicts(conflicts)) = other else { panic!("a taken id is a conflict: {other:?}") };
    assert_eq!((conflicts[0].index, conflicts[0].stored.as_ref().unwrap().1), (1, Offset(1)));
    assert_eq!(ids(&store).await, [1, 2]);
}

#[tokio::test]
async fn checkpoints_fence_over_a_restart() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    commit(&store, append("s", [event("s", 1, "a"), event("s", 2, "b")])).await.unwrap();
    commit(&store, Unit::change(vec![Change::CreateGeneration(generation(1)), advance(1, 0, 0)])).await.unwrap();
    commit(&store, Unit::change(vec![advance(1, 0, 1)])).await.unwrap();
    store.close().await;

    let store = open(&path).await;
    let stale = commit(&store, Unit::change(vec![advance(1, 0, 2)])).await;
    let actual = Rejection::Fenced { generation: GenerationId(1), expected: Position(0), actual: Position(1) };
    assert_eq!(stale.unwrap_err(), actual);
    commit(&store, Unit::change(vec![advance(1, 1, 2)])).await.unwrap();
}

#[tokio::test]
async fn a_store_that_was_not_closed_has_all_that_was_answered() {
    let (_directory, path) = scratch();
    for n in 0..10 {
        let store = open(&path).await;
        commit(&store, append("s", [event("s", n, "a")])).await.unwrap();
    }
    assert_eq!(ids(&open(&path).await).await, (0..10).collect::<Vec<_>>());
}
