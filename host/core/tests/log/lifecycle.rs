//! Truncation and deletion, and readers that must not notice.

use std::collections::{BTreeMap, BTreeSet};

use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::log::publish::AppendError;
use wasmill_core::log::read::{LogFollower, ReadError, StreamFollower};
use wasmill_core::record::StreamState;
use wasmill_core::store::{Direction, Expected, PageLimit};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;
use wasmill_core::stream::lifecycle::{DeleteMode, StreamError};

use super::support::{PAGE, Random, TestHost, append, host, name};

fn code<T>(outcome: Result<T, StreamError>) -> Code {
    Problem::from(outcome.err().expect("it is refused")).code
}

async fn offsets(test: &TestHost, stream: &str) -> Vec<u64> {
    let page = test.host.reader.stream_page(&name(stream), Offset(0), Direction::Forward, PAGE).await.unwrap();
    page.events.iter().map(|event| event.offset().0).collect()
}

#[tokio::test]
async fn a_truncated_stream_keeps_its_places() {
    let test = host().await;
    let streams = &test.host.streams;
    test.host.publisher.append(append("s", 1_000)).await.unwrap();
    test.host.publisher.append(append("other", 1)).await.unwrap();
    for _ in 0..2 {
        test.host.publisher.append(append("s", 1_000)).await.unwrap();
    }
    let info = streams.truncate_before(&name("s"), Offset(2_998), Expected::Exactly(Offset(2_999))).await.unwrap();
    assert_eq!(
        (info.first_offset, info.truncate_before, info.next_offset),
        (Offset(2_998), Offset(2_998), Offset(3_000))
    );
    assert_eq!(offsets(&test, "s").await, [2_998, 2_999]);
    let positions: Vec<u64> = test.log().await.iter().map(|event| event.position().0).collect();
    assert_eq!(positions, [1_000, 2_999, 3_000], "the tail cache has forgotten them too");
    assert_eq!(test.host.metrics.events_removed.get(), 2_998);
    let back = streams.truncate_before(&name("s"), Offset(5), Expected::Any).await.unwrap();
    assert_eq!(back.truncate_before, Offset(2_998), "it never steps back");
    let wrong = streams.truncate_before(&name("s"), Offset(3_000), Expected::Exactly(Offset(7))).await;
    assert_eq!(code(wrong), Code::WrongExpectedOffset);
    assert_eq!(code(streams.truncate_before(&name("none"), Offset(1), Expected::Any).await), Code::StreamNotFound);
    let all = streams.truncate_before(&name("s"), Offset(9_999), Expected::Any).await.unwrap();
    assert_eq!((all.event_count(), all.state), (0, StreamState::Live));
    assert_eq!(test.host.publisher.append(append("s", 1)).await.unwrap().first_offset, Offset(3_000));
}

#[tokio::test]
async fn a_deleted_stream_comes_back_unless_it_was_for_good() {
    let test = host().await;
    let streams = &test.host.streams;
    test.host.publisher.append(append("s", 3)).await.unwrap();
    let info = streams.delete(&name("s"), DeleteMode::Soft, Expected::Any).await.unwrap();
    assert_eq!((info.state, info.event_count(), info.bytes), (StreamState::Deleted, 0, 0));
    let gone = test.host.reader.stream(&name("s")).await;
    assert!(matches!(gone, Err(ReadError::StreamDeleted(_))));
    assert!(test.log().await.is_empty());
    assert_eq!(code(streams.truncate_before(&name("s"), Offset(1), Expected::Any).await), Code::StreamDeleted);
    assert_eq!(test.host.publisher.append(append("s", 1)).await.unwrap().first_offset, Offset(3));
    assert_eq!(offsets(&test, "s").await, [3]);
    let wrong = streams.delete(&name("s"), DeleteMode::Hard, Expected::Exactly(Offset(2))).await;
    assert_eq!(code(wrong), Code::WrongExpectedOffset);
    let info = streams.delete(&name("s"), DeleteMode::Hard, Expected::Exactly(Offset(3))).await.unwrap();
    assert_eq!(info.state, StreamState::Tombstoned);
    let refused = test.host.publisher.append(append("s", 1)).await;
    assert_eq!(Problem::from(refused.expect_err("it is gone for good")).code, Code::StreamDeleted);
    assert_eq!(code(streams.delete(&name("s"), DeleteMode::Soft, Expected::Any).await), Code::StreamDeleted);
}

