//! Group commit, filters, and readers that follow.

use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::event::{NewEvent, Offset, Position};
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::log::publish::{Append, AppendError};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::store::{Direction, PageLimit};

use super::support::{PAGE, host};

fn append(stream: &str, event_type: &str, count: usize) -> Append {
    let event = || NewEvent {
        id: Uuid::now_v7(),
        event_type: event_type.into(),
        data: Bytes::from_static(b"{}"),
        ..NewEvent::default()
    };
    Append { stream: stream.into(), events: (0..count).map(|_| event()).collect(), ..Append::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_publishers_leave_no_gap_and_a_follower_misses_none() {
    let test = host().await;
    let (publisher, reader) = (&test.host.publisher, &test.host.reader);
    let mut follower = reader.follow_log(Position(0), Filter::default());
    let mut of_stream = reader.follow_stream(StreamName::new("s-1").unwrap(), Offset(0));
    let publishers = (0..8).map(|p| {
        let publisher = publisher.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                publisher.append(append(&format!("s-{}", (p + n) % 4), "a", 1 + n % 3)).await.unwrap();
            }
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let total: u64 = (0..50).map(|n| 1 + n % 3).sum::<u64>() * 8;
    let mut next = 0;
    while next < total {
        for event in follower.next_page(PageLimit { events: 7, bytes: 1 << 20 }).await.unwrap().events {
            assert_eq!(event.position().0, next);
            next += 1;
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let all = reader.log_page(Position(0), Direction::Forward, &Filter::default(), PAGE).await.unwrap().events;
    let expected = all.iter().filter(|event| event.stream() == "s-1").count() as u64;
    let mut next = 0;
    while next < expected {
        for event in of_stream.next_page(PageLimit { events: 3, bytes: 1 << 20 }).await.unwrap() {
            assert_eq!((event.stream(), event.offset().0), ("s-1", next));
            next += 1;
        }
    }
}

#[tokio::test]
async fn a_filtered_page_says_how_far_it_looked() {
    let test = host().await;
    let (publisher, reader) = (&test.host.publisher, &test.host.reader);
    for n in 0..100 {
        publisher.append(append("s", if n % 10 == 3 { "wanted" } else { "other" }, 1)).await.unwrap();
    }
    let types = vec![Pattern::new("want*").unwrap()];
    let filter = Filter::new(vec![FilterTerm { types, ..FilterTerm::default() }]);
    let read = async |from, direction, events| {
        let limit = PageLimit { events, bytes: 1 << 20 };
        let page = reader.log_page(Position(from), direction, &filter, limit).await.unwrap();
        (page.events.iter().map(|event| event.position().0).collect::<Vec<_>>(), page.next.map(|next| next.0), page.end)
    };
    assert_eq!(read(0, Direction::Forward, 2).await, (vec![3, 13], Some(23), false), "the third begins the next page");
    assert_eq!(read(94, Direction::Forward, 10).await, (vec![], Some(100), true), "nothing more, and all looked at");
    assert_eq!(read(20, Direction::Backward, 10).await, (vec![13, 3], None, true));
    assert_eq!(read(99, Direction::Backward, 1).await, (vec![93], Some(92), false));
}

#[tokio::test]
async fn every_broken_rule_of_a_batch_is_named_and_nothing_is_stored() {
    let test = host().await;
    let (publisher, reader) = (&test.host.publisher, &test.host.reader);
    let mut batch = append("s", "a", 4);
    batch.events[1].event_type = String::new();
    batch.events[2].data = Bytes::from_static(b"{");
    batch.events[3].tags = vec!["x".repeat(129)];
    let Err(AppendError::InvalidEvents(broken)) = publisher.append(batch).await else { panic!("it is refused") };
    let at: Vec<_> = broken.iter().map(|detail| detail.at.as_str()).collect();
    assert_eq!(at, ["events[1].type", "events[2].data", "events[3].tags[0]"]);
    assert_eq!(reader.tail().next(), Position(0));
}

#[tokio::test]
async fn a_cause_in_the_log_or_in_the_batch_passes_its_ids_on() {
    let test = host().await;
    let (publisher, reader) = (&test.host.publisher, &test.host.reader);
    let mut first = append("s", "a", 1);
    first.events[0].origin.correlation_id = Some("c".into());
    first.events[0].origin.workflow_id = Some("w".into());
    let cause = first.events[0].id;
    publisher.append(first).await.unwrap();
    let mut second = append("s", "b", 2);
    second.events[0].origin.causation_id = Some(cause.to_string());
    second.events[1].origin.causation_id = Some(second.events[0].id.to_string());
    second.events[1].origin.workflow_id = Some("own".into());
    publisher.append(second).await.unwrap();
    let events = reader.log_page(Position(1), Direction::Forward, &Filter::default(), PAGE).await.unwrap().events;
    let ids = |n: usize| (events[n].origin().workflow_id, events[n].origin().correlation_id);
    assert_eq!(ids(0), (Some("w".into()), Some("c".into())));
    assert_eq!(ids(1), (Some("own".into()), Some("c".into())), "its own workflow stays, the rest is passed on");
}
