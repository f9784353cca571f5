//! Pages where chunks are large.

use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::StreamName;
use wasmill_core::store::{Direction, LogStore, PageLimit};

use super::{append, commit, event, open, scratch};

fn positions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.position().0).collect()
}

/// A run above 64 KiB is fetched by itself and the page goes on behind it with another query. That one
/// looked for the chunk in which the page goes on, which was the same large chunk, when it was the
/// last one, for ever.
#[tokio::test]
async fn a_page_ends_behind_a_large_chunk() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    for n in 0..3 {
        commit(&store, append("s", [event("s", n * 2, vec![7; 70_000]), event("s", n * 2 + 1, "x")])).await.unwrap();
    }
    let (stream, limit) = (StreamName::from_stored("s"), PageLimit { events: 100, bytes: 1 << 20 });
    for from in 0..8 {
        let up: Vec<u64> = (from..6).collect();
        let down: Vec<u64> = (0..=from.min(5)).rev().collect();
        for (direction, expected) in [(Direction::Forward, up), (Direction::Backward, down)] {
            let log = store.read_log(Position(from), direction, &Filter::default(), limit).await.unwrap();
            assert_eq!(positions(&log.events), expected, "the log from {from}");
            let read = store.read_stream(&stream, Offset(from), direction, limit).await.unwrap();
            assert_eq!(positions(&read), expected, "the stream from {from}");
        }
    }
    let few = PageLimit { events: 100, bytes: 71_000 };
    let page = store.read_log(Position(1), Direction::Forward, &Filter::default(), few).await.unwrap();
    assert_eq!(positions(&page.events), [1, 2, 3], "bytes are counted by event, not by chunk");
}

/// Queries grow; what they find has to fit together at every seam.
#[tokio::test]
async fn a_page_of_many_small_chunks_has_no_seams() {
    let (_directory, path) = scratch();
    let store = open(&path).await;
    for group in 0..10 {
        let units: Vec<_> = (0..100)
            .map(|n| {
                let stream = format!("s-{}", n % 2);
                append(&stream, [event(&stream, group * 100 + n, "x")])
            })
            .collect();
        wasmill_core::store::Store::commit(&store, &units, super::NOW).await.unwrap();
    }
    for events in [1, 31, 32, 33, 160, 161, 700, 1_000] {
        let limit = PageLimit { events, bytes: 1 << 20 };
        let up = store.read_log(Position(100), Direction::Forward, &Filter::default(), limit).await.unwrap();
        assert_eq!(positions(&up.events), (100..1_000).take(events).collect::<Vec<_>>());
        let down = store.read_log(Position(899), Direction::Backward, &Filter::default(), limit).await.unwrap();
        assert_eq!(positions(&down.events), (0..900).rev().take(events).collect::<Vec<_>>());
        let stream = StreamName::from_stored("s-1");
        let up = store.read_stream(&stream, Offset(50), Direction::Forward, limit).await.unwrap();
        assert_eq!(positions(&up), (101..1_000).step_by(2).take(events).collect::<Vec<_>>());
    }
}
