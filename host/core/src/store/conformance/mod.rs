//! What every store must do, as a suite that runs over any of them.
//!
//! Each check gets a fresh, empty store and panics with a claim that names what was broken.

mod concurrency;
mod conditions;
mod filters;
mod removal;
#[cfg(test)]
mod wrong_stores;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Change, Committed, Direction, DocumentChange, Expected, Guard, PageLimit, Rejection, Store, StreamAppend,
    StreamCheck, Unit,
};
use crate::clock::Timestamp;
use crate::event::{Event, NewEvent, Offset, Position, PreparedEvent};
use crate::log::filter::Filter;
use crate::name::{Pattern, StreamName};
use crate::plugin::descriptor::Kind;
use crate::record::{GenerationId, GenerationRecord, GenerationState, RevisionRecord};

const NOW: Timestamp = Timestamp(1_000_000);
const PAGE: PageLimit = PageLimit { events: 1_000, bytes: 1 << 20 };

/// Runs every check; `fresh` makes an empty store.
pub async fn run<S: Store>(fresh: impl AsyncFn() -> S) {
    one_caller(&fresh).await;
    many_callers(&fresh).await;
}

/// The checks in which one call follows the other.
pub async fn one_caller<S: Store>(fresh: impl AsyncFn() -> S) {
    let fresh = async || Arc::new(fresh().await);
    positions_and_offsets_have_no_gaps(&*fresh().await).await;
    a_unit_that_fails_drops_out_alone(&*fresh().await).await;
    expected_offsets_are_checked_in_queue_order(&*fresh().await).await;
    streams_that_are_not_written_are_checked_too(&*fresh().await).await;
    a_repeated_append_gets_the_first_answer(&*fresh().await).await;
    a_taken_id_is_a_conflict(&*fresh().await).await;
    recorded_at_never_steps_back(&*fresh().await).await;
    pages_go_both_ways_and_respect_their_limits(&*fresh().await).await;
    payloads_come_back_unchanged(&*fresh().await).await;
    streams_are_listed_in_byte_order(&*fresh().await).await;
    documents_and_checkpoint_commit_together(&*fresh().await).await;
    guards_let_one_owner_go_on(&*fresh().await).await;
    documents_are_scanned_in_byte_order(&*fresh().await).await;
    plugins_and_generations_are_kept(&*fresh().await).await;
    filters::filtered_reads_find_what_matches_both_ways(&*fresh().await).await;
    filters::times_lead_to_places(&*fresh().await).await;
    conditions::a_query_matches_types_and_tags(&*fresh().await).await;
    conditions::only_later_events_break_a_condition(&*fresh().await).await;
    conditions::of_parallel_conditional_appends_one_wins(&*fresh().await).await;
    conditions::an_append_does_not_break_its_own_condition(&*fresh().await).await;
    removal::removal_leaves_holes_that_are_never_refilled(&*fresh().await).await;
    removal::an_emptied_stream_goes_on_where_it_was(&*fresh().await).await;
    removal::a_tombstoned_stream_takes_nothing(&*fresh().await).await;
    removal::ids_of_removed_events_are_remembered_for_a_while(&*fresh().await).await;
    removal::stream_configurations_are_kept(&*fresh().await).await;
}

/// The checks in which callers overlap; they show most on a runtime with several threads.
pub async fn many_callers<S: Store>(fresh: impl AsyncFn() -> S) {
    let fresh = async || Arc::new(fresh().await);
    concurrency::readers_see_no_gap_while_many_commit(fresh().await).await;
    concurrency::of_callers_at_once_one_wins(fresh().await).await;
}

/// `count` events with ids derived from `seed`.
pub fn events(stream: &str, seed: u128, count: u128) -> Arc<[PreparedEvent]> {
    let stream = StreamName::from_stored(stream);
    let event = |n| {
        let data = Bytes::from(format!("{{\"n\":{n}}}"));
        let id = Uuid::from_u128((seed << 64) + n + 1);
        let event = NewEvent { id, event_type: "tested".into(), data, ..NewEvent::default() };
        PreparedEvent::encode(&event, &stream, NOW)
    };
    (0..count).map(event).collect()
}

