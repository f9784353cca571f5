//! A read model gives way to another, and comes back: readers see one of them, and never go back in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use wasmill_core::event::Position;
use wasmill_core::host::Host;
use wasmill_core::plugin::deploy::DeployError;
use wasmill_core::plugin::log::Level;
use wasmill_core::plugin::settings::{OnFailure, Settings};
use wasmill_core::plugin::status::State;
use wasmill_core::projection::query::WaitFor;
use wasmill_core::record::GenerationState;

use crate::support::{component, deploy, event, fresh, host_over, publish, until};

fn version(n: u32) -> bytes::Bytes {
    component("projection", "p", json!({ "version": n.to_string() }), &[])
}

#[tokio::test]
async fn deploying_and_rolling_back_under_load_is_never_seen() {
    let (store, engine, host) = fresh().await;
    deploy(&host, version(1)).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (host, over) = (Arc::clone(&host), Arc::clone(&over));
        async move {
            let mut last = 0;
            while !over.load(Ordering::Relaxed) {
                let position = publish(&host, "s", vec![event("a", None)]).await;
                let wait = Some(WaitFor { position, timeout: WaitFor::TIMEOUT_MAX });
                let answer = host.projections.document("p", "counts", "a 1 -", wait).await.unwrap();
                let count: u64 = String::from_utf8(answer.value.to_vec()).unwrap().parse().unwrap();
                assert_eq!(count, last + 1, "a publisher reads its own write, in whichever generation");
                last = count;
            }
        }
    });
    for n in 2..6 {
        deploy(&host, version(n)).await.unwrap();
        until("the new one serves", async || {
            let deployment = host.plugins.deployment("p").unwrap();
            (deployment.serving().unwrap().revision == n).then_some(())
        })
        .await;
        let record = host.plugins.roll_back("p", None).await.unwrap();
        assert_eq!(record.current.number, n - 1);
        assert_eq!(host.plugins.deployment("p").unwrap().serving().unwrap().revision, n - 1);
        // And forward again.
        let record = host.plugins.roll_back("p", Some(n)).await.unwrap();
        assert_eq!((record.current.number, host.projections.get("p").await.unwrap().revision), (n, n));
    }
    over.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    let states = async || {
        let generations = store.generations().await.unwrap();
        generations.into_iter().map(|generation| (generation.revision, generation.state)).collect::<Vec<_>>()
    };
    let both = [(4, GenerationState::Standby), (5, GenerationState::Serving)];
    until("older ones are gone", async || (states().await == both).then_some(())).await;
    // Both go on after a restart, and there is a way back still.
    host.stop().await;
    let host = host_over(&store, &engine).await;
    assert_eq!(host.plugins.roll_back("p", Some(4)).await.unwrap().current.number, 4);
    assert!(host.plugins.confirm("p").await.unwrap(), "the one that served before is given up");
    until("it is gone", async || (states().await == [(4, GenerationState::Serving)]).then_some(())).await;
    // Without it, the way back is a build.
    assert_eq!(host.plugins.roll_back("p", Some(2)).await.unwrap().current.number, 2);
    until("it is built", async || (host.projections.get("p").await.unwrap().revision == 2).then_some(())).await;
    assert_eq!(deploy(&host, version(9)).await.unwrap().plugin.current.number, 6, "numbers are never used again");
    let refused = host.plugins.roll_back("p", Some(77)).await.unwrap_err();
    assert!(matches!(refused, DeployError::NoRevision { wanted: Some(77), .. }), "{refused}");
    host.stop().await;
}