#[tokio::test]
async fn a_protected_stream_is_left_alone() {
    let test = host().await;
    let streams = &test.host.streams;
    let protect = async |deletion: &str| {
        let config = StreamConfig::parse(&format!(r#"{{"deletion":"{deletion}"}}"#)).unwrap();
        test.host.stream_configs.put(&Subject::Stream(name("s")), config).await.unwrap();
    };
    test.host.publisher.append(append("s", 3)).await.unwrap();
    protect("forbidden").await;
    assert_eq!(code(streams.truncate_before(&name("s"), Offset(1), Expected::Any).await), Code::StreamProtected);
    assert_eq!(code(streams.delete(&name("s"), DeleteMode::Soft, Expected::Any).await), Code::StreamProtected);
    protect("soft_only").await;
    assert_eq!(code(streams.delete(&name("s"), DeleteMode::Hard, Expected::Any).await), Code::StreamProtected);
    streams.truncate_before(&name("s"), Offset(1), Expected::Any).await.unwrap();
    streams.delete(&name("s"), DeleteMode::Soft, Expected::Any).await.unwrap();
}

/// What a follower has handed out, against what was ever stored.
struct Followed {
    log: LogFollower,
    stream: StreamFollower,
    positions: Vec<u64>,
    offsets: Vec<u64>,
}

/// Appends, truncations, deletions and readers in random order: no page shows a removed event, and
/// followers hand out everything that was not removed before they came to it, each once, in order.
#[tokio::test]
async fn removals_never_make_a_reader_skip_or_repeat() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let test = host().await;
        let reader = &test.host.reader;
        let mut stored: BTreeMap<u64, (String, u64)> = BTreeMap::new();
        let mut removed: BTreeSet<u64> = BTreeSet::new();
        let follow = || Followed {
            log: reader.follow_log(Position(0), Filter::default()),
            stream: reader.follow_stream(name("s-0"), Offset(0)),
            positions: Vec::new(),
            offsets: Vec::new(),
        };
        let mut followers: Vec<Followed> = (0..3).map(|_| follow()).collect();
        for _ in 0..120 {
            let stream = format!("s-{}", random.below(2));
            match random.below(8) {
                0..4 => {
                    let appended = match test.host.publisher.append(append(&stream, 1 + random.below(5))).await {
                        Ok(appended) => appended,
                        Err(AppendError::Commit(error)) => panic!("seed {seed}: {error}"),
                        Err(error) => panic!("seed {seed}: {error}"),
                    };
                    for n in 0..u64::from(appended.count) {
                        let place = (stream.clone(), appended.first_offset.0 + n);
                        stored.insert(appended.first_position.0 + n, place);
                    }
                }
                4 => {
                    let Ok(info) = reader.stream(&name(&stream)).await else { continue };
                    let before = if random.below(5) == 0 {
                        test.host.streams.delete(&name(&stream), DeleteMode::Soft, Expected::Any).await.unwrap();
                        info.next_offset
                    } else {
                        let before = Offset(random.below(info.next_offset.0 as usize + 2) as u64);
                        test.host.streams.truncate_before(&name(&stream), before, Expected::Any).await.unwrap();
                        before
                    };
                    let of_stream = stored.iter().filter(|(_, (s, offset))| *s == stream && *offset < before.0);
                    removed.extend(of_stream.map(|(position, _)| *position));
                    stored.retain(|position, _| !removed.contains(position));
                }
                _ => {
                    let follower = random.below(3);
                    take_one_page(&mut followers[follower], &mut random).await;
                }
            }
            let log: Vec<u64> = test.log().await.iter().map(|event| event.position().0).collect();
            assert!(log.iter().eq(stored.keys()), "seed {seed}: {log:?} instead of {stored:?}");
        }
        for mut follower in followers {
            let before = follower.positions.len();
            while take_one_page(&mut follower, &mut random).await {}
            assert!(follower.positions.is_sorted_by(|a, b| a < b), "seed {seed}: {:?}", follower.positions);
            assert!(follower.offsets.is_sorted_by(|a, b| a < b), "seed {seed}: {:?}", follower.offsets);
            for (position, (stream, offset)) in &stored {
                assert!(follower.positions.contains(position), "seed {seed}: {position} was skipped");
                assert!(stream != "s-0" || follower.offsets.contains(offset), "seed {seed}: s-0/{offset} was skipped");
            }
            let late = &follower.positions[before..];
            assert!(
                late.iter().all(|position| !removed.contains(position)),
                "seed {seed}: {late:?} shows a removed one"
            );
        }
    }
}

/// False when neither has anything more.
async fn take_one_page(follower: &mut Followed, random: &mut Random) -> bool {
    let limit = PageLimit { events: 1 + random.below(6), ..PAGE };
    let page = follower.log.ready_page(limit).await.unwrap();
    follower.positions.extend(page.events.iter().map(|event| event.position().0));
    let soon = std::time::Duration::from_millis(1);
    let events = tokio::time::timeout(soon, follower.stream.next_page(limit)).await;
    let events = events.map(|events| events.unwrap()).unwrap_or_default();
    follower.offsets.extend(events.iter().map(|event| event.offset().0));
    !page.end || !events.is_empty()
}