pub fn append(stream: &str, expected: Expected, events: Arc<[PreparedEvent]>) -> Unit {
    Unit::append(StreamAppend { stream: StreamName::from_stored(stream), expected, events })
}

async fn commit(store: &impl Store, units: &[Unit]) -> Vec<Result<Committed, Rejection>> {
    store.commit(units, NOW).await.expect("the store answers")
}

async fn commit_one(store: &impl Store, unit: Unit) -> Committed {
    commit(store, &[unit]).await.remove(0).expect("the unit passes")
}

async fn log(store: &impl Store) -> Vec<Event> {
    let read = store.read_log(Position(0), Direction::Forward, &Filter::default(), PAGE).await;
    read.expect("the log is read").events
}

async fn positions_and_offsets_have_no_gaps(store: &impl Store) {
    assert!(log(store).await.is_empty(), "a fresh log is empty");
    let mut expected = Vec::new();
    for round in 0..20u128 {
        let units: Vec<Unit> = (0..5)
            .map(|n| {
                let stream = format!("s-{}", (round + n) % 3);
                append(&stream, Expected::Any, events(&stream, round * 5 + n + 1, n + 1))
            })
            .collect();
        for committed in commit(store, &units).await {
            let appended = committed.expect("the unit passes").appends.remove(0);
            for n in 0..u64::from(appended.count) {
                expected.push((
                    appended.first_position.0 + n,
                    appended.stream.to_string(),
                    appended.first_offset.0 + n,
                ));
            }
        }
    }
    let stored: Vec<_> =
        log(store).await.iter().map(|e| (e.position().0, e.stream().to_owned(), e.offset().0)).collect();
    assert_eq!(stored, expected, "what was answered is what stands in the log");
    assert!(stored.iter().zip(0..).all(|(event, n)| event.0 == n), "positions have no gaps");
    for stream in ["s-0", "s-1", "s-2"] {
        let offsets: Vec<u64> = stored.iter().filter(|e| e.1 == stream).map(|e| e.2).collect();
        assert!(offsets.iter().zip(0..).all(|(offset, n)| *offset == n), "offsets have no gaps");
        let read = store.read_stream(&StreamName::from_stored(stream), Offset(0), Direction::Forward, PAGE).await;
        let read: Vec<u64> = read.expect("the stream is read").iter().map(|e| e.offset().0).collect();
        assert_eq!(read, offsets, "a stream's index agrees with the log");
    }
    let head = store.head().await.expect("the head is read");
    assert_eq!(head.next_position.0, stored.len() as u64, "the head stands behind the last event");
}

async fn a_unit_that_fails_drops_out_alone(store: &impl Store) {
    let two_streams = Unit {
        appends: vec![
            append("b", Expected::Any, events("b", 2, 1)).appends.remove(0),
            append("c", Expected::Exists, events("c", 3, 1)).appends.remove(0),
        ],
        ..Unit::default()
    };
    let units = [
        append("a", Expected::Any, events("a", 1, 2)),
        two_streams,
        append("d", Expected::NoStream, events("d", 4, 1)),
    ];
    let outcomes = commit(store, &units).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "neighbours of a failing unit pass");
    let Err(Rejection::ChecksFailed { offsets: wrong, .. }) = &outcomes[1] else {
        panic!("a failing check rejects its unit")
    };
    assert_eq!((wrong[0].stream.as_str(), wrong[0].actual), ("c", None), "the failing check is named");
    let stored: Vec<_> = log(store).await.iter().map(|e| (e.position().0, e.stream().to_owned())).collect();
    let passed = [(0, "a".to_owned()), (1, "a".to_owned()), (2, "d".to_owned())];
    assert_eq!(stored, passed, "nothing of a failing unit is stored, and it leaves no hole");
}

