use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmill_core::host::Host;
use wasmill_core::limits::read as limits;
use wasmill_core::projection::follow::{Follower, Place, Reset, Update, Wanted};
use wasmill_core::projection::query::QueryError;
use wasmill_core::store::memory::MemoryStore;

use crate::guest::{Engine, clock, deploy, host_over, publish, until, wait};

fn wanted(collection: Option<&str>, prefix: &str) -> Wanted {
    Wanted { projection: "p".into(), collection: collection.map(str::to_owned), prefix: prefix.into() }
}

async fn next(follower: &mut Follower) -> Update {
    tokio::time::timeout(Duration::from_secs(20), follower.next()).await.expect("in time").unwrap()
}

fn begun(update: &Update) -> Place {
    match update {
        Update::Begin(place) => *place,
        other => panic!("it begins: {other:?}"),
    }
}

fn told(update: Update) -> (Vec<String>, Place, bool) {
    let Update::Changes { changes, place, whole } = update else { panic!("changes come: {update:?}") };
    let text = |value: Option<bytes::Bytes>| value.map_or("-".into(), |v| String::from_utf8_lossy(&v).into_owned());
    (changes.into_iter().map(|c| format!("{}/{}={}", c.collection, c.key, text(c.value))).collect(), place, whole)
}

async fn write(host: &Host, key: &str, value: Value) {
    let last = publish(host, vec![vec![("c", key, value)]]).await;
    host.projections.documents("p", "c", "", None, 1, wait(last)).await.unwrap();
}

async fn with_host() -> (Arc<MemoryStore>, Arc<Engine>, wasmill_core::clock::ManualClock, Arc<Host>) {
    let (store, engine, clock) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()), clock());
    let host = host_over(&store, &engine, &clock).await;
    deploy(&host, "1", &[("c", &["n"]), ("d", &[])]).await;
    write(&host, "a", json!({ "n": 1 })).await;
    (store, engine, clock, host)
}

