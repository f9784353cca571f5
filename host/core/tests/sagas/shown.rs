//! What is shown of sagas, to those who wait and to those who look, and what stays when their plugin goes.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_core::saga::call::Direction::{self, Compensate, Execute};
use wasmill_core::saga::fact::{Order, What};
use wasmill_core::saga::model::State;
use wasmill_core::saga::view::TimelineFact;
use wasmill_core::saga::{Activity, Command, Load, SagaEvent, StartSaga};

use crate::bench::{Act, Bench, saga, until};

fn three_steps() -> Value {
    saga("order", &["reserve", "authorize", "ship"].map(|name| json!({ "name": name })), json!({}))
}

fn start(correlation_id: &str) -> StartSaga {
    StartSaga {
        saga_type: "order".into(),
        correlation_id: Some(correlation_id.into()),
        input: Bytes::from_static(b"{}"),
    }
}

fn word(what: &What) -> &'static str {
    match what {
        What::Started { .. } => "started",
        What::AttemptStarted { .. } => "begins",
        What::Completed { .. } => "completed",
        What::Failed { .. } => "failed",
        What::Cancelled { .. } => "cancelled",
        What::Suspended { .. } => "suspended",
        _ => "other",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeline_says_which_step_each_fact_is_about() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("one", "authorize", Execute, &[Act::RetryBefore, Act::Reject]);
    let id = bench.begin("order", "one").await;
    assert_eq!(bench.end(id).await.state, State::Compensated);
    let whole = bench.host.sagas.timeline(id, 0, 1_000).await.unwrap();
    let facts: Vec<&TimelineFact> = whole.rows.iter().flat_map(|row| &row.facts).collect();
    let told: Vec<(&str, Option<&str>, Direction, u32, State)> = facts
        .iter()
        .map(|fact| {
            let step = fact.step.map(|step| whole.steps[step].as_str());
            (word(&fact.what), step, fact.direction, fact.attempt, fact.state)
        })
        .collect();
    let (reserve, authorize) = (Some("reserve"), Some("authorize"));
    let expected = [
        ("started", None, Execute, 0, State::NotStarted),
        ("begins", reserve, Execute, 1, State::Running),
        ("completed", reserve, Execute, 1, State::Running),
        ("begins", authorize, Execute, 1, State::Running),
        ("failed", authorize, Execute, 1, State::Running),
        ("begins", authorize, Execute, 2, State::Running),
        ("failed", authorize, Execute, 2, State::Compensating),
        ("begins", authorize, Compensate, 1, State::Compensating),
        ("completed", authorize, Compensate, 1, State::Compensating),
        ("begins", reserve, Compensate, 1, State::Compensating),
        ("completed", reserve, Compensate, 1, State::Compensated),
    ];
    assert_eq!(told, expected);
    let again: Vec<bool> = facts.iter().map(|fact| fact.retry_at_us.is_some()).collect();
    assert_eq!(again.iter().filter(|again| **again).count(), 1, "only the first failure is followed by an attempt");
    assert!(again[4]);
    // Any page of it says the same.
    for from in 0..u32::try_from(whole.rows.len()).unwrap() {
        let page = bench.host.sagas.timeline(id, from, 2).await.unwrap();
        let (first, last) = (from as usize, (from as usize + 2).min(whole.rows.len()));
        assert_eq!(page.rows, whole.rows[first..last]);
        assert_eq!(page.next, (last < whole.rows.len()).then_some(from + 2));
    }
    assert!(bench.host.sagas.timeline(id, 1_000, 1).await.unwrap().rows.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_starts_a_saga_can_wait_for_it() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("halts", "authorize", Execute, &[Act::Halt]);
    bench.world.act("hangs", "authorize", Execute, &[Act::HangAfter]);
    let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
    for (correlation_id, wait, state, activity) in [
        ("one", long, State::Completed, Activity::Ended),
        ("halts", long, State::Running, Activity::Paused),
        ("hangs", short, State::Running, Activity::Calling),
    ] {
        for new in [true, false] {
            let (started, watch) = bench.host.sagas.start_watched(start(correlation_id)).await.unwrap();
            assert_eq!(started.new, new, "{correlation_id}");
            let status = watch.wait(wait).await.unwrap();
            assert_eq!((status.state, status.activity), (state, activity), "{correlation_id}");
            assert_eq!(status, bench.host.sagas.status(started.id).await.unwrap());
        }
    }
    bench.start_anew().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sagas_that_need_a_person_are_counted() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("halts", "authorize", Execute, &[Act::Halt, Act::Ok]);
    bench.world.act("stuck", "authorize", Execute, &[Act::Reject]);
    bench.world.act("stuck", "reserve", Compensate, &[Act::Reject, Act::Ok]);
    bench.world.act("waits", "authorize", Execute, &[Act::WaitForEvent(None), Act::Ok]);
    let (halts, stuck) = (bench.begin("order", "halts").await, bench.begin("order", "stuck").await);
    bench.begin("order", "waits").await;
    let wanted = Load { active: 0, waiting: 1, paused: 2 };
    for _ in 0..2 {
        bench.end(halts).await;
        bench.end(stuck).await;
        until("two need a person", async || (bench.host.sagas.load() == Some(wanted)).then_some(())).await;
        // Another host counts the same from what is stored.
        bench.start_anew().await;
    }
    let sagas = bench.host.sagas.clone();
    sagas.command(halts, &Command::Resume { revision: None }, Order::default()).await.unwrap();
    sagas.command(stuck, &Command::Retry { step: None, revision: None }, Order::default()).await.unwrap();
    assert_eq!(bench.end(halts).await.state, State::Completed);
    assert_eq!(bench.end(stuck).await.state, State::Compensated);
    let wanted = Load { active: 0, waiting: 1, paused: 0 };
    until("none does", async || (sagas.load() == Some(wanted)).then_some(())).await;
}

/// Removed, the plugin took with it what its sagas are read by: they could neither be looked at nor ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sagas_of_a_removed_plugin_stay_readable_and_go_on_with_a_later_one() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    let ended = bench.begin("order", "ended").await;
    bench.end(ended).await;
    let sagas = bench.host.sagas.clone();
    assert!(!sagas.has_open("order").await.unwrap());
    let mut ids = Vec::new();
    for correlation_id in ["killed", "resumed"] {
        bench.world.act(correlation_id, "authorize", Execute, &[Act::WaitForEvent(None), Act::Ok]);
        let id = bench.begin("order", correlation_id).await;
        until("it waits", async || (sagas.status(id).await.unwrap().activity == Activity::Waiting).then_some(())).await;
        ids.push(id);
    }
    assert!(sagas.has_open("order").await.unwrap() && !sagas.has_open("other").await.unwrap());
    bench.host.plugins.remove("order").await.unwrap();
    sagas.forget_type("order");
    bench.start_anew().await;
    let sagas = bench.host.sagas.clone();
    let status = sagas.status(ended).await.unwrap();
    assert_eq!((status.state, status.steps[2].name.as_str()), (State::Completed, "ship"));
    // What would go on waits for a person, and says why.
    let event = SagaEvent { event_type: "go".into(), data: Bytes::from_static(b"{}"), ..SagaEvent::default() };
    sagas.send(ids[1], event).await.unwrap();
    let status = bench.end(ids[1]).await;
    assert_eq!(status.paused.as_deref(), Some("revision 1 of saga `order` is not there"));
    assert!(sagas.command(ids[0], &Command::Kill, Order::default()).await.unwrap().killed);
    // A plugin of that name is another one, whatever its steps: its revisions are counted on.
    bench.deploy(&saga("order", &[json!({ "name": "something-else" })], json!({}))).await;
    assert_eq!(bench.host.plugins.get("order").unwrap().current.number, 2);
    assert_eq!(sagas.status(ended).await.unwrap().steps.len(), 3);
    bench.deploy(&three_steps()).await;
    sagas.command(ids[1], &Command::Resume { revision: Some(3) }, Order::default()).await.unwrap();
    let status = bench.end(ids[1]).await;
    assert_eq!((status.state, status.revision), (State::Completed, 3));
    assert_eq!(bench.world.effects("resumed"), ["+reserve", "+authorize", "+ship"]);
    assert!(!sagas.has_open("order").await.unwrap());
}