async fn expected_offsets_are_checked_in_queue_order(store: &impl Store) {
    let outcomes = commit(
        store,
        &[
            append("s", Expected::NoStream, events("s", 1, 2)),
            append("s", Expected::NoStream, events("s", 2, 1)),
            append("s", Expected::Exactly(Offset(1)), events("s", 3, 1)),
            append("s", Expected::Exactly(Offset(1)), events("s", 4, 1)),
            append("s", Expected::Exists, events("s", 5, 1)),
        ],
    )
    .await;
    let passed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(passed, [true, false, true, false, true], "each unit sees those before it");
    let Err(Rejection::ChecksFailed { offsets: wrong, .. }) = &outcomes[3] else { panic!("a wrong offset is named") };
    assert_eq!((wrong[0].expected, wrong[0].actual), (Expected::Exactly(Offset(1)), Some(Offset(2))));
    let outcome = commit(store, &[append("s", Expected::Exactly(Offset(9)), events("s", 6, 1))]).await;
    let Err(Rejection::ChecksFailed { offsets: wrong, .. }) = &outcome[0] else {
        panic!("offsets are checked against the store")
    };
    assert_eq!(wrong[0].actual, Some(Offset(3)), "the actual offset is told");
}

async fn streams_that_are_not_written_are_checked_too(store: &impl Store) {
    commit_one(store, append("account", Expected::Any, events("account", 1, 2))).await;
    let check = |stream: &str, expected| StreamCheck { stream: StreamName::from_stored(stream), expected };
    let unit = |seed, checks| Unit { checks, ..append("order", Expected::Any, events("order", seed, 1)) };
    let holds = vec![check("account", Expected::Exactly(Offset(1))), check("closed", Expected::NoStream)];
    let fails = vec![check("account", Expected::Exactly(Offset(0))), check("closed", Expected::Exists)];
    let first = unit(2, holds.clone());
    commit_one(store, first.clone()).await;
    let outcome = commit(store, &[unit(3, fails)]).await.remove(0);
    let Err(Rejection::ChecksFailed { offsets: wrong, .. }) = outcome else {
        panic!("a failing check rejects the unit")
    };
    let named: Vec<_> = wrong.iter().map(|w| (w.stream.as_str(), w.actual)).collect();
    assert_eq!(named, [("account", Some(Offset(1))), ("closed", None)], "all failing checks are told together");
    assert!(store.stream(&StreamName::from_stored("closed")).await.expect("read").is_none(), "a check makes no stream");
    let close = append("closed", Expected::Any, events("closed", 4, 1));
    let outcomes = commit(store, &[close, unit(5, holds), first]).await;
    assert!(outcomes[1].is_err(), "a check sees the units before it");
    assert!(outcomes[2].as_ref().is_ok_and(|c| c.appends[0].duplicate), "a repeated unit gets its first answer");
}

async fn a_repeated_append_gets_the_first_answer(store: &impl Store) {
    commit_one(store, append("other", Expected::Any, events("other", 9, 3))).await;
    let unit = append("s", Expected::NoStream, events("s", 1, 3));
    let first = commit_one(store, unit.clone()).await.appends.remove(0);
    commit_one(store, append("s", Expected::Any, events("s", 2, 1))).await;
    let again = commit(store, &[unit.clone(), append("s", Expected::Any, events("s", 3, 1)), unit]).await;
    for outcome in [&again[0], &again[2]] {
        let committed = outcome.as_ref().expect("a repeated append passes, its expected offset unchecked");
        let answer = &committed.appends[0];
        assert!(answer.duplicate && committed.chunks.is_empty(), "a repeated append stores nothing");
        assert_eq!((answer.first_position, answer.first_offset), (first.first_position, first.first_offset));
        assert_eq!((answer.count, answer.recorded_at), (first.count, first.recorded_at), "the first answer");
    }
    let same_group = append("t", Expected::Any, events("t", 7, 2));
    let twice = commit(store, &[same_group.clone(), same_group]).await;
    let answers: Vec<_> = twice.into_iter().map(|o| o.expect("passes").appends.remove(0)).collect();
    assert_eq!(answers[0].first_position, answers[1].first_position, "also within one group");
    assert_eq!(log(store).await.len(), 3 + 3 + 1 + 1 + 2, "a duplicate uses no position");
    let found = store.find_events(&[Uuid::from_u128((1 << 64) + 1), Uuid::from_u128(5)]).await.expect("ids are found");
    assert_eq!(found.iter().map(|e| e.offset().0).collect::<Vec<_>>(), [0], "known ids are found, others are not");
}