/// A build that its host did not finish was sometimes never swapped in: whoever waits to do it began before the
/// plugin was known, took it for removed, and went away. And the rate of the build held on: here it takes longer
/// than anyone waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_was_under_way_is_swapped_in_after_a_restart() {
    let (store, engine, mut host) = fresh().await;
    deploy(&host, version(1)).await.unwrap();
    let hundred = async |host: &Host| publish(host, "s", (0..100).map(|_| event("a", None)).collect()).await;
    hundred(&host).await;
    for n in 2..20 {
        host.plugins.change_settings("p", None, |settings| settings.build_events_per_second = Some(1)).await.unwrap();
        deploy(&host, version(n)).await.unwrap();
        host.stop().await;
        host = host_over(&store, &engine).await;
        assert_eq!(host.plugins.status("p").await.unwrap().running, n - 1);
        host.plugins.change_settings("p", None, |settings| settings.build_events_per_second = None).await.unwrap();
        until("it serves", async || (host.projections.get("p").await.unwrap().revision == n).then_some(())).await;
    }
    // What is built at a rate serves without it.
    host.plugins.change_settings("p", None, |settings| settings.build_events_per_second = Some(50)).await.unwrap();
    deploy(&host, version(20)).await.unwrap();
    until("it serves", async || (host.projections.get("p").await.unwrap().revision == 20).then_some(())).await;
    host.plugins.change_settings("p", None, |settings| settings.build_events_per_second = Some(1)).await.unwrap();
    let last = hundred(&host).await;
    until("it is folded", async || (host.plugins.status("p").await.unwrap().position > last).then_some(())).await;
    let answer = host.projections.document("p", "counts", "a 1 -", None).await.unwrap();
    assert_eq!(answer.value, "200");
    host.stop().await;
}

#[tokio::test]
async fn a_build_may_wait_for_a_person() {
    let (_, _, host) = fresh().await;
    deploy(&host, version(1)).await.unwrap();
    host.plugins.change_settings("p", None, |settings: &mut Settings| settings.confirm_swap = true).await.unwrap();
    let last = publish(&host, "s", vec![event("a", None)]).await;
    deploy(&host, version(2)).await.unwrap();
    until("it is built", async || {
        let status = host.plugins.status("p").await.unwrap();
        status.building.filter(|built| built.waits_for_confirmation)
    })
    .await;
    let wait = Some(WaitFor { position: last, timeout: WaitFor::TIMEOUT_MAX });
    host.projections.document("p", "counts", "a 1 -", wait).await.unwrap();
    assert_eq!(host.projections.get("p").await.unwrap().revision, 1);
    let status = host.plugins.status("p").await.unwrap();
    let building = status.building.expect("it is being built").revision;
    assert_eq!((status.running, building, status.record.current.number), (1, 2, 2), "one serves, one is built");
    let last = publish(&host, "s", vec![event("a", None)]).await;
    assert!(host.plugins.confirm_swap("p").await.unwrap());
    until("it serves", async || (host.projections.get("p").await.unwrap().revision == 2).then_some(())).await;
    let wait = Some(WaitFor { position: last, timeout: WaitFor::TIMEOUT_MAX });
    let answer = host.projections.document("p", "counts", "a 1 -", wait).await.unwrap();
    assert_eq!((answer.value, answer.next_position), ("2".into(), Position(last.0 + 1)));
    host.stop().await;
}

