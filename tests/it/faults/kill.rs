//! kill -9 at random moments: what was acknowledged is there, once, without a hole.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wasmill_test_postgres::Postgres;

use super::load::Load;
use super::publisher::NO_CONNECTION;
use super::source::{Batch, LOADED};
use super::verify::whole_log;
use crate::flights::{assert_equal, figures};
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

/// How long the publishers of a host may stand still while another host on the same database is killed:
/// what its connections had locked is free when the server has noticed that they are gone.
const INTERRUPTION_MAX: Duration = Duration::from_secs(5);

pub fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary folder"))
}

/// Beside the load the flights are published in their order, with a projection that folds them: it has
/// every figure right in the end, so no event was folded twice either.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_on_sqlite_loses_nothing_and_doubles_nothing() {
    let mut rng = Rng::printed("kill_9_on_sqlite_loses_nothing_and_doubles_nothing");
    let events = flights::events();
    let (kills, total) = (if long() { 100 } else { 6 }, events.len() as u64);
    let mut host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    let mut load = Load::start(&[&host], &mut rng);
    load.publish_in_order(0, events.into_iter().map(|(stream, event)| Batch::one(&stream, event)));
    for _ in 0..kills {
        load.acknowledges(1 + rng.below(total / kills)).await;
        let dir = host.kill().await;
        host = TestHost::start_in(dir).await;
        load.moved(0, &host);
    }
    load.acknowledges(1).await;
    let outcome = load.finish(&host).await;
    let log = whole_log(&host).await;
    outcome.verify(&log);
    outcome.assert_told_only(&[NO_CONNECTION]);
    let flights = log.iter().filter(|event| event.event_type() != LOADED).map(|event| event.id().to_string());
    let sent = flights::events().into_iter().map(|(_, event)| event.id);
    assert!(flights.eq(sent), "events of one publisher are in the order in which it sent them");
    assert_equal(&figures(&host, "flights", log.len() as u64 - 1).await, &flights::answers());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_on_postgres_loses_nothing_and_doubles_nothing() {
    let mut rng = Rng::printed("kill_9_on_postgres_loses_nothing_and_doubles_nothing");
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let store = ["--store", database.as_str()];
    let mut host = TestHost::start_with(folder(), &store).await;
    let load = Load::start(&[&host], &mut rng);
    for _ in 0..if long() { 100 } else { 4 } {
        load.acknowledges(1 + rng.below(1_000)).await;
        let dir = host.kill().await;
        host = TestHost::start_with(dir, &store).await;
        load.moved(0, &host);
    }
    load.acknowledges(100).await;
    let outcome = load.finish(&host).await;
    outcome.verify(&whole_log(&host).await);
    outcome.assert_told_only(&[NO_CONNECTION]);
}

/// Either of two hosts on one database is killed; the publishers of the other hardly notice.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_one_goes_on_when_the_other_is_killed() {
    let mut rng = Rng::printed("of_two_hosts_one_goes_on_when_the_other_is_killed");
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let store = ["--store", database.as_str()];
    let mut hosts = [TestHost::start_with(folder(), &store).await, TestHost::start_with(folder(), &store).await];
    let killed = rng.below(2) as usize;
    let load = Load::start(&[&hosts[0], &hosts[1]], &mut rng);
    for _ in 0..if long() { 100 } else { 4 } {
        load.acknowledges(1 + rng.below(1_000)).await;
        let dir = hosts[killed].kill().await;
        load.acknowledges(1 + rng.below(500)).await;
        hosts[killed] = TestHost::start_with(dir, &store).await;
        load.moved(killed, &hosts[killed]);
    }
    load.acknowledges(100).await;
    let outcome = load.finish(&hosts[killed]).await;
    outcome.verify(&whole_log(&hosts[0]).await);
    outcome.assert_told_only(&[NO_CONNECTION]);
    let slowest = outcome.slowest(1 - killed);
    assert!(slowest < INTERRUPTION_MAX, "the host that was not killed did not answer for {slowest:?}");
}