#[tokio::test]
async fn each_change_is_told_once_in_order_and_goes_on_after_a_lost_connection() {
    let (_, _, _, host) = with_host().await;
    let mut all = host.projections.follow(wanted(None, ""), None).unwrap();
    let mut some = host.projections.follow(wanted(Some("c"), "b"), None).unwrap();
    let start = begun(&next(&mut all).await);
    assert_eq!(start.next.0, 1, "what was before is read by a query");
    begun(&next(&mut some).await);
    write(&host, "a", json!({ "n": 2 })).await;
    write(&host, "b1", json!({ "n": 3 })).await;
    write(&host, "b1", json!({ "n": 3 })).await;
    write(&host, "a", json!("remove")).await;
    let expected = [(r#"c/a={"n":2}"#, 2), (r#"c/b1={"n":3}"#, 3), ("c/a=-", 5)];
    for (change, position) in expected {
        let (changes, place, whole) = told(next(&mut all).await);
        assert_eq!((changes, place.next.0, whole), (vec![change.to_owned()], position, true), "no entries of indexes");
    }
    let (changes, place, _) = told(next(&mut some).await);
    assert_eq!((changes.len(), changes[0].as_str(), place.next.0), (1, r#"c/b1={"n":3}"#, 3));
    // The connection is lost after the second change; meanwhile others are made.
    drop(all);
    write(&host, "z", json!(1)).await;
    let place = Place { next: wasmill_core::event::Position(3), ..start };
    let mut again = host.projections.follow(wanted(None, ""), Some(place)).unwrap();
    assert_eq!(begun(&next(&mut again).await), place);
    assert_eq!(told(next(&mut again).await).0, ["c/a=-"]);
    assert_eq!(told(next(&mut again).await).0, ["c/z=1"]);
    let gone = host.projections.follow(wanted(Some("none"), ""), None);
    assert!(matches!(gone.err(), Some(QueryError::CollectionNotFound { .. })));
    host.plugins.remove("p").await.unwrap();
    assert!(matches!(again.next().await, Err(QueryError::ProjectionNotFound(_))));
    host.stop().await;
}

#[tokio::test]
async fn who_is_too_far_behind_is_told_to_begin_anew() {
    let (_, _, clock, host) = with_host().await;
    let mut follower = host.projections.follow(wanted(None, ""), None).unwrap();
    begun(&next(&mut follower).await);
    let start = follower.place();
    let large = "x".repeat(200 << 10);
    for n in 0..limits::CHANGES_BYTES_MAX / large.len() + 2 {
        write(&host, &format!("k{n}"), json!(large)).await;
    }
    let Update::Reset(place, Reset::Behind) = next(&mut follower).await else { panic!("there is a gap") };
    write(&host, "last", json!(1)).await;
    let (changes, last, _) = told(next(&mut follower).await);
    assert_eq!((changes, last.next.0), (vec!["c/last=1".to_owned()], place.next.0 + 1), "and goes on from there");
    let mut late = host.projections.follow(wanted(None, ""), Some(start)).unwrap();
    assert!(matches!(next(&mut late).await, Update::Reset(_, Reset::Behind)));
    // Nobody follows for a minute: nothing is kept.
    let place = late.place();
    drop((follower, late));
    clock.advance_us(limits::CHANGES_KEPT_US);
    write(&host, "unseen", json!(1)).await;
    let mut late = host.projections.follow(wanted(None, ""), Some(place)).unwrap();
    assert!(matches!(next(&mut late).await, Update::Reset(_, Reset::Behind)));
    // Who has missed nothing goes on, though.
    let place = late.place();
    drop(late);
    clock.advance_us(2 * limits::CHANGES_KEPT_US);
    let mut on_time = host.projections.follow(wanted(None, ""), Some(place)).unwrap();
    assert_eq!(begun(&next(&mut on_time).await), place);
    host.stop().await;
}

#[tokio::test]
async fn a_swap_is_told_and_the_new_one_is_followed() {
    let (store, engine, clock, host) = with_host().await;
    let mut follower = host.projections.follow(wanted(None, ""), None).unwrap();
    let old = begun(&next(&mut follower).await);
    let built = host.projections.rebuild("p").await.unwrap();
    let Update::Reset(place, Reset::Replaced) = next(&mut follower).await else { panic!("another one serves") };
    assert_eq!(place.generation, built);
    write(&host, "b", json!(1)).await;
    assert_eq!(told(next(&mut follower).await).0, ["c/b=1"]);
    let mut late = host.projections.follow(wanted(None, ""), Some(old)).unwrap();
    assert!(matches!(next(&mut late).await, Update::Reset(_, Reset::Replaced)));
    // After a restart too a client goes on if it has missed nothing.
    let place = follower.place();
    drop((follower, late));
    host.stop().await;
    let host = host_over(&store, &engine, &clock).await;
    let mut again = host.projections.follow(wanted(None, ""), Some(place)).unwrap();
    assert_eq!(begun(&next(&mut again).await), place);
    host.stop().await;
}

/// A large commit comes in parts, and its last one says that it is whole.
#[tokio::test]
async fn a_read_model_kept_by_its_changes_is_the_one_that_queries_see() {
    let (_, _, _, host) = with_host().await;
    let mut follower = host.projections.follow(wanted(Some("c"), ""), None).unwrap();
    begun(&next(&mut follower).await);
    let mut kept: BTreeMap<String, String> = BTreeMap::from([("a".into(), r#"{"n":1}"#.into())]);
    let names: Vec<String> = (0..1_500).map(|n| format!("k{n:04}")).collect();
    let mut last = publish(&host, vec![names.iter().map(|name| ("c", name.as_str(), json!(0))).collect()]).await;
    for n in 0..40 {
        let change = |name: &'static str, value: Value| vec![("c", name, value)];
        last =
            publish(&host, vec![change("k0007", json!(n)), change("x", json!("remove")), change("y", json!(n))]).await;
    }
    let mut parts = 0;
    while follower.place().next <= last {
        let Update::Changes { changes, whole, .. } = next(&mut follower).await else { panic!("no gap") };
        parts += usize::from(!whole);
        for change in changes {
            match change.value {
                Some(value) => kept.insert(change.key, String::from_utf8(value.to_vec()).unwrap()),
                None => kept.remove(&change.key),
            };
        }
    }
    assert!(parts >= 5, "{parts} parts");
    let mut stored = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let page = host.projections.documents("p", "c", "", after.as_deref(), 1_000, wait(last)).await.unwrap().value;
        after = page.documents.last().map(|document| document.key.clone());
        stored.extend(page.documents.into_iter().map(|d| (d.key, String::from_utf8(d.value.to_vec()).unwrap())));
        if !page.more {
            break;
        }
    }
    assert_eq!(kept, stored);
    until(async || host.projections.get("p").await.ok()).await;
    host.stop().await;
}