#[tokio::test]
async fn a_configuration_is_a_revision() {
    let (_, _, host) = fresh().await;
    let config = json!({ "config": [{ "name": "rate", "default": "1" }] });
    deploy(&host, component("projection", "p", config, &[])).await.unwrap();
    let set = |value: &str| wasmill_core::plugin::setup::SetupChange {
        set: [("rate".to_owned(), value.to_owned())].into(),
        ..Default::default()
    };
    let configured = host.plugins.configure("p", set("2")).await.unwrap();
    assert_eq!((configured.plugin.current.number, configured.changed), (2, true));
    assert!(!host.plugins.configure("p", set("2")).await.unwrap().changed);
    let revisions = host.plugins.revisions("p").await.unwrap();
    assert_eq!(revisions[0].sha256, revisions[1].sha256);
    assert_eq!(revisions[1].setup, r#"{"config":{"rate":"2"},"grants":[]}"#);
    host.stop().await;
}

/// A projection that folds by key comes to the same with any number of partitions, which may change at any time.
#[tokio::test]
async fn partitions_change_nothing_of_what_comes_out() {
    let (store, _, host) = fresh().await;
    deploy(&host, component("projection", "p", json!({ "byKey": true }), &[])).await.unwrap();
    let mut last = Position(0);
    for partitions in [1, 4, 2, 16, 1] {
        host.plugins.change_settings("p", None, |settings| settings.partitions = Some(partitions)).await.unwrap();
        let events = (0..100).map(|n| event("a", Some(&format!("k{}", n % 10)))).collect();
        last = publish(&host, "s", events).await;
        let wait = Some(WaitFor { position: last, timeout: WaitFor::TIMEOUT_MAX });
        host.projections.document("p", "counts", "a 1 k0", wait).await.unwrap();
    }
    let generation = host.plugins.deployment("p").unwrap().serving().unwrap().id;
    for key in 0..10 {
        let count = store.document(generation, "counts", &format!("a 1 k{key}")).await.unwrap().unwrap();
        assert_eq!(count, "50", "k{key}");
    }
    assert_eq!(host.plugins.status("p").await.unwrap().position, Position(last.0 + 1));
    // One that does not do what it says is found.
    let events = (0..20).map(|n| event("shared", Some(&format!("k{n}")))).collect();
    host.plugins.change_settings("p", None, |settings| settings.partitions = Some(4)).await.unwrap();
    publish(&host, "s", events).await;
    let failure = until("it pauses", async || {
        let status = host.plugins.status("p").await.unwrap();
        status.failure.filter(|_| status.state == State::Paused)
    })
    .await;
    assert!(failure.reason.contains("`counts/shared`"), "{}", failure.reason);
    host.stop().await;
}

/// A key that fails is passed over, and the others go on; a mended revision folds it all.
#[tokio::test]
async fn a_projection_that_folds_by_key_may_park_one() {
    let (store, engine, host) = fresh().await;
    let by_key =
        |bad: &[&str], n: u32| component("projection", "p", json!({ "byKey": true, "version": n.to_string() }), bad);
    deploy(&host, by_key(&["bad"], 1)).await.unwrap();
    host.plugins.change_settings("p", None, |settings| settings.on_failure = Some(OnFailure::Park)).await.unwrap();
    let events = ["a", "bad", "a", "a"].iter().zip(["x", "x", "x", "y"]).map(|(name, key)| event(name, Some(key)));
    let last = publish(&host, "s", events.collect()).await;
    let count = async |host: &Host, position, name: &str| {
        let wait = Some(WaitFor { position, timeout: WaitFor::TIMEOUT_MAX });
        host.projections.document("p", "counts", name, wait).await.ok().map(|answer| answer.value)
    };
    assert_eq!(count(&host, last, "a 1 y").await.unwrap(), "1");
    assert_eq!(count(&host, last, "a 1 x").await.unwrap(), "1", "what is behind the bad one is passed over");
    assert_eq!(host.plugins.status("p").await.unwrap().dead_letters, 2);
    host.stop().await;
    let host = host_over(&store, &engine).await;
    assert_eq!(host.plugins.status("p").await.unwrap().dead_letters, 2, "they are read from the store");
    let last = publish(&host, "s", vec![event("a", Some("x")), event("a", Some("y"))]).await;
    assert_eq!(count(&host, last, "a 1 y").await.unwrap(), "2");
    let status = host.plugins.status("p").await.unwrap();
    assert_eq!((status.dead_letters, status.state), (3, State::Live), "after a restart too");
    deploy(&host, by_key(&[], 2)).await.unwrap();
    until("it is mended", async || {
        let deployment = host.plugins.deployment("p").unwrap();
        (deployment.serving().unwrap().revision == 2).then_some(())
    })
    .await;
    assert_eq!(count(&host, last, "a 1 x").await.unwrap(), "3");
    assert_eq!(host.plugins.status("p").await.unwrap().dead_letters, 0);
    host.stop().await;
}

#[tokio::test]
async fn a_new_revision_that_is_no_function_of_its_events_is_told_of() {
    let (_, _, host) = fresh().await;
    let events = (0..40).map(|n| event(if n % 10 == 9 { "dice" } else { "a" }, None)).collect();
    publish(&host, "s", events).await;
    deploy(&host, version(1)).await.unwrap();
    let line = until("it is found", async || host.plugins.logs("p", 10, Level::Warn).unwrap().pop()).await;
    assert!(line.message.contains("counts/dice"), "{}", line.message);
    host.stop().await;
}
