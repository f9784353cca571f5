use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use wasmill_core::code::{Code, Problem};
use wasmill_core::group::Start;
use wasmill_core::projection::diff::{CollectionCounts, DiffRequest, DifferenceKind};
use wasmill_core::replay::{NewReplay, Pace, Source, Target};
use wasmill_core::store::memory::MemoryStore;

use crate::guest::{Engine, clock, deploy, host_over, publish, until, wait};

/// What has been built can be looked at before it serves.
#[tokio::test]
async fn a_build_that_waits_to_be_confirmed_is_compared_at_the_same_position() {
    let (store, engine) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()));
    let host = host_over(&store, &engine, &clock()).await;
    deploy(&host, "1", &[("c", &["n"]), ("old", &[])]).await;
    let events = vec![
        vec![("c", "a", json!({ "n": 1, "m": 7 })), ("c", "b", json!({ "m": 7 }))],
        vec![("c", "c", json!({ "n": 5 })), ("old", "x", json!(1))],
    ];
    let last = publish(&host, events).await;
    host.projections.documents("p", "c", "", None, 1, wait(last)).await.unwrap();
    host.plugins.change_settings("p", None, |settings| settings.confirm_swap = true).await.unwrap();
    engine.errs.store(true, Ordering::SeqCst);
    let built = host.projections.rebuild("p").await.unwrap();
    let building = until(async || host.plugins.deployment("p").unwrap().building()).await;
    until(async || (building.next() > last).then_some(())).await;
    let diff = host.projections.diff("p", &DiffRequest { limit: 10, ..DiffRequest::default() }).await.unwrap();
    assert!(diff.same_position && diff.after.generation == built && diff.next.is_none());
    let found: Vec<_> = diff.differences.iter().map(|d| (d.key.as_str(), d.kind.as_str())).collect();
    assert_eq!((found, diff.looked_at), (vec![("a", "changed"), ("c", "changed")], 4));
    assert!(host.plugins.confirm_swap("p").await.unwrap());
    until(async || (host.projections.get("p").await.unwrap().generation == built).then_some(())).await;
    // The one that served before is there to be compared with, too.
    let before = diff.before.generation;
    let back = DiffRequest { generations: Some((built, before)), limit: 1, ..DiffRequest::default() };
    let back = host.projections.diff("p", &back).await.unwrap();
    assert_eq!((back.differences.len(), back.next.map(|place| place.key)), (1, Some("a".to_owned())));
    host.stop().await;
}

/// A build that keeps to a pace on a clock that stands still stays where it is.
#[tokio::test]
async fn what_is_built_is_compared_with_what_serves() {
    let (store, engine, clock) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()), clock());
    let host = host_over(&store, &engine, &clock).await;
    deploy(&host, "1", &[("c", &["n"]), ("d", &[])]).await;
    let request = |collection: Option<&str>, limit| DiffRequest {
        collection: collection.map(str::to_owned),
        limit,
        ..DiffRequest::default()
    };
    let none = host.projections.diff("p", &request(None, 10)).await.unwrap_err();
    assert_eq!(Problem::from(none).code, Code::GenerationNotFound);
    let names: Vec<String> = (0..100).map(|n| format!("k{n:02}")).collect();
    let events =
        names.iter().map(|name| vec![("c", name.as_str(), json!({ "n": 1, "same": [1] })), ("d", "x", json!(1))]);
    let last = publish(&host, events.collect()).await;
    host.projections.documents("p", "c", "", None, 1, wait(last)).await.unwrap();
    engine.errs.store(true, Ordering::SeqCst);
    let pace = Pace { events_per_second: Some(100), speed: None };
    let target = Target::Projection("p".into());
    let new = NewReplay { source: Source::default(), from: Start::First, until: None, target, pace };
    host.replays.start(new).await.unwrap();
    let built = until(async || {
        // So far it has begun, and its pace grows with the clock.
        clock.advance_us(1_000);
        let building = host.plugins.deployment("p").unwrap().building()?;
        (building.next().0 >= 3).then_some(building)
    });
    let built = built.await;
    let at = built.next().0 as usize;
    assert!(at < 100, "it is not swapped in");

    let diff = host.projections.diff("p", &request(None, 1_000)).await.unwrap();
    assert_eq!((diff.before.next_position.0, diff.after.next_position.0 as usize), (100, at));
    assert_eq!((diff.after.generation, diff.same_position, diff.looked_at), (built.id, false, 101));
    let counts = |name: &str, before, after| CollectionCounts { name: name.into(), before, after };
    assert_eq!(diff.collections, [counts("c", 100, at as u64), counts("d", 1, 1)]);
    assert_eq!(diff.differences.len(), 100, "the only document of d is the same");
    for (n, difference) in diff.differences.iter().enumerate() {
        assert_eq!((&difference.collection[..], &difference.key), ("c", &names[n]));
        match &difference.kind {
            DifferenceKind::Changed(changes) if n < at => {
                let change = &changes[0];
                let values = (change.before.as_deref(), change.after.as_deref());
                assert_eq!((changes.len(), change.path.as_str(), values), (1, "/n", (Some("1"), Some("2"))));
            }
            kind => assert!(n >= at && *kind == DifferenceKind::Removed, "{n}: {kind:?}"),
        }
    }
    // The same in pages.
    let (mut pages, mut found) = (request(Some("c"), 7), Vec::new());
    loop {
        let page = host.projections.diff("p", &pages).await.unwrap();
        assert!(page.differences.len() <= 7 && page.collections.is_empty() == pages.after.is_some());
        found.extend(page.differences);
        pages.after = page.next;
        if pages.after.is_none() {
            break;
        }
    }
    assert_eq!(found, diff.differences);
    // Any two can be compared, one with itself too.
    let other_way = DiffRequest { generations: Some((built.id, diff.before.generation)), ..request(None, 1_000) };
    let other_way = host.projections.diff("p", &other_way).await.unwrap();
    let added = other_way.differences.iter().filter(|difference| difference.kind == DifferenceKind::Added);
    assert_eq!(added.count(), 100 - at);
    let itself = DiffRequest { generations: Some((built.id, built.id)), ..request(None, 1_000) };
    let itself = host.projections.diff("p", &itself).await.unwrap();
    assert!(itself.differences.is_empty() && itself.same_position);
    let unknown = host.projections.diff("p", &request(Some("none"), 10)).await.unwrap_err();
    assert_eq!(Problem::from(unknown).code, Code::CollectionNotFound);
    host.stop().await;
}