async fn a_taken_id_is_a_conflict(store: &impl Store) {
    commit_one(store, append("s", Expected::Any, events("s", 1, 2))).await;
    let other_content =
        NewEvent { id: Uuid::from_u128((1 << 64) + 1), event_type: "other".into(), ..NewEvent::default() };
    let other_content = PreparedEvent::encode(&other_content, &StreamName::from_stored("s"), NOW);
    let cases = [
        append("elsewhere", Expected::Any, events("elsewhere", 1, 2)),
        append("s", Expected::Any, Arc::new([other_content])),
        append("s", Expected::Any, events("s", 1, 3)),
        append("s", Expected::Any, [events("s", 8, 1), events("s", 8, 1)].concat().into()),
    ];
    for unit in cases {
        let outcome = commit(store, &[unit]).await.remove(0);
        assert!(matches!(outcome, Err(Rejection::IdConflicts(_))), "a taken id is a conflict: {outcome:?}");
    }
    assert_eq!(log(store).await.len(), 2, "a conflict stores nothing");
}

async fn recorded_at_never_steps_back(store: &impl Store) {
    for (seed, now) in [(1, 50), (2, 40), (3, 60)] {
        let unit = append("s", Expected::Any, events("s", seed, 1));
        store.commit(&[unit], Timestamp(now)).await.expect("commits").remove(0).expect("passes");
    }
    let times: Vec<i64> = log(store).await.iter().map(|e| e.recorded_at().0).collect();
    assert_eq!(times, [50, 50, 60], "recorded_at never steps back");
}

async fn pages_go_both_ways_and_respect_their_limits(store: &impl Store) {
    for n in 0..10 {
        commit_one(store, append("s", Expected::Any, events("s", n + 1, n % 4 + 1))).await;
    }
    let total = log(store).await.len() as u64;
    let stream = StreamName::from_stored("s");
    for from in [0, 1, 7, total - 1, total, total + 5] {
        for events in [1, 2, 3, 100] {
            let limit = PageLimit { events, bytes: 1 << 20 };
            let take = events as u64;
            let up: Vec<u64> = (from..total).take(events).collect();
            let down: Vec<u64> = (0..=from.min(total - 1)).rev().take(take as usize).collect();
            let read = async |direction| {
                let log = store.read_log(Position(from), direction, &Filter::default(), limit).await;
                let log = log.expect("the log is read").events;
                let of_stream =
                    store.read_stream(&stream, Offset(from), direction, limit).await.expect("a stream is read");
                assert_eq!(
                    log.iter().map(Event::id).collect::<Vec<_>>(),
                    of_stream.iter().map(Event::id).collect::<Vec<_>>(),
                    "one stream alone reads like the log"
                );
                log.iter().map(|e| e.position().0).collect::<Vec<_>>()
            };
            assert_eq!(read(Direction::Forward).await, up, "forward from {from}, {events} at most");
            assert_eq!(read(Direction::Backward).await, down, "backward from {from}, {events} at most");
        }
    }
    let tiny = PageLimit { events: 100, bytes: 1 };
    let page = store.read_log(Position(3), Direction::Forward, &Filter::default(), tiny).await;
    assert_eq!(
        page.expect("the log is read").events.len(),
        1,
        "a page holds one event at least, and no more than its bytes"
    );
    let unknown = store.read_stream(&StreamName::from_stored("none"), Offset(0), Direction::Forward, PAGE).await;
    assert!(unknown.expect("an unknown stream is read").is_empty(), "an unknown stream has no events");
}

