//! Starting sagas once, ordering them about, and who may drive them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_core::saga::call::Direction::{Compensate, Execute};
use wasmill_core::saga::fact::{Order, What};
use wasmill_core::saga::model::State;
use wasmill_core::saga::view::{Query, StepState};
use wasmill_core::saga::{Activity, Command, Refused, SagaError, StartSaga};

use crate::bench::{Act, Bench, saga, until};

fn order() -> Order {
    Order { by: "somebody".into(), note: "for a reason".into() }
}

fn three_steps() -> Value {
    saga("order", &["reserve", "authorize", "ship"].map(|name| json!({ "name": name })), json!({}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saga_is_started_once_for_each_correlation_id() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    let start = |n: usize| StartSaga {
        saga_type: "order".into(),
        correlation_id: Some(format!("c{}", n % 3)),
        input: Bytes::from_static(b"{}"),
    };
    let all = futures_util::future::join_all((0..30).map(|n| bench.host.sagas.start(start(n)))).await;
    let started: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(started.iter().filter(|started| started.new).count(), 3);
    for n in 0..30 {
        assert_eq!(started[n].id, started[n % 3].id);
        assert_eq!(bench.end(started[n].id).await.state, State::Completed);
    }
    let unknown = StartSaga { saga_type: "nothing".into(), ..StartSaga::default() };
    assert!(matches!(bench.host.sagas.start(unknown).await, Err(SagaError::NoType(_))));
    let long = StartSaga { correlation_id: Some("x".repeat(201)), ..start(0) };
    assert!(matches!(bench.host.sagas.start(long).await, Err(SagaError::CorrelationId { bytes: 201 })));
    let own = bench.host.sagas.start(StartSaga { correlation_id: None, ..start(0) }).await.unwrap();
    assert_eq!(own.correlation_id, own.id.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compensation_that_gives_up_waits_for_a_person() {
    for (n, command) in
        [Command::Retry { step: None, revision: None }, Command::Skip, Command::MarkDone { output: Bytes::new() }]
            .iter()
            .enumerate()
    {
        let mut bench = Bench::new().await;
        bench.deploy(&three_steps()).await;
        bench.world.act("one", "ship", Execute, &[Act::Reject]);
        bench.world.act("one", "authorize", Compensate, &[Act::RetryBefore, Act::Reject, Act::Ok]);
        let id = bench.begin("order", "one").await;
        let status = bench.end(id).await;
        assert_eq!((status.state, status.activity), (State::Failed, Activity::Paused), "{status:#?}");
        assert_eq!(status.current_step, "authorize");
        bench.start_anew().await;
        bench.host.sagas.command(id, command, order()).await.unwrap();
        let status = bench.end(id).await;
        assert_eq!(status.state, State::Compensated);
        let effects = bench.world.effects("one");
        let undone = if n == 0 { &["-authorize", "-reserve"][..] } else { &["-reserve"] };
        assert_eq!(effects[2..], *undone);
        let skipped = status.steps.iter().any(|step| step.state == StepState::Skipped);
        assert_eq!(skipped, n == 1);
        let timeline = bench.host.sagas.timeline(id, 0, 1_000).await.unwrap();
        let facts: Vec<_> = timeline.rows.iter().flat_map(|row| &row.facts).collect();
        let ordered = facts.iter().any(|fact| match &fact.what {
            What::Retried { order, .. } | What::Skipped { order } | What::MarkedDone { order, .. } => {
                order.by == "somebody" && order.note == "for a reason"
            }
            _ => false,
        });
        assert!(ordered, "{facts:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_before_a_person_went_back_is_undone_as_well() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("one", "reserve", Execute, &[Act::Ok, Act::Reject]);
    bench.world.act("one", "ship", Execute, &[Act::Halt]);
    let id = bench.begin("order", "one").await;
    assert_eq!(bench.end(id).await.activity, Activity::Paused);
    let back = Command::Retry { step: Some("reserve".into()), revision: None };
    bench.host.sagas.command(id, &back, order()).await.unwrap();
    let status = bench.end(id).await;
    assert_eq!(status.state, State::Compensated, "{status:#?}");
    let effects = bench.world.effects("one");
    assert_eq!(effects, ["+reserve", "+authorize", "-authorize", "-reserve"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_back_behind_a_pivot() {
    let mut bench = Bench::new().await;
    let steps = [json!({ "name": "reserve" }), json!({ "name": "pay", "pivot": true }), json!({ "name": "ship" })];
    bench.deploy(&saga("order", &steps, json!({}))).await;
    bench.world.act("one", "ship", Execute, &[Act::Halt, Act::Ok]);
    let id = bench.begin("order", "one").await;
    assert_eq!(bench.end(id).await.activity, Activity::Paused);
    for step in ["reserve", "pay"] {
        let back = Command::Retry { step: Some(step.into()), revision: None };
        let refused = bench.host.sagas.command(id, &back, order()).await;
        assert!(matches!(refused, Err(SagaError::State { why: Refused::BehindPivot, .. })), "{refused:?}");
    }
    bench.host.sagas.command(id, &Command::Retry { step: None, revision: None }, order()).await.unwrap();
    assert_eq!(bench.end(id).await.state, State::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_plugin_pauses_its_saga_which_goes_on_with_a_mended_revision() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("one", "authorize", Execute, &[Act::TrapBefore, Act::TrapAfter, Act::TrapBefore, Act::Ok]);
    bench.world.act("two", "authorize", Execute, &[Act::Halt, Act::Ok]);
    for (id, calls) in [(bench.begin("order", "one").await, 3), (bench.begin("order", "two").await, 1)] {
        let status = bench.end(id).await;
        assert_eq!((status.state, status.activity), (State::Running, Activity::Paused));
        assert_eq!(bench.world.calls(&status.correlation_id, "authorize", Execute), calls);
        let mut mended = three_steps();
        mended["version"] = json!(format!("2-{calls}"));
        bench.deploy(&mended).await;
        let revision = bench.host.plugins.get("order").unwrap().current.number;
        bench.host.sagas.command(id, &Command::Resume { revision: Some(revision) }, order()).await.unwrap();
        let status = bench.end(id).await;
        assert_eq!((status.state, status.revision), (State::Completed, revision));
    }
    let mut other = saga("order", &[json!({ "name": "something-else" })], json!({}));
    other["version"] = json!("3");
    bench.world.act("three", "authorize", Execute, &[Act::Halt, Act::Ok]);
    let id = bench.begin("order", "three").await;
    bench.end(id).await;
    bench.deploy(&other).await;
    let revision = Some(bench.host.plugins.get("order").unwrap().current.number);
    let refused = bench.host.sagas.command(id, &Command::Resume { revision }, order()).await;
    assert!(matches!(refused, Err(SagaError::OtherSteps { .. })), "{refused:?}");
    assert_eq!(bench.host.sagas.open_by_revision("order").await.unwrap().by_revision.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_do_not_fit_are_refused() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("one", "authorize", Execute, &[Act::WaitForEvent(None), Act::Ok]);
    let id = bench.begin("order", "one").await;
    until("it waits", async || {
        (bench.host.sagas.status(id).await.unwrap().activity == Activity::Waiting).then_some(())
    })
    .await;
    let sagas = &bench.host.sagas;
    for command in [
        Command::Skip,
        Command::MarkDone { output: Bytes::new() },
        Command::Retry { step: None, revision: None },
        Command::Resume { revision: None },
    ] {
        let refused = sagas.command(id, &command, order()).await;
        assert!(matches!(refused, Err(SagaError::State { .. })), "{command:?}: {refused:?}");
    }
    sagas.command(id, &Command::Pause, order()).await.unwrap();
    let unknown = Command::Retry { step: Some("nothing".into()), revision: None };
    assert!(matches!(sagas.command(id, &unknown, order()).await, Err(SagaError::NoStep { .. })));
    let ahead = Command::Retry { step: Some("ship".into()), revision: None };
    let refused = sagas.command(id, &ahead, order()).await;
    assert!(matches!(refused, Err(SagaError::State { why: Refused::StepAhead, .. })), "{refused:?}");
    // Back to the first step, whose effect is done already.
    sagas.command(id, &Command::Retry { step: Some("reserve".into()), revision: None }, order()).await.unwrap();
    let status = bench.end(id).await;
    assert_eq!(status.state, State::Completed);
    assert_eq!(bench.world.effects("one"), ["+reserve", "+authorize", "+ship"]);
    let late = bench.host.sagas.command(id, &Command::Cancel, order()).await;
    assert!(matches!(late, Err(SagaError::State { why: Refused::Ended, .. })));
    assert!(matches!(
        bench.host.sagas.status(uuid::Uuid::nil()).await,
        Err(SagaError::NotFound(id)) if id.is_nil()
    ));
    bench.host.sagas.forget(id).await.unwrap();
    assert!(matches!(bench.host.sagas.status(id).await, Err(SagaError::NotFound(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_saga_ends_at_once_and_says_so() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("one", "authorize", Execute, &[Act::HangAfter]);
    let id = bench.begin("order", "one").await;
    until("it hangs", async || (bench.world.calls("one", "authorize", Execute) > 0).then_some(())).await;
    let status = bench.host.sagas.command(id, &Command::Kill, order()).await.unwrap();
    assert_eq!((status.state, status.killed), (State::Failed, true));
    assert_eq!(bench.end(id).await.cause.unwrap().message, "killed without compensation: for a reason");
    assert_eq!(bench.world.effects("one"), ["+reserve", "+authorize"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_find_sagas_by_what_they_are() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    let mut ids = Vec::new();
    for n in 0..12 {
        let key = format!("c{n:02}");
        match n % 3 {
            0 => {}
            1 => bench.world.act(&key, "authorize", Execute, &[Act::Reject]),
            _ => bench.world.act(&key, "ship", Execute, &[Act::WaitForEvent(None)]),
        }
        ids.push(bench.begin("order", &key).await);
    }
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| n % 3 != 2) {
        assert!(bench.end(*id).await.rests_for_good(), "{n}");
    }
    until("the others wait", async || {
        let query = Query { activity: Some(Activity::Waiting), limit: 100, ..Query::default() };
        (bench.host.sagas.list(&query).await.unwrap().sagas.len() == 4).then_some(())
    })
    .await;
    let list = async |query: Query| {
        let (mut found, mut query) = (Vec::new(), query);
        loop {
            let page = bench.host.sagas.list(&query).await.unwrap();
            found.extend(page.sagas.into_iter().map(|listed| listed.head.correlation_id));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return found,
            }
        }
    };
    let all = list(Query { limit: 5, ..Query::default() }).await;
    assert_eq!(all.len(), 12);
    let of = |query: Query| list(Query { limit: 3, ..query });
    assert_eq!(of(Query { state: Some(State::Completed), ..Query::default() }).await.len(), 4);
    assert_eq!(of(Query { state: Some(State::Compensated), ..Query::default() }).await.len(), 4);
    assert_eq!(of(Query { step: Some("ship".into()), state: Some(State::Running), ..Query::default() }).await.len(), 4);
    assert_eq!(of(Query { correlation_id: Some("c05".into()), ..Query::default() }).await, ["c05"]);
    assert_eq!(of(Query { older_than_ms: Some(3_600_000), ..Query::default() }).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_has_lost_the_lead_commits_nothing() {
    let mut bench = Bench::new().await;
    bench.deploy(&three_steps()).await;
    bench.world.act("one", "reserve", Execute, &[Act::WaitFor(20), Act::Ok]);
    let old = std::sync::Arc::clone(&bench.host);
    let id = bench.begin("order", "one").await;
    bench.start_anew().await;
    assert_eq!(bench.end(id).await.state, State::Completed);
    let effects = bench.world.effects("one");
    assert_eq!(effects, ["+reserve", "+authorize", "+ship"]);
    // Started at the old host, it is driven by the new one.
    let start = StartSaga { saga_type: "order".into(), correlation_id: Some("two".into()), ..StartSaga::default() };
    let two = match old.sagas.start(start.clone()).await {
        Ok(started) => started.id,
        Err(_) => old.sagas.start(start).await.unwrap().id,
    };
    assert_eq!(old.sagas.wait(two, Duration::from_millis(1)).await.unwrap().id, two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sagas_that_have_ended_are_forgotten_after_a_while() {
    let clock = wasmill_core::clock::ManualClock::at(wasmill_core::clock::Timestamp(1_800_000_000_000_000));
    let mut bench = Bench::with_clock(std::sync::Arc::new(clock.clone())).await;
    let day = 24 * 3_600_000_u64;
    let steps = ["reserve", "authorize", "ship"].map(|name| json!({ "name": name }));
    bench.deploy(&saga("order", &steps, json!({ "keepEndedMs": day }))).await;
    bench.world.act("open", "ship", Execute, &[Act::WaitForEvent(None)]);
    let (ended, open) = (bench.begin("order", "ended").await, bench.begin("order", "open").await);
    bench.end(ended).await;
    clock.advance_us(i64::try_from(day * 1_000).unwrap() - 1);
    assert_eq!(bench.host.sagas.sweep().await.unwrap(), 0);
    clock.advance_us(1);
    // The host may have been faster.
    let _ = bench.host.sagas.sweep().await;
    until("it is forgotten", async || {
        matches!(bench.host.sagas.status(ended).await, Err(SagaError::NotFound(_))).then_some(())
    })
    .await;
    assert!(matches!(bench.host.sagas.find("order", "ended").await, Err(SagaError::NoneOf { .. })));
    assert_eq!(bench.host.sagas.status(open).await.unwrap().id, open);
    let again = bench.begin("order", "ended").await;
    assert_ne!(again, ended);
    assert_eq!(bench.end(again).await.state, State::Completed);
}
