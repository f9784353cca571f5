//! Connections that are lost at every moment of a commit.

use std::time::{Duration, Instant};

use wasmill_core::event::Position;
use wasmill_core::record::GenerationId;
use wasmill_core::store::{Appended, DocumentStore, LogStore, PluginStore, Rejection, Store, StoreError, Unit};

use super::proxy::{Cut, Proxy};
use super::{NOW, append, assert_log_is, fresh_url, generation, open, place, sql, step, until_answered};
use crate::postgres::{PostgresOptions, PostgresStore};

const CUTS: [Cut; 2] = [Cut::BeforeTheRequest, Cut::BeforeTheAnswer];
/// How long the writer tries to connect in these tests.
const WAIT: Duration = Duration::from_millis(300);

/// A store behind a proxy, and the URL without it.
async fn behind_proxy() -> (PostgresStore, Proxy, String) {
    let url = fresh_url().await;
    let proxy = Proxy::before(&url).await;
    let options = PostgresOptions { reconnect_wait: WAIT, answer_wait: 3 * WAIT, ..PostgresOptions::at(&proxy.url) };
    let store = PostgresStore::open(options).await.expect("the database opens");
    store.commit(&[Unit::change(vec![generation(1)])], NOW).await.expect("commits").remove(0).expect("passes");
    (store, proxy, url)
}

/// After the first of two groups the head is known, and after the second the usual statement is prepared.
async fn warm(store: &PostgresStore, answered: &mut Vec<(Unit, Appended)>, id: u128) {
    for unit in [append("s", id, 1), append("s", (1 << 64) + id, 1)] {
        answered.push((unit.clone(), place(store, &unit).await.expect("it commits")));
    }
}

/// Nobody holds the head, and there is no second writer.
async fn assert_nothing_is_left_behind(url: &str) {
    sql(url, "select 1 from log_head for update nowait").await;
    sql(url, "select 1 from host for update nowait").await;
    let writers = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name like 'wasmill writer%'";
    assert_eq!(sql(url, writers).await, "1", "the lost connection's backend has ended");
}