async fn payloads_come_back_unchanged(store: &impl Store) {
    let event = NewEvent {
        id: Uuid::from_u128(77),
        event_type: "täst".into(),
        schema_version: 3,
        key: Some("k".into()),
        time: Some(Timestamp(42)),
        content_type: Some("application/octet-stream".into()),
        data: (0..=255).collect::<Vec<u8>>().repeat(4_000).into(),
        tags: vec!["a".into(), "b:1".into()],
        headers: vec![("h".into(), "1".into())],
        origin: crate::event::Origin { workflow_id: Some("w".into()), ..Default::default() },
    };
    let stream = StreamName::from_stored("сток \"x\"");
    let prepared = PreparedEvent::encode(&event, &stream, NOW);
    commit_one(store, append(stream.as_str(), Expected::Any, Arc::new([prepared.clone()]))).await;
    let read = log(store).await.remove(0);
    assert!(read.same_content(&prepared.view().expect("encoded here")), "contents are unchanged");
    assert_eq!((read.time(), read.origin()), (Timestamp(42), event.origin), "so are time and origin");
}

async fn streams_are_listed_in_byte_order(store: &impl Store) {
    for (name, seed) in [("b", 1), ("a-2", 2), ("a-10", 3), ("ä", 4), ("A", 5)] {
        commit_one(store, append(name, Expected::Any, events(name, seed, seed))).await;
    }
    let list = async |pattern: Option<&str>, after, limit| {
        let pattern = pattern.map(|glob| Pattern::new(glob).expect("a valid glob"));
        let streams = store.streams(pattern.as_ref(), after, limit).await.expect("streams are listed");
        streams.into_iter().map(|info| info.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 10).await, ["A", "a-10", "a-2", "b", "ä"]);
    assert_eq!(list(None, Some("a-10"), 2).await, ["a-2", "b"]);
    assert_eq!(list(Some("a-*"), None, 10).await, ["a-10", "a-2"]);
    let info = store.stream(&StreamName::from_stored("a-10")).await.expect("read").expect("there");
    assert_eq!((info.first_offset, info.next_offset, info.last_position), (Offset(0), Offset(3), Position(5)));
    assert_eq!(info.bytes, log(store).await[3..6].iter().map(|e| e.raw().len() as u64 + 2).sum::<u64>());
    assert!(store.stream(&StreamName::from_stored("none")).await.expect("read").is_none());
}

fn generation(id: u64) -> GenerationRecord {
    GenerationRecord {
        id: GenerationId(id),
        plugin: "p".into(),
        revision: 1,
        state: GenerationState::Building,
        checkpoint: Position(0),
        lifts: 0,
        created_at: NOW,
    }
}

fn put(collection: &str, key: &str, value: Option<&str>) -> DocumentChange {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    DocumentChange { collection: collection.into(), key: key.into(), value }
}

fn documents(generation: u64, documents: Vec<DocumentChange>) -> Change {
    Change::PutDocuments { generation: GenerationId(generation), documents }
}

fn advance(generation: u64, from: u64, to: u64) -> Change {
    Change::Advance { generation: GenerationId(generation), from: Position(from), to: Position(to) }
}

