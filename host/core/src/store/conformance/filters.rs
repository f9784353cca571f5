//! Reads of the log by what events are, and by when they were recorded.

use bytes::Bytes;
use uuid::Uuid;

use super::log;
use crate::clock::Timestamp;
use crate::event::{Event, NewEvent, Offset, Origin, Position, PreparedEvent};
use crate::log::filter::{Filter, FilterTerm};
use crate::name::{Pattern, StreamName};
use crate::store::{Direction, Expected, PageLimit, Store, StreamAppend, Unit};

const STREAMS: [&str; 5] = ["order-1", "order-2", "user-1", "order", "a-b-c"];

/// Event `n`: what it is follows from its number.
fn event(n: u128, stream: &StreamName) -> PreparedEvent {
    let event = NewEvent {
        id: Uuid::from_u128(n + 1),
        event_type: ["placed", "paid", "order.closed"][n as usize % 3].into(),
        key: n.is_multiple_of(4).then(|| format!("key-{}", n % 3)),
        data: Bytes::from(vec![b'0'; 1 + n as usize % 40]),
        tags: (0..n % 5).map(|tag| format!("tag:{}", tag * (n % 2 + 1))).collect(),
        origin: Origin { correlation_id: (n % 6 < 4).then(|| format!("c-{}", n % 11)), ..Origin::default() },
        ..NewEvent::default()
    };
    PreparedEvent::encode(&event, stream, Timestamp(1))
}

/// 300 events in appends of one to seven.
pub(super) async fn fill(store: &impl Store) {
    let mut n = 0;
    while n < 300 {
        let stream = StreamName::from_stored(STREAMS[(n / 3 % 5) as usize]);
        let count = n % 7 + 1;
        let events = (n..n + count).map(|n| event(n, &stream)).collect();
        let unit = Unit::append(StreamAppend { stream, expected: Expected::Any, events });
        let outcome = store.commit(&[unit], Timestamp(1_000 + 10 * n as i64)).await.expect("commits").remove(0);
        outcome.expect("passes");
        n += count;
    }
}

fn patterns(globs: &[&str]) -> Vec<Pattern> {
    globs.iter().map(|glob| Pattern::new(glob).expect("a valid glob")).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn filters() -> Vec<Filter> {
    let none = FilterTerm::default;
    let terms = vec![
        vec![],
        vec![FilterTerm { streams: patterns(&["order-1"]), ..none() }],
        vec![FilterTerm { streams: patterns(&["order-*"]), ..none() }],
        vec![FilterTerm { streams: patterns(&["*-1"]), ..none() }],
        vec![FilterTerm { streams: patterns(&["order"]), ..none() }],
        vec![FilterTerm { streams: patterns(&["ord*", "a-b*"]), ..none() }],
        vec![FilterTerm { types: patterns(&["paid"]), ..none() }],
        vec![FilterTerm { types: patterns(&["order.*"]), ..none() }],
        vec![FilterTerm { types: patterns(&["unknown"]), ..none() }],
        vec![FilterTerm { keys: texts(&["key-1"]), ..none() }],
        vec![FilterTerm { keys: texts(&["order-2", "key-0"]), ..none() }],
        vec![FilterTerm { tags: texts(&["tag:2"]), ..none() }],
        vec![FilterTerm { tags: texts(&["tag:0", "tag:4"]), ..none() }],
        vec![FilterTerm { correlation_ids: texts(&["c-3", "c-7"]), ..none() }],
        vec![FilterTerm {
            streams: patterns(&["order-*"]),
            types: patterns(&["p*"]),
            tags: texts(&["tag:1"]),
            correlation_ids: texts(&["c-1", "c-2", "c-3", "c-4", "c-5"]),
            ..none()
        }],
        vec![
            FilterTerm { types: patterns(&["placed"]), tags: texts(&["tag:6"]), ..none() },
            FilterTerm { keys: texts(&["user-1"]), ..none() },
        ],
    ];
    terms.into_iter().map(Filter::new).collect()
}

pub(super) async fn filtered_reads_find_what_matches_both_ways(store: &impl Store) {
    fill(store).await;
    let all = log(store).await;
    for filter in filters() {
        for from in [0, 1, 150, 298, 299, 500] {
            let up: Vec<u64> =
                all.iter().filter(|e| filter.matches(e)).map(|e| e.position().0).filter(|p| *p >= from).collect();
            let mut down: Vec<u64> =
                all.iter().filter(|e| filter.matches(e)).map(|e| e.position().0).filter(|p| *p <= from).collect();
            down.reverse();
            for limit in [
                PageLimit { events: 1_000, bytes: 1 << 20 },
                PageLimit { events: 3, bytes: 1 << 20 },
                PageLimit { events: 9, bytes: 300 },
            ] {
                let read = walk(store, from, Direction::Forward, &filter, limit).await;
                assert_eq!(read, up, "forward from {from} by {limit:?}: {filter:?}");
                let read = walk(store, from, Direction::Backward, &filter, limit).await;
                assert_eq!(read, down, "backward from {from} by {limit:?}: {filter:?}");
            }
        }
    }
}

/// Reads page after page to the end.
pub(super) async fn walk(
    store: &impl Store,
    from: u64,
    direction: Direction,
    filter: &Filter,
    limit: PageLimit,
) -> Vec<u64> {
    let mut positions = Vec::new();
    let mut next = Some(Position(from));
    while let Some(at) = next {
        let read = store.read_log(at, direction, filter, limit).await.expect("the log is read");
        assert!(read.events.len() <= limit.events.max(1), "a page has no more events than asked for");
        let bytes: usize = read.events.iter().map(|event| event.raw().len()).sum();
        assert!(bytes <= limit.bytes || read.events.len() == 1, "a page has no more bytes than asked for");
        positions.extend(read.events.iter().map(|event| event.position().0));
        let onward = |next: Position| match direction {
            Direction::Forward => next > at,
            Direction::Backward => next < at,
        };
        assert!(read.next.is_none_or(onward), "every read moves on: from {at} to {:?}", read.next);
        next = read.next;
    }
    positions
}

pub(super) async fn times_lead_to_places(store: &impl Store) {
    assert_eq!(store.position_at(Timestamp(5)).await.expect("read"), Position(0), "an empty log has only its head");
    fill(store).await;
    let all = log(store).await;
    let stream = StreamName::from_stored("order-2");
    let next_offset = store.stream(&stream).await.expect("read").expect("there").next_offset;
    let exact = all.iter().map(Event::recorded_at);
    for time in (900..4_200).step_by(7).map(Timestamp).chain(exact) {
        let first =
            |mut events: Box<dyn Iterator<Item = &Event> + '_>| events.find(|e| e.recorded_at() >= time).cloned();
        let position = first(Box::new(all.iter())).map_or(Position(all.len() as u64), |e| e.position());
        assert_eq!(store.position_at(time).await.expect("read"), position, "the first event at {time:?} or later");
        let of_stream = all.iter().filter(|e| e.stream() == stream.as_str());
        let offset = first(Box::new(of_stream)).map_or(next_offset, |e| e.offset());
        assert_eq!(store.offset_at(&stream, time).await.expect("read"), offset, "and of a stream");
    }
    let unknown = store.offset_at(&StreamName::from_stored("none"), Timestamp(0)).await.expect("read");
    assert_eq!(unknown, Offset(0), "an unknown stream begins at 0");
}
