//! The end of events: truncation, deletion, and what is remembered of them.

use uuid::Uuid;

use super::filters::walk;
use super::{NOW, PAGE, append, commit, commit_one, events, log};
use crate::clock::Timestamp;
use crate::event::{Offset, Position};
use crate::log::filter::{Filter, FilterTerm};
use crate::name::{Pattern, StreamName};
use crate::record::{StreamConfigRecord, StreamInfo, StreamState};
use crate::store::{Change, Direction, Expected, PageLimit, Rejection, Store, Unit};

fn name(stream: &str) -> StreamName {
    StreamName::from_stored(stream)
}

async fn set(store: &impl Store, stream: &str, truncate_before: u64, state: StreamState) {
    let change = Change::SetStream { stream: name(stream), truncate_before: Offset(truncate_before), state };
    commit_one(store, Unit::change(vec![change])).await;
}

async fn remove(store: &impl Store, stream: &str, limit: usize) -> u64 {
    commit_one(store, Unit::change(vec![Change::RemoveEvents { stream: name(stream), limit }])).await.removed
}

async fn info(store: &impl Store, stream: &str) -> StreamInfo {
    store.stream(&name(stream)).await.expect("read").expect("the stream is there")
}

async fn positions(store: &impl Store) -> Vec<u64> {
    log(store).await.iter().map(|event| event.position().0).collect()
}

/// The revision, which has moved.
async fn changed(store: &impl Store, before: u64, claim: &str) -> u64 {
    let revision = store.head().await.expect("read").revision;
    assert_ne!(revision, before, "{claim}");
    revision
}

pub(super) async fn removal_leaves_holes_that_are_never_refilled(store: &impl Store) {
    for (stream, seed, count) in [("s", 1, 3), ("t", 2, 2), ("s", 3, 4), ("s", 4, 1)] {
        commit_one(store, append(stream, Expected::Any, events(stream, seed, count))).await;
    }
    let before = log(store).await;
    assert_eq!(remove(store, "s", 100).await, 0, "nothing is removed that is not hidden");
    let revision = store.head().await.expect("read").revision;
    set(store, "s", 5, StreamState::Live).await;
    let revision = changed(store, revision, "other hosts are told of a truncation").await;
    set(store, "s", 2, StreamState::Live).await;
    assert_eq!(info(store, "s").await.truncate_before, Offset(5), "it never steps back");
    assert_eq!(info(store, "s").await.event_count(), 3, "hidden events are not counted");
    assert_eq!(positions(store).await.len(), 10, "the log has them until they are removed");
    let revision = changed(store, revision, "setting a stream again is told, too").await;
    assert_eq!(remove(store, "s", 2).await, 2, "removal is bounded");
    changed(store, revision, "other hosts are told of a removal").await;
    assert_eq!(positions(store).await, [2, 3, 4, 5, 6, 7, 8, 9], "places of what remains never change");
    assert_eq!(remove(store, "s", 100).await, 3, "and says how much it did");
    assert_eq!(positions(store).await, [3, 4, 7, 8, 9], "wherever the removed ones stood");
    let left: Vec<_> =
        before.iter().filter(|e| [3, 4, 7, 8, 9].contains(&e.position().0)).map(|e| e.raw().clone()).collect();
    assert_eq!(log(store).await.iter().map(|e| e.raw().clone()).collect::<Vec<_>>(), left, "nor do their bytes");
    let facts = info(store, "s").await;
    assert_eq!((facts.first_offset, facts.next_offset, facts.event_count()), (Offset(5), Offset(8), 3));
    let bytes: usize = log(store).await.iter().filter(|e| e.stream() == "s").map(|e| e.framed_len()).sum();
    assert_eq!(facts.bytes, bytes as u64, "bytes are those of what is left");
    for from in 0..12 {
        let read = async |direction| {
            let read = store.read_stream(&name("s"), Offset(from), direction, PAGE).await.expect("read");
            read.iter().map(|e| e.offset().0).collect::<Vec<_>>()
        };
        assert_eq!(read(Direction::Forward).await, (5..8).filter(|o| *o >= from).collect::<Vec<_>>());
        assert_eq!(read(Direction::Backward).await, (5..8).rev().filter(|o| *o <= from).collect::<Vec<_>>());
        let all = [3, 4, 7, 8, 9];
        for limit in [PAGE, PageLimit { events: 1, ..PAGE }] {
            let up = walk(store, from, Direction::Forward, &Filter::default(), limit).await;
            assert_eq!(up, all.into_iter().filter(|p| *p >= from).collect::<Vec<_>>(), "holes are read over");
            let down = walk(store, from, Direction::Backward, &Filter::default(), limit).await;
            assert_eq!(down, all.into_iter().rev().filter(|p| *p <= from).collect::<Vec<_>>());
        }
    }
    let types = vec![FilterTerm { types: vec![Pattern::new("tested").expect("a glob")], ..FilterTerm::default() }];
    assert_eq!(walk(store, 0, Direction::Forward, &Filter::new(types), PAGE).await, [3, 4, 7, 8, 9], "indexes follow");
    let next = commit_one(store, append("s", Expected::Exactly(Offset(7)), events("s", 5, 1))).await.appends.remove(0);
    assert_eq!((next.first_position, next.first_offset), (Position(10), Offset(8)), "numbering goes on");
}