async fn documents_and_checkpoint_commit_together(store: &impl Store) {
    let g = GenerationId(1);
    commit_one(store, Unit::change(vec![Change::CreateGeneration(generation(1))])).await;
    let first = vec![documents(1, vec![put("c", "x", Some("1")), put("c", "y", Some("2"))]), advance(1, 0, 5)];
    let second = vec![documents(1, vec![put("c", "x", None), put("d", "y", Some("3"))]), advance(1, 5, 9)];
    let outcomes = commit(store, &[Unit::change(first.clone()), Unit::change(second), Unit::change(first)]).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_ok(), "checkpoints move in order within a group");
    let fenced = Rejection::Fenced { generation: g, expected: Position(0), actual: Position(9) };
    assert_eq!(outcomes[2].as_ref().err(), Some(&fenced), "a stale runner is fenced off");
    assert_eq!(store.document(g, "c", "x").await.expect("read"), None, "its documents are not stored either");
    let keys = ["y".to_owned(), "z".to_owned(), "x".to_owned()];
    let many = store.documents(g, "c", &keys).await.expect("read");
    assert_eq!(many, [Some(Bytes::from_static(b"2")), None, None], "one answer for each key, in order");
    let checkpoint = store.generations().await.expect("read")[0].checkpoint;
    assert_eq!(checkpoint, Position(9), "the checkpoint is stored with the documents");
    let unknown = commit(store, &[Unit::change(vec![documents(9, vec![put("c", "x", Some("1"))])])]).await;
    assert_eq!(unknown[0].as_ref().err(), Some(&Rejection::NoGeneration { generation: GenerationId(9) }));
    assert_eq!(store.count(g, "c", "").await.expect("read"), 1);
}

fn guard(key: &str, value: Option<&str>) -> Guard {
    Guard { collection: "own".into(), key: key.into(), value: value.map(|value| Bytes::from(value.to_owned())) }
}

async fn guards_let_one_owner_go_on(store: &impl Store) {
    let own = |expected: Option<&str>, new: Option<&str>| Unit {
        guards: vec![guard("k", expected)],
        changes: vec![documents(0, vec![put("own", "k", new), put("own", "log", new)])],
        ..Unit::default()
    };
    let group = [own(None, Some("1")), own(None, Some("2")), own(Some("1"), Some("3"))];
    let outcomes = commit(store, &group).await;
    let overtaken = Rejection::Overtaken { collection: "own".into(), key: "k".into() };
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "a guard sees the units before it: {outcomes:?}");
    assert_eq!(outcomes[1].as_ref().err(), Some(&overtaken), "a guard that does not hold rejects the unit");
    let stored = store.document(GenerationId::HOST, "own", "log").await.expect("read");
    assert_eq!(stored.as_deref(), Some(&b"3"[..]), "nothing of a unit with a failing guard is stored");
    let append = append("s", Expected::Any, events("s", 1, 1));
    let with_append = Unit { guards: vec![guard("k", Some("1"))], ..append.clone() };
    assert_eq!(commit(store, &[with_append]).await[0].as_ref().err(), Some(&overtaken), "not its events either");
    let other = Unit { guards: vec![guard("k", Some("3")), guard("none", None)], ..append };
    assert!(commit(store, &[other, own(Some("3"), None), own(None, Some("4"))]).await.iter().all(Result::is_ok));
    assert_eq!(log(store).await.len(), 1, "an append passes beside guards that hold");
}

