//! Retention: what goes, when, and what stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmill_core::clock::{Clock, Timestamp};
use wasmill_core::event::{NewEvent, Offset};
use wasmill_core::host::HostOptions;
use wasmill_core::log::publish::Append;
use wasmill_core::name::Pattern;
use wasmill_core::record::StreamState;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{Change, Store, Unit};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;
use wasmill_core::stream::retention::{RetentionOptions, RetentionReport};

use super::shared::Shared;
use super::support::{DAY_US, Random, TestHost, append, event, host, host_over, host_with, name};

const SECOND_US: i64 = 1_000_000;

async fn configure(test: &TestHost, glob: &str, json: &str) {
    let config = StreamConfig::parse(json).unwrap();
    let subject =
        if glob.contains('*') { Subject::Pattern(Pattern::new(glob).unwrap()) } else { Subject::Stream(name(glob)) };
    test.host.stream_configs.put(&subject, config).await.unwrap();
}

async fn run(test: &TestHost) -> RetentionReport {
    test.host.retention.run_once(test.clock.now()).await.unwrap()
}

async fn offsets(test: &TestHost, stream: &str) -> Vec<u64> {
    test.log().await.iter().filter(|event| event.stream() == stream).map(|event| event.offset().0).collect()
}

async fn state(test: &TestHost, stream: &str) -> StreamState {
    test.host.store.stream(&name(stream)).await.unwrap().unwrap().state
}

