//! Steps that wait for a time, for an event, or for whichever comes first; and sagas that events start.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wasmill_core::clock::{ManualClock, Timestamp};
use wasmill_core::event::Position;
use wasmill_core::log::filter::Filter;
use wasmill_core::saga::call::Direction::Execute;
use wasmill_core::saga::model::State;
use wasmill_core::saga::{Activity, SagaEvent};
use wasmill_core::store::{Direction, PageLimit};

use crate::bench::{Act, Bench, saga, until};

fn two_steps() -> Value {
    saga("order", &[json!({ "name": "ask" }), json!({ "name": "do" })], json!({}))
}

/// What has woken the steps that are done: of each its event's type, or null.
async fn woken(bench: &Bench) -> Vec<Value> {
    let limit = PageLimit { events: 100, bytes: 1 << 20 };
    let page = bench.host.reader.log_page(Position(0), Direction::Forward, &Filter::default(), limit).await.unwrap();
    let done = page.events.iter().filter(|event| event.stream() == "out");
    done.map(|event| serde_json::from_slice::<Value>(event.data()).unwrap()["woken"].clone()).collect()
}

async fn waiting(bench: &Bench, id: uuid::Uuid) {
    until("it waits", async || {
        let status = bench.host.sagas.status(id).await.unwrap();
        (status.activity == Activity::Waiting).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_wakes_the_step_that_waits_for_its_key() {
    let mut bench = Bench::new().await;
    bench.deploy(&two_steps()).await;
    bench.world.act("one", "ask", Execute, &[Act::WaitForEvent(None), Act::Ok]);
    let id = bench.begin("order", "one").await;
    waiting(&bench, id).await;
    bench.publish("approvals", "go", "another", None).await;
    bench.publish("approvals", "stop", "one", None).await;
    assert_eq!(bench.host.sagas.status(id).await.unwrap().activity, Activity::Waiting);
    bench.host.sagas.send(id, SagaEvent { event_type: "go".into(), ..SagaEvent::default() }).await.unwrap();
    let status = bench.end(id).await;
    assert_eq!((status.state, bench.world.calls("one", "ask", Execute)), (State::Completed, 2));
    assert_eq!(woken(&bench).await, [json!("go"), Value::Null]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_event_is_not_lost_and_one_from_before_the_start_does_not_count() {
    let mut bench = Bench::new().await;
    bench.deploy(&two_steps()).await;
    bench.publish("approvals", "go", "one", None).await;
    // It is started, and asks only after the event is there.
    bench.world.act("one", "ask", Execute, &[Act::WaitFor(30), Act::WaitForEvent(None), Act::Ok]);
    let id = bench.begin("order", "one").await;
    waiting(&bench, id).await;
    bench.start_anew().await;
    bench.publish("approvals", "go", "one", None).await;
    let status = bench.host.sagas.wait(id, Duration::from_secs(1)).await.unwrap();
    // What came before its last waking does not count either: it is a timer that has woken it.
    if status.activity == Activity::Waiting {
        bench.publish("approvals", "go", "one", None).await;
    }
    assert_eq!(bench.end(id).await.state, State::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_came_while_the_step_ran_wakes_it_at_once() {
    let mut bench = Bench::new().await;
    bench.deploy(&two_steps()).await;
    bench.world.act("one", "ask", Execute, &[Act::RetryBefore, Act::WaitForEvent(None), Act::Ok]);
    bench.world.crash_at("ask", Execute, crate::bench::Point::BeforeTheCall);
    let id = bench.begin("order", "one").await;
    bench.world.crashed.notified().await;
    bench.publish("approvals", "go", "one", None).await;
    bench.start_anew().await;
    assert_eq!(bench.end(id).await.state, State::Completed);
    assert_eq!(woken(&bench).await[0], json!("go"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_comes_first_wakes_it() {
    let mut bench = Bench::new().await;
    bench.deploy(&two_steps()).await;
    bench.world.act("late", "ask", Execute, &[Act::WaitForEvent(Some(5)), Act::Ok]);
    bench.world.act("soon", "ask", Execute, &[Act::WaitForEvent(Some(3_600_000)), Act::Ok]);
    let (late, soon) = (bench.begin("order", "late").await, bench.begin("order", "soon").await);
    assert_eq!(bench.end(late).await.state, State::Completed);
    assert_eq!(woken(&bench).await[0], Value::Null);
    waiting(&bench, soon).await;
    bench.start_anew().await;
    bench.publish("approvals", "go", "soon", None).await;
    assert_eq!(bench.end(soon).await.state, State::Completed);
    assert!(woken(&bench).await.contains(&json!("go")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_of_the_host_survive_it_and_fire_when_they_are_due() {
    let clock = ManualClock::at(Timestamp(1_800_000_000_000_000));
    let mut bench = Bench::with_clock(Arc::new(clock.clone())).await;
    let steps = [json!({ "name": "ask", "timeoutMs": 60_000 }), json!({ "name": "do" })];
    bench.deploy(&saga("order", &steps, json!({ "timeoutMs": 100_000 }))).await;
    let hour = Act::WaitForEvent(Some(400 * 24 * 3_600_000));
    bench.world.act("step", "ask", Execute, std::slice::from_ref(&hour));
    bench.world.act("saga", "do", Execute, &[hour]);
    let (step, whole) = (bench.begin("order", "step").await, bench.begin("order", "saga").await);
    waiting(&bench, step).await;
    waiting(&bench, whole).await;
    bench.start_anew().await;
    clock.advance_us(59_000_000);
    assert_eq!(bench.host.sagas.status(step).await.unwrap().activity, Activity::Waiting);
    clock.advance_us(1_000_000);
    let status = bench.end(step).await;
    assert_eq!((status.state, status.cause.unwrap().code.as_str()), (State::Compensated, "step.timeout"));
    assert_eq!(bench.host.sagas.status(whole).await.unwrap().activity, Activity::Waiting);
    clock.advance_us(40_000_000);
    let status = bench.end(whole).await;
    assert_eq!((status.state, status.cause.unwrap().code.as_str()), (State::Compensated, "saga.timeout"));
    assert_eq!(bench.world.effects("saga"), ["+ask", "-ask"]);
}

fn by_events(clock: &str, timeout_ms: u64) -> Value {
    let starts = json!([{ "types": ["departed"], "correlation": "data.id" }]);
    let steps = [json!({ "name": "land", "timeoutMs": timeout_ms })];
    saga("flight", &steps, json!({ "clock": clock, "startsOn": starts }))
}

const HOUR: i64 = 3_600_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_start_sagas_once_and_their_time_fires_timers() {
    let mut bench = Bench::new().await;
    bench.deploy(&by_events("event", 12 * 3_600_000)).await;
    for key in ["a", "b", "c"] {
        bench.world.act(key, "land", Execute, &[Act::WaitForEvent(None), Act::Ok]);
    }
    let at = |hours: i64| Some(Timestamp(1_356_998_400_000_000 + hours * HOUR));
    bench.publish("flights", "departed", "a", at(0)).await;
    bench.publish("flights", "departed", "b", at(1)).await;
    // Again: the correlation id is taken.
    bench.publish("flights", "departed", "a", at(1)).await;
    bench.publish("flights", "go", "a", at(11)).await;
    bench.publish("flights", "departed", "c", at(12)).await;
    bench.publish("flights", "go", "b", at(14)).await;
    let found = |bench: &Bench, key: &'static str| {
        let sagas = bench.host.sagas.clone();
        async move { until("it is started", async || sagas.find("flight", key).await.ok()).await.id }
    };
    let (a, b, c) = (found(&bench, "a").await, found(&bench, "b").await, found(&bench, "c").await);
    assert_eq!(bench.end(a).await.state, State::Completed);
    let overdue = bench.end(b).await;
    assert_eq!((overdue.state, overdue.cause.unwrap().code.as_str()), (State::Compensated, "step.timeout"));
    bench.start_anew().await;
    let status = bench.host.sagas.status(c).await.unwrap();
    assert_eq!(status.activity, Activity::Waiting, "{status:#?}");
    bench.publish("flights", "other", "x", at(30)).await;
    assert_eq!(bench.end(c).await.state, State::Compensated);
    assert_eq!(bench.world.calls("a", "land", Execute), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_came_while_no_host_ran_start_and_wake() {
    let mut bench = Bench::new().await;
    bench.deploy(&by_events("host", 3_600_000)).await;
    bench.world.act("a", "land", Execute, &[Act::WaitForEvent(None), Act::Ok]);
    bench.publish("flights", "departed", "a", None).await;
    let a = until("it is started", async || bench.host.sagas.find("flight", "a").await.ok()).await.id;
    waiting(&bench, a).await;
    bench.host.stop().await;
    let append = |event_type: &str, key: &str| wasmill_core::event::NewEvent {
        id: uuid::Uuid::new_v4(),
        event_type: event_type.into(),
        key: Some(key.into()),
        data: json!({ "id": key }).to_string().into(),
        ..wasmill_core::event::NewEvent::default()
    };
    // Straight into the store, as another host would.
    let stream = wasmill_core::name::StreamName::from_stored("flights");
    let events = [append("go", "a"), append("departed", "b")];
    let prepared = events.iter().map(|event| wasmill_core::event::PreparedEvent::encode(event, &stream, Timestamp(1)));
    let unit = wasmill_core::store::Unit::append(wasmill_core::store::StreamAppend {
        stream: stream.clone(),
        expected: wasmill_core::store::Expected::Any,
        events: prepared.collect(),
    });
    wasmill_core::store::Store::commit(&*bench.memory, &[unit], Timestamp(1)).await.unwrap();
    bench.start_anew().await;
    assert_eq!(bench.end(a).await.state, State::Completed);
    let b = until("it is started", async || bench.host.sagas.find("flight", "b").await.ok()).await.id;
    assert_eq!(bench.end(b).await.state, State::Completed);
}