/// Cuts the connection at the first request of a group, then at the second, and so on, until the group is
/// through before it comes to that. Gives the number of requests.
async fn cut_at_every_request(with_append: bool, with_changes: bool, cut: Cut) -> usize {
    let (store, proxy, url) = behind_proxy().await;
    let mut answered = Vec::new();
    let mut checkpoint = 0;
    for n in 1.. {
        warm(&store, &mut answered, n as u128 * 2).await;
        let mut unit = if with_append { append("s", n as u128 * 2 + 1, 3) } else { Unit::default() };
        if with_changes {
            unit.changes = step(1, checkpoint);
            checkpoint += 1;
        }
        proxy.cut(cut, n);
        let outcome = store.commit(std::slice::from_ref(&unit), NOW).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{cut:?} {n}: {error:?}")).remove(0);
        let mut committed = outcome.unwrap_or_else(|rejection| panic!("{cut:?} {n}: {rejection:?}"));
        if with_append {
            let appended = committed.appends.remove(0);
            assert!(!appended.duplicate && committed.chunks.len() == 1, "{cut:?} {n}: it is the first answer");
            answered.push((unit, appended));
        }
        assert_log_is(&store, &answered).await;
        assert_eq!(store.generations().await.unwrap()[0].checkpoint, Position(checkpoint), "{cut:?} {n}");
        assert_eq!(store.count(GenerationId(1), "c", "").await.unwrap(), checkpoint, "{cut:?} {n}");
        assert_nothing_is_left_behind(&url).await;
        if proxy.disarm() {
            store.close().await;
            return n - 1;
        }
    }
    unreachable!("there are not so many requests")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_appends_is_committed_once_wherever_its_connection_is_cut() {
    for cut in CUTS {
        assert_eq!(cut_at_every_request(true, false, cut).await, 1, "one round trip");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_changes_is_committed_once_wherever_its_connection_is_cut() {
    for cut in CUTS {
        assert!(cut_at_every_request(false, true, cut).await >= 5, "begin, fence, checkpoint, document, commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_with_changes_are_committed_once_wherever_their_connection_is_cut() {
    for cut in CUTS {
        assert!(cut_at_every_request(true, true, cut).await >= 6, "begin, lock, rows, commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_leaves_an_unknown_outcome_that_a_repetition_settles() {
    for cut in CUTS {
        let (store, proxy, url) = behind_proxy().await;
        let mut answered = Vec::new();
        warm(&store, &mut answered, 1).await;
        let unit = append("s", 2, 3);
        proxy.cut(cut, 1);
        proxy.refuse(true);
        let started = Instant::now();
        assert!(matches!(place(&store, &unit).await, Err(StoreError::Unknown(_))), "{cut:?}: nobody can know");
        assert!((WAIT / 2..WAIT * 4).contains(&started.elapsed()), "it was waited for, and not for long");
        // From then on it is clear that nothing is written.
        assert!(matches!(place(&store, &append("s", 3, 1)).await, Err(StoreError::Unavailable(_))), "{cut:?}");
        proxy.refuse(false);
        let appended = place(&store, &unit).await.expect("it goes on");
        assert_eq!(appended.duplicate, cut == Cut::BeforeTheAnswer, "the repetition gets the first answer, if any");
        answered.push((unit, appended));
        warm(&store, &mut answered, 4).await;
        assert_log_is(&store, &answered).await;
        assert_nothing_is_left_behind(&url).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_before_anything_was_sent_leaves_no_doubt() {
    let (store, proxy, _) = behind_proxy().await;
    proxy.cut(Cut::BeforeTheAnswer, 1);
    proxy.refuse(true);
    // A group of changes begins with `begin`.
    let lost = store.commit(&[Unit::change(step(1, 0))], NOW).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    proxy.refuse(false);
    let again = store.commit(&[Unit::change(step(1, 0))], NOW).await.expect("it goes on");
    assert!(again[0].is_ok(), "nothing was written before: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_survives_several_losses_within_its_wait() {
    let (store, proxy, _) = behind_proxy().await;
    let mut answered = Vec::new();
    warm(&store, &mut answered, 1).await;
    let before = proxy.connections();
    proxy.cut(Cut::BeforeTheRequest, 1);
    let unit = append("s", 2, 1);
    let commit = async { place(&store, &unit).await.expect("it commits") };
    let cut_again = async {
        while proxy.connections() < before + 1 {
            tokio::task::yield_now().await;
        }
        // In the middle of connecting.
        proxy.cut(Cut::BeforeTheAnswer, 1);
    };
    let (appended, ()) = tokio::join!(commit, cut_again);
    answered.push((unit, appended));
    assert_log_is(&store, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_forgotten_goes_on() {
    let (store, proxy, url) = behind_proxy().await;
    let mut answered = Vec::new();
    warm(&store, &mut answered, 1).await;
    // As another host does when this one was silent for a minute: a laptop that slept.
    sql(&url, "delete from host").await;
    warm(&store, &mut answered, 2).await;
    sql(&url, "delete from host").await;
    let changed = store.commit(&[Unit::change(step(1, 0))], NOW).await.expect("it goes on");
    assert!(changed[0].is_ok());
    warm(&store, &mut answered, 5).await;
    // The row goes while the connection is lost: what became of the group cannot be known.
    sql(
        &url,
        "create function forget() returns trigger language plpgsql as $$
        begin delete from host; return null; end $$",
    )
    .await;
    sql(
        &url,
        "create constraint trigger forget after insert on chunk deferrable initially deferred
        for each row execute function forget()",
    )
    .await;
    let unit = append("s", 3, 1);
    proxy.cut(Cut::BeforeTheAnswer, 1);
    assert!(matches!(place(&store, &unit).await, Err(StoreError::Unknown(_))));
    sql(&url, "drop trigger forget on chunk").await;
    let appended = place(&store, &unit).await.expect("it goes on");
    assert!(appended.duplicate);
    answered.push((unit, appended));
    // What is lost later is known again.
    warm(&store, &mut answered, 6).await;
    let unit = append("s", 4, 1);
    proxy.cut(Cut::BeforeTheRequest, 1);
    answered.push((unit.clone(), place(&store, &unit).await.expect("it goes on")));
    assert_log_is(&store, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_backends_are_replaced_and_other_hosts_still_heard() {
    let url = fresh_url().await;
    let (a, b) = (open(&url).await, open(&url).await);
    for _ in 0..2 {
        b.changed().await;
    }
    let mut answered = Vec::new();
    for id in 0..4_u128 {
        sql(
            &url,
            "select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
        let unit = append("s", id, 1);
        answered.push((unit.clone(), place(&a, &unit).await.expect("the writer connects anew")));
        let heard = async {
            while b.head().await.is_ok_and(|head| head.next_position.0 <= id as u64) {
                b.changed().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), heard).await.expect("changed() goes on");
    }
    // And it is the notification that wakes, not only the poll each second.
    b.changed().await;
    let mut woken_at_once = 0;
    for id in 10..20 {
        let heard = tokio::time::timeout(Duration::from_millis(500), b.changed());
        let unit = append("s", id, 1);
        let (heard, appended) = tokio::join!(heard, place(&a, &unit));
        woken_at_once += u32::from(heard.is_ok());
        answered.push((unit, appended.expect("it commits")));
    }
    assert!(woken_at_once >= 5, "{woken_at_once} of 10 commits woke the other host within half a second");
    assert_log_is(&b, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_only_reads_is_unavailable_until_it_writes_again() {
    let url = fresh_url().await;
    let database = url.rsplit('/').next().unwrap();
    let options = PostgresOptions { reconnect_wait: WAIT, ..PostgresOptions::at(&url) };
    let store = PostgresStore::open(options).await.expect("the database opens");
    let mut answered = Vec::new();
    warm(&store, &mut answered, 1).await;
    let server = |text: String| async move { sql("postgres", &text).await };
    server(format!("alter database {database} set default_transaction_read_only = on")).await;
    server(format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'")).await;
    let unit = append("s", 2, 1);
    for _ in 0..2 {
        let refused = place(&store, &unit).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_) | StoreError::Unknown(_))), "{refused:?}");
    }
    assert!(matches!(place(&store, &unit).await, Err(StoreError::Unavailable(_))), "and the host goes on");
    assert_log_is(&store, &answered).await;
    server(format!("alter database {database} reset default_transaction_read_only")).await;
    answered.push((unit.clone(), until_answered(&store, &unit).await));
    assert_log_is(&store, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_become_shorter_stops_the_host() {
    let (store, proxy, url) = behind_proxy().await;
    let mut answered = Vec::new();
    warm(&store, &mut answered, 1).await;
    // As after a failover to a standby that lacked the last event.
    sql(
        &url,
        "update log_head set next_position = 1; delete from chunk where first_position = 1;
        delete from event_id where position = 1; update stream set next_offset = 1",
    )
    .await;
    proxy.cut(Cut::BeforeTheRequest, 1);
    let error = place(&store, &append("s", 9, 1)).await.expect_err("it is noticed");
    let StoreError::Damaged { what } = &error else { panic!("{error:?}") };
    assert!(what.contains("ends at position 1, but ended at 2 before"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_cancelled_was_not_committed() {
    let url = fresh_url().await;
    let store = open(&url).await;
    let mut answered = Vec::new();
    warm(&store, &mut answered, 1).await;
    sql(
        &url,
        "create function wait() returns trigger language plpgsql as $$
        begin perform pg_sleep(20); return null; end $$",
    )
    .await;
    sql(
        &url,
        "create constraint trigger wait after insert on chunk deferrable initially deferred
        for each row execute function wait()",
    )
    .await;
    let unit = append("s", 2, 1);
    let commit = async {
        let cancelled = place(&store, &unit).await;
        assert!(matches!(cancelled, Err(StoreError::Unavailable(_))), "{cancelled:?}");
    };
    let cancel = async {
        let cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity where datname = current_database()
            and application_name like 'wasmill writer%' and wait_event = 'PgSleep'";
        while sql(&url, cancel).await == "0" {}
    };
    tokio::join!(commit, cancel);
    sql(&url, "drop trigger wait on chunk").await;
    let appended = place(&store, &unit).await.expect("it goes on");
    assert!(!appended.duplicate, "the cancelled one left nothing");
    answered.push((unit, appended));
    assert_log_is(&store, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_runner_is_told_apart_from_its_own_lost_commit() {
    let (store, proxy, _) = behind_proxy().await;
    proxy.cut(Cut::BeforeTheAnswer, 6);
    let first = store.commit(&[Unit::change(step(1, 0))], NOW).await.expect("it is found out").remove(0);
    assert!(first.is_ok(), "{first:?}");
    let late = store.commit(&[Unit::change(step(1, 0))], NOW).await.expect("answered").remove(0);
    assert!(matches!(late, Err(Rejection::Fenced { .. })), "{late:?}");
}
