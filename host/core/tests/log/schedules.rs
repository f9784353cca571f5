//! Schedules publish once for each of their times.

use std::sync::Arc;

use wasmill_core::clock::{Clock, Timestamp};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Event, Offset};
use wasmill_core::random::{Random, seeds};
use wasmill_core::schedule::{Missed, ScheduleConfig, When};
use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;

use super::support::{DAY_US, PAGE, TestHost, event, host, host_over, name};

const MINUTE_US: i64 = 60_000_000;

fn config(stream: &str, when: When, missed: Missed) -> ScheduleConfig {
    ScheduleConfig { stream: stream.into(), event: event(1), when, missed }
}

/// The first `count` events of a stream, waiting for them.
async fn published(test: &TestHost, stream: &str, count: usize) -> Vec<Event> {
    let mut follower = test.host.reader.follow_stream(name(stream), Offset(0));
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(follower.next_page(PAGE).await.unwrap());
    }
    events
}

fn times(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.time().0 - 1_000 * DAY_US).collect()
}

#[tokio::test]
async fn a_message_for_a_time_is_published_then_and_its_schedule_is_gone() {
    let test = host().await;
    let at = test.clock.now().0 + MINUTE_US;
    test.host.schedules.put("remind", config("s", When::At(at), Missed::Once)).await.unwrap();
    test.host.schedules.put("now", config("t", When::At(5), Missed::Skip)).await.unwrap();
    // One whose time has passed is published at once; the other waits.
    assert_eq!(published(&test, "t", 1).await[0].time(), Timestamp(5));
    assert!(test.host.schedules.get("remind").await.unwrap().state.next_us == Some(at));
    assert!(test.host.reader.stream(&name("s")).await.is_err());
    test.clock.set(Timestamp(at));
    assert_eq!(published(&test, "s", 1).await[0].time(), Timestamp(at));
    let gone = test.host.schedules.get("remind").await.unwrap_err();
    assert_eq!(Problem::from(gone).code, Code::ScheduleNotFound);
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_as_the_schedule_says() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let test = host_over(Arc::clone(&store)).await;
    for (stream, missed) in [("once", Missed::Once), ("all", Missed::All), ("skip", Missed::Skip)] {
        test.host.schedules.put(stream, config(stream, When::Every(60_000), missed)).await.unwrap();
    }
    test.host.stop().await;
    let test = host_at(store, 1_000 * DAY_US + 5 * MINUTE_US + 1).await;
    assert_eq!(times(&published(&test, "all", 5).await), [1, 2, 3, 4, 5].map(|n| n * MINUTE_US));
    assert_eq!(times(&published(&test, "once", 1).await), [MINUTE_US]);
    let next = |state: wasmill_core::schedule::Schedule| state.state.next_us.unwrap() - 1_000 * DAY_US;
    for stream in ["all", "once", "skip"] {
        while next(test.host.schedules.get(stream).await.unwrap()) != 6 * MINUTE_US {
            tokio::task::yield_now().await;
        }
    }
    assert!(test.host.reader.stream(&name("skip")).await.is_err());
}

async fn host_at(store: Arc<dyn Store>, us: i64) -> TestHost {
    let test = super::support::host_later(store, Timestamp(us)).await;
    assert_eq!(test.clock.now(), Timestamp(us));
    test
}

#[tokio::test]
async fn a_schedule_that_cannot_publish_says_why_and_goes_on() {
    let test = host().await;
    let when = When::Cron { expression: "* * * * *".into(), time_zone: "UTC".into() };
    test.host.schedules.put("s", config("s", when, Missed::Once)).await.unwrap();
    let closed = StreamConfig::parse(r#"{"scope":"internal"}"#).unwrap();
    test.host.stream_configs.put(&Subject::Stream(name("s")), closed).await.unwrap();
    test.clock.advance_us(MINUTE_US);
    let failed = loop {
        let state = test.host.schedules.get("s").await.unwrap().state;
        if state.failed == 1 {
            break state;
        }
        tokio::task::yield_now().await;
    };
    assert!(failed.last_error.unwrap().contains("does not let clients publish"));
    test.host.stream_configs.remove(&Subject::Stream(name("s"))).await.unwrap();
    test.clock.advance_us(MINUTE_US);
    assert_eq!(times(&published(&test, "s", 1).await), [2 * MINUTE_US]);
    assert_eq!(test.host.schedules.get("s").await.unwrap().state.last_error, None);
}

#[tokio::test]
async fn a_paused_schedule_rests_and_a_wrong_one_is_refused() {
    let test = host().await;
    let schedules = &test.host.schedules;
    schedules.put("s", config("s", When::Every(60_000), Missed::All)).await.unwrap();
    schedules.pause("s").await.unwrap();
    test.clock.advance_us(10 * MINUTE_US);
    schedules.resume("s").await.unwrap();
    test.clock.advance_us(MINUTE_US);
    assert_eq!(times(&published(&test, "s", 1).await), [11 * MINUTE_US]);
    schedules.remove("s").await.unwrap();
    let wrong = When::Cron { expression: "nonsense".into(), time_zone: "UTC".into() };
    let refused = schedules.put("w", config("s", wrong, Missed::Once)).await.unwrap_err();
    assert_eq!(Problem::from(refused).details[0].at, "cron");
    let never = When::Cron { expression: "0 0 30 2 *".into(), time_zone: "UTC".into() };
    assert!(schedules.put("w", config("s", never, Missed::Once)).await.is_err());
    let mut broken = config("s", When::At(5), Missed::Once);
    broken.event.data = bytes::Bytes::from_static(b"{");
    let refused = schedules.put("w", broken).await.unwrap_err();
    assert_eq!(Problem::from(refused).code, Code::InvalidEvent);
    assert!(schedules.list(None, 10).await.unwrap().schedules.is_empty());
}

/// Hosts come and go while schedules run: each time is published for once, in order.
#[tokio::test]
async fn no_time_is_left_out_or_published_twice_whenever_hosts_end() {
    for seed in seeds(40) {
        let mut random = Random::new(seed);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut test = host_over(Arc::clone(&store)).await;
        let every: Vec<i64> = (0..3).map(|_| 1 + random.below(30) as i64).collect();
        for (n, seconds) in every.iter().enumerate() {
            let when = When::Every(seconds.cast_unsigned() * 1_000);
            test.host.schedules.put(&format!("s{n}"), config(&format!("s{n}"), when, Missed::All)).await.unwrap();
        }
        for _ in 0..20 {
            test.clock.advance_us(random.below(40_000_000) as i64);
            if random.percent(30) {
                let now = test.clock.now().0;
                if random.percent(50) {
                    // Somewhere in the middle of what is due.
                    for _ in 0..random.below(20) {
                        tokio::task::yield_now().await;
                    }
                }
                test.host.stop().await;
                test = host_at(Arc::clone(&store), now + random.below(100_000_000) as i64).await;
            }
        }
        let gone = test.clock.now().0 - 1_000 * DAY_US;
        for (n, seconds) in every.iter().enumerate() {
            let count = gone / (seconds * 1_000_000);
            let events = published(&test, &format!("s{n}"), count as usize).await;
            let expected: Vec<i64> = (1..=count).map(|k| k * seconds * 1_000_000).collect();
            assert_eq!(times(&events), expected, "every {seconds} s");
        }
        test.host.stop().await;
    }
}