async fn documents_are_scanned_in_byte_order(store: &impl Store) {
    let g = GenerationId(1);
    let keys = ["a", "ab", "b/1", "b/10", "b/2", "b0", "ü", "\u{10FFFF}", "\u{10FFFF}z"];
    let changes = keys.iter().rev().map(|key| put("c", key, Some(key))).collect();
    let other = vec![put("b", "b/1", Some("other")), put("cc", "b/1", Some("other"))];
    let unit = Unit::change(vec![Change::CreateGeneration(generation(1)), documents(1, changes), documents(1, other)]);
    commit_one(store, unit).await;
    let scan = async |prefix: &str, after: Option<&str>, limit| {
        let page = store.scan(g, "c", prefix, after, limit).await.expect("scanned");
        (page.documents.into_iter().map(|d| d.key).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(scan("", None, 100).await, (keys.map(String::from).to_vec(), false));
    assert_eq!(scan("b/", None, 2).await, (vec!["b/1".into(), "b/10".into()], true));
    assert_eq!(scan("b/", Some("b/10"), 2).await, (vec!["b/2".into()], false));
    assert_eq!(scan("\u{10FFFF}", None, 9).await.0.len(), 2, "the last prefix has no upper neighbour");
    for (prefix, count) in [("", keys.len() as u64), ("b/", 3), ("b/1", 2), ("\u{10FFFF}", 2), ("bb", 0)] {
        assert_eq!(store.count(g, "c", prefix).await.expect("counted"), count, "keys that begin with `{prefix}`");
    }
    let back = async |prefix: &str, before: Option<&str>, limit| {
        let page = store.scan_back(g, "c", prefix, before, limit).await.expect("scanned");
        (page.documents.into_iter().map(|d| d.key).collect::<Vec<_>>(), page.more)
    };
    let down: Vec<String> = keys.iter().rev().map(|key| (*key).to_owned()).collect();
    assert_eq!(back("", None, 100).await, (down.clone(), false), "a scan from the end is one the other way round");
    assert_eq!(back("b/", None, 2).await, (vec!["b/2".into(), "b/10".into()], true), "it begins at the prefix's end");
    assert_eq!(back("b/", Some("b/10"), 2).await, (vec!["b/1".into()], false), "what it begins before is not in it");
    assert_eq!(back("b/", Some("b"), 9).await, (vec![], false), "nothing of a prefix comes before it");
    assert_eq!(back("b/", Some("z"), 1).await, (vec!["b/2".into()], true), "it begins at the prefix's end at most");
    assert_eq!(back("\u{10FFFF}", Some("\u{10FFFF}z"), 9).await, (vec!["\u{10FFFF}".into()], false));
    let dropped = commit_one(store, Unit::change(vec![Change::DropDocuments { generation: g, limit: 4 }])).await;
    assert_eq!(dropped.removed, 4, "removal is bounded, and says how much it did");
    let dropped = commit_one(store, Unit::change(vec![Change::DropDocuments { generation: g, limit: 100 }])).await;
    assert_eq!(dropped.removed, keys.len() as u64 + 2 - 4);
    commit_one(store, Unit::change(vec![Change::DropGeneration { generation: g }])).await;
    assert!(store.generations().await.expect("read").is_empty());
}

async fn plugins_and_generations_are_kept(store: &impl Store) {
    let revision = |number, sha: &str| RevisionRecord {
        plugin: "p".into(),
        kind: Kind::Projection,
        number,
        sha256: sha.into(),
        descriptor: "{}".into(),
        setup: "{}".into(),
        deployed_at: Timestamp(i64::from(number)),
    };
    for (number, sha) in [(1, "aa"), (2, "bb")] {
        let component = Bytes::copy_from_slice(sha.as_bytes());
        commit_one(store, Unit::change(vec![Change::Deploy { revision: revision(number, sha), component }])).await;
    }
    let plugins = store.plugins().await.expect("read");
    assert_eq!((plugins.len(), &plugins[0].current), (1, &revision(2, "bb")), "the newest revision is current");
    assert_eq!(plugins[0].created_at, Timestamp(1), "a plugin is as old as its first revision");
    let revisions: Vec<u32> = store.revisions().await.expect("read").iter().map(|r| r.number).collect();
    assert_eq!(revisions, [1, 2], "old revisions are kept");
    assert_eq!(store.component("aa").await.expect("read").as_deref(), Some(&b"aa"[..]), "old components are kept");
    let changes = vec![
        Change::CreateGeneration(generation(1)),
        Change::CreateGeneration(generation(2)),
        Change::SetGenerationState { generation: GenerationId(1), state: GenerationState::Serving },
    ];
    commit_one(store, Unit::change(changes)).await;
    let states: Vec<_> = store.generations().await.expect("read").iter().map(|g| (g.id.0, g.state)).collect();
    assert_eq!(states, [(1, GenerationState::Serving), (2, GenerationState::Building)]);
    commit_one(store, Unit::change(vec![Change::RemovePlugin { name: "p".into() }])).await;
    assert!(store.plugins().await.expect("read").is_empty());
    assert_eq!(store.component("bb").await.expect("read"), None, "a removed plugin's components go with it");
}
