//! The connection to PostgreSQL is lost in mid-commit, while the server goes on: whether the commit took
//! place is found out, and no event is doubled.

use tokio::task::block_in_place;
use wasmill_test_postgres::Postgres;

use super::kill::folder;
use super::load::Load;
use super::postgres::AWAY;
use super::proxy::Proxy;
use super::verify::whole_log;
use crate::support::rng::Rng;
use crate::support::{TestHost, long};

/// A group of the load is some kilobytes: the cut falls into one of the next few commits, or their
/// answers.
const BYTES_UNTIL_CUT_MAX: u64 = 30_000;

/// A PostgreSQL with a database, a proxy before it, and a host that knows only the proxy.
async fn behind_a_proxy() -> (Postgres, Proxy, TestHost) {
    let postgres = block_in_place(Postgres::start);
    let database = postgres.create_database();
    let port = database.rsplit(':').next().and_then(|rest| rest.split('/').next()).expect("a URL has a port");
    let proxy = Proxy::to(port.parse().expect("a number")).await;
    let through = database.replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
    let host = TestHost::start_with(folder(), &["--store", &through]).await;
    (postgres, proxy, host)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_mid_commit_doubles_nothing() {
    let mut rng = Rng::printed("a_connection_cut_in_mid_commit_doubles_nothing");
    let (postgres, proxy, host) = behind_a_proxy().await;
    let load = Load::start(&[&host], &mut rng);
    let cuts = if long() { 1_000 } else { 30 };
    for _ in 0..cuts {
        load.acknowledges(1).await;
        proxy.cut_after(rng.below(BYTES_UNTIL_CUT_MAX)).await;
    }
    load.acknowledges(100).await;
    host.becomes(200).await;
    let outcome = load.finish(&host).await;
    outcome.verify(&whole_log(&host).await);
    outcome.assert_told_only(&AWAY);
    // Each connection of the writer takes the next epoch.
    let epoch: u64 = postgres.psql("test_0", "select max(epoch) from host").parse().expect("a number");
    assert!(epoch > cuts / 2, "the writer was connected {epoch} times, so few cuts met a commit");
}

/// Nobody closes a connection that a firewall has forgotten, and nothing comes over it: the host has to
/// give it up by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_is_given_up() {
    let mut rng = Rng::printed("a_connection_that_falls_silent_is_given_up");
    let (_postgres, proxy, host) = behind_a_proxy().await;
    let load = Load::start(&[&host], &mut rng);
    load.acknowledges(100).await;
    proxy.silence();
    // Twice: the first group may have been answered already when the silence began.
    load.acknowledges(100).await;
    load.acknowledges(100).await;
    host.becomes(200).await;
    let outcome = load.finish(&host).await;
    outcome.verify(&whole_log(&host).await);
    outcome.assert_told_only(&AWAY);
}
