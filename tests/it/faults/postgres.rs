//! PostgreSQL goes away under load: stopped, killed or paused. The host lives on, says so, and goes on.

use tokio::task::block_in_place;
use wasmill_test_postgres::{Postgres, Stop};

use super::kill::folder;
use super::load::Load;
use super::verify::whole_log;
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

/// What a publisher may be told while the server is away; each can be repeated.
pub const AWAY: [&str; 3] = ["storage_unavailable", "outcome_unknown", "overloaded"];

/// Runs a load on a host with a PostgreSQL that fails so many times, and checks all that is promised.
/// The plugin beside it has to find its way back too.
async fn outages(test: &str, count: u64, outage: impl AsyncFn(&mut Postgres, &TestHost, &Load, u64)) {
    let mut rng = Rng::printed(test);
    let mut postgres = block_in_place(Postgres::start);
    let database = postgres.create_database();
    let host = TestHost::start_with(folder(), &["--store", &database]).await;
    host.deploy(&flights::rust_component()).await;
    let mut load = Load::start(&[&host], &mut rng);
    let flights = flights::events().into_iter().take(5_000);
    load.publish_in_order(0, flights.map(|(stream, event)| super::source::Batch::one(&stream, event)));
    for n in 0..count {
        load.acknowledges(1 + rng.below(1_000)).await;
        outage(&mut postgres, &host, &load, n).await;
        let health = host.becomes(200).await;
        assert_eq!((&health["store"], &health["writer"]), (&"ok".into(), &"ok".into()), "{health}");
        load.acknowledges(100).await;
    }
    let outcome = load.finish(&host).await;
    outcome.assert_told_only(&AWAY);
    let log = whole_log(&host).await;
    outcome.verify(&log);
    let path = format!("/api/projections/flights/documents/totals/all?waitFor={}&timeout=60s", log.len() - 1);
    let (status, totals) = host.get(&path).await;
    assert_eq!((status, &totals["value"]["events"]), (200, &5_000.into()), "each flight is folded once: {totals}");
}

/// The first outage lasts until publishers are told, the others end at once.
async fn stopped(test: &str, how: Stop) {
    outages(test, if long() { 20 } else { 2 }, async |postgres, host, load, n| {
        block_in_place(|| postgres.stop(how));
        if n == 0 {
            let health = host.becomes(503).await;
            assert_eq!((&health["store"], &health["live"]), (&"failed".into(), &true.into()), "{health}");
            load.is_told(&AWAY).await;
        }
        block_in_place(|| postgres.restart());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_is_stopped_fast_is_waited_for() {
    stopped("postgres_that_is_stopped_fast_is_waited_for", Stop::Fast).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_is_stopped_at_once_is_waited_for() {
    stopped("postgres_that_is_stopped_at_once_is_waited_for", Stop::Immediate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_is_killed_is_waited_for() {
    stopped("postgres_that_is_killed_is_waited_for", Stop::Kill).await;
}

/// Connections stay open, and nothing answers: publishers wait, and nobody is told anything.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_is_paused_is_waited_for() {
    let test = "postgres_that_is_paused_is_waited_for";
    outages(test, if long() { 20 } else { 2 }, async |postgres, host, _, _| {
        postgres.pause();
        let health = host.becomes(503).await;
        assert_eq!(health["store"], "failed", "{health}");
        postgres.resume();
    })
    .await;
}
