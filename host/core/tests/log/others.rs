//! Two hosts on one store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wasmill_core::event::{Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::name::Pattern;
use wasmill_core::store::{Direction, Expected, PageLimit};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;
use wasmill_core::stream::lifecycle::DeleteMode;

use super::shared::Shared;
use super::support::{PAGE, TestHost, append, host_over, name};

const SOON: Duration = Duration::from_secs(20);

async fn tail_reaches(test: &TestHost, next: u64) {
    let mut tail = test.host.reader.tail().watch();
    tokio::time::timeout(SOON, tail.wait_for(|tail| tail.0 >= next)).await.expect("the tail follows").unwrap();
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn many_followers_of_another_hosts_events_cost_one_read() {
    let store = Shared::new();
    let (a, b) = (host_over(store.beside()).await, host_over(Arc::clone(&store) as _).await);
    let follow = |_| {
        let mut log = b.host.reader.follow_log(Position(0), Filter::default());
        let mut stream = b.host.reader.follow_stream(name("s"), Offset(0));
        tokio::spawn(async move {
            let (mut positions, mut offsets) = (0, 0);
            while positions < 30 || offsets < 30 {
                if positions < 30 {
                    for event in log.next_page(PAGE).await.unwrap().events {
                        assert_eq!(event.position().0, positions);
                        positions += 1;
                    }
                }
                if offsets < 30 {
                    for event in stream.next_page(PAGE).await.unwrap() {
                        assert_eq!(event.offset().0, offsets);
                        offsets += 1;
                    }
                }
            }
        })
    };
    let followers: Vec<_> = (0..200).map(follow).collect();
    for _ in 0..10 {
        a.host.publisher.append(append("s", 3)).await.unwrap();
        let next = a.host.reader.tail().next().0;
        tail_reaches(&b, next).await;
    }
    for follower in followers {
        tokio::time::timeout(SOON, follower).await.expect("it gets all").unwrap();
    }
    let reads = store.log_reads.load(Ordering::SeqCst);
    assert!(reads <= 10, "{reads} reads for 10 commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_append_at_once_leave_no_gap_for_either() {
    let store = Shared::new();
    let hosts = [Arc::new(host_over(store.beside()).await), Arc::new(host_over(Arc::clone(&store) as _).await)];
    let total = 2 * 4 * 50 * 2;
    let follow = |host: &Arc<TestHost>| {
        let mut log = host.host.reader.follow_log(Position(0), Filter::default());
        let mut stream = host.host.reader.follow_stream(name("s-1"), Offset(0));
        let reader = host.host.reader.clone();
        tokio::spawn(async move {
            let mut next = 0;
            while next < total {
                for event in log.next_page(PageLimit { events: 7, ..PAGE }).await.unwrap().events {
                    assert_eq!(event.position().0, next);
                    next += 1;
                }
            }
            let end = reader.stream(&name("s-1")).await.unwrap().next_offset.0;
            let mut next = 0;
            while next < end {
                for event in stream.next_page(PageLimit { events: 3, ..PAGE }).await.unwrap() {
                    assert_eq!(event.offset().0, next);
                    next += 1;
                }
            }
        })
    };
    let followers: Vec<_> = hosts.iter().flat_map(|host| (0..4).map(|_| follow(host)).collect::<Vec<_>>()).collect();
    let publishers = (0..8).map(|n| {
        let host = Arc::clone(&hosts[n % 2]);
        tokio::spawn(async move {
            for _ in 0..50 {
                let last =
                    host.host.publisher.append(append(&format!("s-{}", n % 3), 2)).await.unwrap().last_position();
                let reader = &host.host.reader;
                let page = reader.log_page(last, Direction::Forward, &Filter::default(), PAGE).await.unwrap();
                assert_eq!(page.events[0].position(), last, "a publisher reads its own write");
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    for follower in followers {
        tokio::time::timeout(SOON, follower).await.expect("it gets all").unwrap();
    }
}

#[tokio::test]
async fn what_another_host_removes_or_configures_holds_here_too() {
    let store = Shared::new();
    let (a, b) = (host_over(store.beside()).await, host_over(Arc::clone(&store) as _).await);
    a.host.publisher.append(append("s", 2)).await.unwrap();
    b.host.publisher.append(append("s", 2)).await.unwrap();
    b.host.publisher.append(append("other", 1)).await.unwrap();
    assert_eq!(b.log().await.len(), 5);
    a.host.streams.truncate_before(&name("s"), Offset(3), Expected::Any).await.unwrap();
    eventually("removed events leave the cache", async || {
        b.log().await.iter().map(|event| event.position().0).eq([3, 4])
    })
    .await;
    let guard = StreamConfig::parse(r#"{"autoCreate":false}"#).unwrap();
    a.host.stream_configs.put(&Subject::Pattern(Pattern::new("*").unwrap()), guard).await.unwrap();
    eventually("the configuration holds", async || !b.host.stream_configs.effective(&name("x")).auto_create()).await;
    a.host.streams.delete(&name("s"), DeleteMode::Soft, Expected::Any).await.unwrap();
    eventually("a deletion too", async || b.log().await.len() == 1).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_for_a_while_is_waited_for() {
    let store = Shared::new();
    let (a, b) = (host_over(store.beside()).await, host_over(Arc::clone(&store) as _).await);
    store.unreachable.store(true, Ordering::SeqCst);
    a.host.publisher.append(append("s", 2)).await.unwrap();
    b.host.publisher.append(append("s", 1)).await.expect("its own commits go on");
    assert_eq!(b.host.reader.tail().next(), Position(3), "and tell of those before them");
    a.host.publisher.append(append("s", 1)).await.unwrap();
    store.unreachable.store(false, Ordering::SeqCst);
    tail_reaches(&b, 4).await;
    assert_eq!(b.log().await.len(), 4);
}
