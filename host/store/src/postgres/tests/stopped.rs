//! A server that stops, crashes, recovers or stands still while hosts commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmill_core::store::{Appended, LogStore, Store, StoreError, Unit};
use wasmill_test_postgres::{Postgres, Stop};

use super::{append, assert_log_is, open, place, until_answered};
use crate::postgres::{PostgresOptions, PostgresStore};
use crate::tests::is_long;

async fn start() -> (Postgres, String) {
    let start = || {
        let postgres = Postgres::start();
        let url = postgres.create_database();
        (postgres, url)
    };
    tokio::task::spawn_blocking(start).await.expect("a server starts")
}

/// Eight publishers, each with one append under way that it repeats until it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_event_is_there_once_after_each_stop() {
    let (mut postgres, url) = start().await;
    let store = Arc::new(open(&url).await);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let publish = |publisher: u128| {
        let (store, stop, acknowledged) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            let mut answered: Vec<(Unit, Appended)> = Vec::new();
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let unit = append(&format!("s-{}", publisher % 3), (publisher << 32) + n, 1 + n % 3);
                let at = until_answered(&store, &unit).await;
                answered.push((unit, at));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            answered
        })
    };
    let publishers: Vec<_> = (0..8).map(publish).collect();
    let more = async |count: u64| {
        let goal = acknowledged.load(Ordering::SeqCst) + count;
        while acknowledged.load(Ordering::SeqCst) < goal {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let rounds = if is_long() { 100 } else { 1 };
    for how in [Stop::Immediate, Stop::Kill, Stop::Fast].into_iter().cycle().take(rounds * 3) {
        more(30).await;
        let restart = move || {
            postgres.stop(how);
            postgres.restart();
            postgres
        };
        postgres = tokio::task::spawn_blocking(restart).await.expect("it stops and starts");
    }
    more(30).await;
    stop.store(true, Ordering::SeqCst);
    let mut answered = Vec::new();
    for publisher in publishers {
        answered.extend(publisher.await.expect("no publisher panics"));
    }
    assert_log_is(&*store, &answered).await;
    store.close().await;
    tokio::task::spawn_blocking(move || drop(postgres)).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_does_not_hold_a_publisher_for_ever() {
    let (postgres, url) = start().await;
    let wait = Duration::from_millis(400);
    let options = PostgresOptions { answer_wait: wait, reconnect_wait: wait, ..PostgresOptions::at(&url) };
    let store = PostgresStore::open(options).await.expect("the database opens");
    let first = append("s", 1, 1);
    let mut answered = vec![(first.clone(), place(&store, &first).await.unwrap())];
    postgres.pause();
    let (unit, started) = (append("s", 2, 1), Instant::now());
    let unknown = place(&store, &unit).await;
    assert!(matches!(unknown, Err(StoreError::Unknown(_))), "{unknown:?}");
    assert!(started.elapsed() < wait * 10, "it took {:?}", started.elapsed());
    assert!(matches!(place(&store, &unit).await, Err(StoreError::Unavailable(_))));
    postgres.resume();
    answered.push((unit.clone(), until_answered(&store, &unit).await));
    assert_log_is(&store, &answered).await;
    assert_eq!(store.head().await.unwrap().next_position.0, 2);
    store.close().await;
    tokio::task::spawn_blocking(move || drop(postgres)).await.expect("it ends");
}