#[tokio::test]
async fn the_newest_events_stay_and_other_streams_too() {
    let test = host().await;
    configure(&test, "s-*", r#"{"retention":{"maxEvents":3}}"#).await;
    for stream in ["s-1", "s-2", "other"] {
        test.host.publisher.append(append(stream, 5)).await.unwrap();
    }
    let report = run(&test).await;
    assert_eq!((report.streams, report.events_removed, report.failures), (3, 4, 0));
    assert_eq!((offsets(&test, "s-1").await, offsets(&test, "other").await.len()), (vec![2, 3, 4], 5));
    assert_eq!(test.host.metrics.events_removed.get(), 4);
    assert_eq!(run(&test).await.events_removed, 0, "the same again changes nothing");
}

#[tokio::test]
async fn events_go_when_they_are_too_old() {
    let test = host().await;
    configure(&test, "s", r#"{"retention":{"maxAgeSeconds":10}}"#).await;
    for _ in 0..5 {
        test.host.publisher.append(append("s", 2)).await.unwrap();
        test.clock.advance_us(4 * SECOND_US);
    }
    run(&test).await;
    assert_eq!(offsets(&test, "s").await, [6, 7, 8, 9], "recorded 8 and 4 seconds ago; the others 12 and more");
    test.clock.advance_us(2 * SECOND_US);
    run(&test).await;
    assert_eq!(offsets(&test, "s").await, [6, 7, 8, 9], "ten seconds are not too old");
    test.clock.advance_us(DAY_US);
    run(&test).await;
    assert!(offsets(&test, "s").await.is_empty());
    assert_eq!(test.host.publisher.append(append("s", 1)).await.unwrap().first_offset, Offset(10));
}

#[tokio::test]
async fn bytes_are_kept_to_but_the_newest_event_stays() {
    let test = host().await;
    let large = |bytes: usize| {
        let data = Bytes::from(format!("\"{}\"", "x".repeat(bytes)));
        let events = vec![NewEvent { data, ..event(uuid::Uuid::now_v7().as_u128()) }];
        Append { stream: "s".into(), events, ..Append::default() }
    };
    for _ in 0..10 {
        test.host.publisher.append(large(400_000)).await.unwrap();
    }
    configure(&test, "s", r#"{"retention":{"maxBytes":1300000}}"#).await;
    assert_eq!(run(&test).await.events_removed, 7);
    assert_eq!(offsets(&test, "s").await, [7, 8, 9]);
    configure(&test, "s", r#"{"retention":{"maxBytes":1}}"#).await;
    run(&test).await;
    assert_eq!(offsets(&test, "s").await, [9]);
}

#[tokio::test]
async fn a_removal_that_a_crash_interrupted_is_finished() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let test = host_over(Arc::clone(&store)).await;
    for _ in 0..3 {
        test.host.publisher.append(append("s", 1_000)).await.unwrap();
    }
    test.host.stop().await;
    let hide = |truncate_before, state| Change::SetStream { stream: name("s"), truncate_before, state };
    store.commit(&[Unit::change(vec![hide(Offset(2_500), StreamState::Live)])], Timestamp(1)).await.unwrap();
    let test = host_over(Arc::clone(&store)).await;
    assert_eq!(run(&test).await.events_removed, 2_500);
    assert_eq!(offsets(&test, "s").await.len(), 500);
    assert_eq!(run(&test).await.streams, 1, "its own removals are a change");
    assert_eq!(run(&test).await.streams, 0, "without any there is nothing to look for");
    store.commit(&[Unit::change(vec![hide(Offset(u64::MAX), StreamState::Deleted)])], Timestamp(1)).await.unwrap();
    assert_eq!(run(&test).await.events_removed, 500, "of a deleted stream too");
    assert_eq!(state(&test, "s").await, StreamState::Deleted);
}

#[tokio::test]
async fn an_empty_stream_is_deleted_after_its_time() {
    let test = host().await;
    configure(&test, "s*", r#"{"retention":{"maxAgeSeconds":1},"deleteWhenEmptyAfterSeconds":60}"#).await;
    configure(&test, "safe*", r#"{"deletion":"forbidden"}"#).await;
    for stream in ["s", "safe", "other"] {
        test.host.publisher.append(append(stream, 1)).await.unwrap();
    }
    test.clock.advance_us(59 * SECOND_US);
    assert_eq!(run(&test).await.streams_deleted, 0);
    assert!(offsets(&test, "s").await.is_empty());
    test.clock.advance_us(SECOND_US);
    assert_eq!(run(&test).await.streams_deleted, 1);
    assert_eq!((state(&test, "s").await, state(&test, "safe").await), (StreamState::Deleted, StreamState::Live));
    assert_eq!(run(&test).await.streams_deleted, 0);
    test.host.publisher.append(append("s", 1)).await.unwrap();
    assert_eq!(state(&test, "s").await, StreamState::Live, "an append brings it back");
}

#[tokio::test]
async fn ids_are_remembered_for_a_day() {
    let test = host().await;
    configure(&test, "s", r#"{"retention":{"maxEvents":1}}"#).await;
    let first = append("s", 1);
    test.host.publisher.append(first.clone()).await.unwrap();
    test.host.publisher.append(append("s", 1)).await.unwrap();
    assert_eq!(run(&test).await.events_removed, 1);
    test.clock.advance_us(DAY_US);
    assert_eq!(run(&test).await.ids_forgotten, 0);
    assert!(test.host.publisher.append(first.clone()).await.unwrap().duplicate);
    test.clock.advance_us(3_600 * SECOND_US);
    assert_eq!(run(&test).await.ids_forgotten, 1, "within the hour after");
    assert!(!test.host.publisher.append(first).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_stream_that_fails_does_not_keep_the_others() {
    let test = host_over(Shared::new()).await;
    configure(&test, "*", r#"{"retention":{"maxAgeSeconds":1}}"#).await;
    for stream in ["a", "damaged", "z"] {
        test.host.publisher.append(append(stream, 1)).await.unwrap();
    }
    test.clock.advance_us(DAY_US);
    let report = run(&test).await;
    assert_eq!((report.events_removed, report.failures), (2, 1));
    assert_eq!(test.log().await.len(), 1);
}

#[tokio::test]
async fn the_task_runs_by_itself_while_events_come_in() {
    let retention = RetentionOptions { every: Duration::ZERO, ..RetentionOptions::default() };
    let stream_defaults = StreamConfig::parse(r#"{"retention":{"maxEvents":10}}"#).unwrap();
    let options = HostOptions { retention, stream_defaults, ..HostOptions::default() };
    let test = host_with(Arc::new(MemoryStore::default()), options).await;
    for _ in 0..200 {
        test.host.publisher.append(append("s", 7)).await.unwrap();
    }
    let wait = async {
        while offsets(&test, "s").await.len() > 10 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it removes what is too much");
    assert_eq!(offsets(&test, "s").await, (1_390..1_400).collect::<Vec<_>>());
    // The run that removed the last of them says so when it ends.
    let wait = async {
        while test.host.metrics.retention_last_run_seconds.get() == 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it tells of its run");
    test.host.stop().await;
}

/// Random rules, appends and times, against the plainest way to say what stays.
#[tokio::test]
async fn what_stays_is_what_every_rule_keeps() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let test = host().await;
        let streams = ["a", "b"];
        let mut model: BTreeMap<&str, Vec<(u64, i64, u64)>> = BTreeMap::new();
        let mut rules = [[0_u64; 3]; 2];
        for _ in 0..60 {
            let n = random.below(2);
            let stream = streams[n];
            match random.below(6) {
                0..3 => {
                    let appended = test.host.publisher.append(append(stream, 1 + random.below(4))).await.unwrap();
                    let events = test.log().await.into_iter().filter(|e| e.position() >= appended.first_position);
                    let known =
                        |e: wasmill_core::event::Event| (e.offset().0, e.recorded_at().0, e.framed_len() as u64);
                    model.entry(stream).or_default().extend(events.map(known));
                }
                3 => test.clock.advance_us(random.below(20) as i64 * SECOND_US),
                4 => {
                    let pick = |random: &mut Random, max: usize| [0, 1 + random.below(max) as u64][random.below(2)];
                    rules[n] = [pick(&mut random, 30), pick(&mut random, 12), pick(&mut random, 1_500)];
                    let [age, events, bytes] = rules[n];
                    let json =
                        format!(r#"{{"retention":{{"maxAgeSeconds":{age},"maxEvents":{events},"maxBytes":{bytes}}}}}"#);
                    let config = StreamConfig::parse(&json).unwrap();
                    test.host.stream_configs.put(&Subject::Stream(name(stream)), config).await.unwrap();
                }
                _ => {
                    run(&test).await;
                    let now = test.clock.now().0;
                    for (n, stream) in streams.into_iter().enumerate() {
                        let [age, events, bytes] = rules[n];
                        let Some(stored) = model.get_mut(stream) else { continue };
                        let count = stored.len() as u64;
                        let keeps = |i: usize, at: i64, behind: u64| {
                            (age == 0 || now - at <= age as i64 * SECOND_US)
                                && (events == 0 || count - (i as u64) <= events)
                                && (bytes == 0 || behind <= bytes || i as u64 == count - 1)
                        };
                        let mut behind: u64 = stored.iter().map(|(.., bytes)| bytes).sum();
                        let mut kept = Vec::new();
                        for (i, event) in stored.iter().enumerate() {
                            if keeps(i, event.1, behind) {
                                kept.push(*event);
                            }
                            behind -= event.2;
                        }
                        *stored = kept;
                        let left: Vec<u64> = stored.iter().map(|(offset, ..)| *offset).collect();
                        assert_eq!(offsets(&test, stream).await, left, "seed {seed}, {stream}, {:?}", rules[n]);
                    }
                }
            }
        }
    }
}