pub(super) async fn an_emptied_stream_goes_on_where_it_was(store: &impl Store) {
    commit_one(store, append("s", Expected::Any, events("s", 1, 3))).await;
    set(store, "s", u64::MAX, StreamState::Deleted).await;
    assert_eq!(info(store, "s").await.truncate_before, Offset(3), "no further than to its end");
    assert_eq!(remove(store, "s", 100).await, 3);
    let facts = info(store, "s").await;
    assert_eq!((facts.state, facts.event_count(), facts.bytes), (StreamState::Deleted, 0, 0));
    assert_eq!(facts.first_recorded_at, facts.last_recorded_at);
    assert!(log(store).await.is_empty());
    let outcome = commit(store, &[append("s", Expected::NoStream, events("s", 2, 1))]).await.remove(0);
    assert!(outcome.is_err(), "a deleted stream is not `no stream`");
    let truncate = Change::SetStream { stream: name("s"), truncate_before: Offset(1), state: StreamState::Live };
    let outcome = commit(store, &[Unit::change(vec![truncate])]).await.remove(0);
    let refused = Some(Rejection::StreamDeleted { stream: name("s") });
    assert_eq!(outcome.err(), refused, "a late truncation does not bring it back");
    let unit = append("s", Expected::Exactly(Offset(2)), events("s", 3, 2));
    let outcome = store.commit(&[unit], Timestamp(NOW.0 + 9)).await.expect("commits").remove(0);
    let appended = outcome.expect("a deleted stream's offsets go on").appends.remove(0);
    assert_eq!(appended.first_position, Position(3), "places of removed events are not given again");
    let facts = info(store, "s").await;
    assert_eq!((facts.state, facts.first_offset, facts.next_offset), (StreamState::Live, Offset(3), Offset(5)));
    assert_eq!((facts.created_at, facts.first_recorded_at), (NOW, Timestamp(NOW.0 + 9)));
    assert_eq!(log(store).await.iter().map(|e| e.offset().0).collect::<Vec<_>>(), [3, 4]);
}

pub(super) async fn a_tombstoned_stream_takes_nothing(store: &impl Store) {
    commit_one(store, append("s", Expected::Any, events("s", 1, 2))).await;
    set(store, "s", u64::MAX, StreamState::Tombstoned).await;
    remove(store, "s", 100).await;
    let change = Change::SetStream { stream: name("s"), truncate_before: Offset(0), state: StreamState::Live };
    for unit in [append("s", Expected::Any, events("s", 2, 1)), Unit::change(vec![change])] {
        let outcome = commit(store, &[unit]).await.remove(0);
        assert_eq!(outcome.err(), Some(Rejection::StreamTombstoned { stream: name("s") }));
    }
    let change = Change::SetStream { stream: name("none"), truncate_before: Offset(0), state: StreamState::Live };
    let outcome = commit(store, &[Unit::change(vec![change])]).await.remove(0);
    assert_eq!(outcome.err(), Some(Rejection::NoStream { stream: name("none") }));
}

pub(super) async fn ids_of_removed_events_are_remembered_for_a_while(store: &impl Store) {
    let unit = append("s", Expected::Any, events("s", 1, 3));
    let first = commit_one(store, unit.clone()).await.appends.remove(0);
    set(store, "s", 3, StreamState::Live).await;
    remove(store, "s", 100).await;
    assert!(store.find_events(&[Uuid::from_u128((1 << 64) + 1)]).await.expect("read").is_empty());
    let again = commit_one(store, unit.clone()).await.appends.remove(0);
    assert!(again.duplicate, "a repeated append is known by its ids");
    assert_eq!((again.first_position, again.first_offset, again.count), (first.first_position, first.first_offset, 3));
    let elsewhere = commit(store, &[append("t", Expected::Any, events("t", 1, 1))]).await.remove(0);
    assert!(matches!(elsewhere, Err(Rejection::IdConflicts(_))), "an id is not used for something else");
    let removed = store.removed_events(None, 2).await.expect("read");
    assert_eq!(removed.iter().map(|r| (r.position.0, r.offset.0)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    assert_eq!((removed[0].stream.as_str(), removed[0].recorded_at, removed[0].removed_at), ("s", NOW, NOW));
    assert_eq!(store.removed_events(Some(Position(1)), 9).await.expect("read").len(), 1);
    let forget = |before| Unit::change(vec![Change::ForgetRemoved { before, limit: 2 }]);
    assert_eq!(commit_one(store, forget(NOW)).await.removed, 0, "not before its time");
    assert_eq!(commit_one(store, forget(Timestamp(NOW.0 + 1))).await.removed, 2);
    assert_eq!(commit_one(store, forget(Timestamp(NOW.0 + 1))).await.removed, 1, "what is forgotten is forgotten once");
    let anew = commit_one(store, unit).await.appends.remove(0);
    assert!(!anew.duplicate && anew.first_offset == Offset(3), "a forgotten id is new");
}

pub(super) async fn stream_configurations_are_kept(store: &impl Store) {
    let put = |pattern: &str, exact, config: Option<&str>| {
        let config = config.map(str::to_owned);
        Unit::change(vec![Change::PutStreamConfig { pattern: pattern.into(), exact, config }])
    };
    let revision = store.head().await.expect("read").revision;
    for unit in [
        put("order-*", false, Some("{\"a\":1}")),
        put("order-7", true, Some("{}")),
        put("*", false, Some("{\"b\":1}")),
        put("order-*", false, Some("{\"a\":2}")),
        put("gone", true, Some("{}")),
        put("gone", true, None),
    ] {
        commit_one(store, unit).await;
    }
    changed(store, revision, "other hosts are told of a configuration").await;
    let revision = store.head().await.expect("read").revision;
    commit_one(store, Unit::change(vec![Change::Revise])).await;
    changed(store, revision, "other hosts are told of what is revised").await;
    let record = |pattern: &str, exact, config: &str| StreamConfigRecord {
        pattern: pattern.into(),
        exact,
        config: config.into(),
    };
    assert_eq!(
        store.stream_configs().await.expect("read"),
        [record("*", false, "{\"b\":1}"), record("order-*", false, "{\"a\":2}"), record("order-7", true, "{}")]
    );
}
