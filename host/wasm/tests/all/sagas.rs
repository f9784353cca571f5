//! Sagas: what a step is given and leaves behind, and that it holds nothing while it waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use wasmill_core::clock::{ManualClock, Timestamp};
use wasmill_core::event::NewEvent;
use wasmill_core::guest::{GuestEnvironment, GuestError, GuestModule, SagaGuest};
use wasmill_core::handler::outbox::{Outbox, OutboxError};
use wasmill_core::limits::plugin::{LOG_LINES_PER_CALL_MAX, OUTBOX_EVENTS_MAX};
use wasmill_core::limits::saga::{DATA_BYTES_MAX, OUTPUT_BYTES_MAX};
use wasmill_core::name::Pattern;
use wasmill_core::plugin::descriptor::{Descriptor, Kind};
use wasmill_core::plugin::log::{Level, PluginLog};
use wasmill_core::saga::call::{DataError, Direction, SagaData, StepCall, StepContext, StepOutcome, Wait};
use wasmill_core::saga::http::{Gate, HttpClient, HttpError, HttpRequest, HttpResponse, HttpRules, Network};
use wasmill_wasm::{WasmConfig, WasmEngine};

use crate::support::{compiled, engine_with, event_of};

const DEADLINE: Duration = Duration::from_millis(500);
/// Looks at something that another thread is about to do.
const LOOKS_MAX: usize = 100_000;

pub(crate) fn engine() -> WasmEngine {
    engine_with(WasmConfig { call_deadline: DEADLINE, ..WasmConfig::default() })
}

async fn module() -> Arc<dyn GuestModule> {
    compiled(&engine(), "test-saga").await
}

struct Running {
    guest: Box<dyn SagaGuest>,
    log: Arc<PluginLog>,
}

async fn start(module: &Arc<dyn GuestModule>) -> Result<Running, GuestError> {
    let log = Arc::new(PluginLog::new("test"));
    let config: Arc<[(String, String)]> = vec![("target".to_owned(), "http://partner.example".to_owned())].into();
    let environment = GuestEnvironment { config, log: Arc::clone(&log), memory_bytes_max: None };
    Ok(Running { guest: module.start_saga(environment).await?, log })
}

/// An attempt at step `one`, whose input says what to do.
pub(crate) fn call(tasks: &Value) -> StepCall {
    call_with(tasks, Network::default())
}

pub(crate) fn call_with(tasks: &Value, network: Network) -> StepCall {
    let gate = Arc::new(Gate::new(network, ["http:GET,POST http://partner.example/*"].into_iter()));
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let deadline = Timestamp(60_000_000);
    let grants: Arc<[Pattern]> = vec![Pattern::new("done-*").unwrap()].into();
    StepCall {
        direction: Direction::Execute,
        context: StepContext {
            saga_id: "saga-1".into(),
            saga_type: "test-saga".into(),
            correlation_id: "order-7".into(),
            step: "one".into(),
            attempt: 1,
            idempotency_key: "saga-1/one".into(),
            input: serde_json::to_vec(&json!({ "one": tasks, "undo-one": tasks })).unwrap().into(),
            output: None,
            woken_by: None,
            deadline,
            attributes: Vec::new(),
        },
        data: SagaData::default(),
        outbox: Outbox::new(grants),
        http: Arc::new(gate.open("saga-1/one".into(), deadline, clock)),
    }
}

impl Running {
    async fn step(&mut self, call: StepCall) -> (StepCall, Result<StepOutcome, GuestError>) {
        self.guest.step(call).await
    }

    /// What the step answers, as JSON.
    async fn done(&mut self, call: StepCall) -> (StepCall, Value) {
        let (call, outcome) = self.step(call).await;
        let StepOutcome::Completed(output) = outcome.unwrap() else { panic!("it was suspended") };
        (call, serde_json::from_slice(&output).unwrap())
    }

    async fn error(&mut self, tasks: Value) -> GuestError {
        self.step(call(&tasks)).await.1.expect_err("it was told to fail")
    }
}

/// Ends an attempt with `tasks`, and then sees a new instance do its work.
async fn end_by(tasks: Value) -> GuestError {
    let module = module().await;
    let mut running = start(&module).await.unwrap();
    let error = running.error(tasks).await;
    assert!(running.step(call(&json!([]))).await.1.is_err(), "a dead instance answered");
    start(&module).await.unwrap().done(call(&json!([]))).await;
    error
}

#[tokio::test]
async fn it_describes_itself_as_what_it_is() {
    let module = module().await;
    assert_eq!(module.kind(), Kind::Saga);
    let descriptor = Descriptor::parse(&module.describe().await.unwrap(), module.kind()).unwrap();
    let steps: Vec<_> = descriptor.steps.iter().map(|step| (step.name.as_str(), step.compensate)).collect();
    assert_eq!(steps, [("one", true), ("two", true), ("three", true)]);
    assert_eq!(descriptor.steps[0].retry.attempts, 3);
    assert_eq!(descriptor.steps[0].attempt_timeout_ms, 2_000);
    assert_eq!(descriptor.capabilities, ["append:done-*", "http:GET,POST {target}/*", "secret:test-key"]);
}

#[tokio::test]
async fn what_is_no_saga_starts_none() {
    let handler = compiled(&engine(), "test-handler").await;
    let error = start(&handler).await.err().unwrap();
    assert!(matches!(&error, GuestError::Contract { what } if what == "it is a handler, not a saga"), "{error}");
}

#[tokio::test]
async fn data_is_read_and_changed_and_outputs_are_read() {
    let tasks = json!([
        { "get": "a" }, { "get": "b" }, { "put": { "key": "b", "value": [1] } }, { "remove": "a" },
        { "output-of": "zero" }, { "output-of": "none" }
    ]);
    let values = BTreeMap::from([("a".to_owned(), Bytes::from_static(b"7"))]);
    let outputs = BTreeMap::from([("zero".to_owned(), Bytes::from_static(br#""done""#))]);
    let call = StepCall { data: SagaData::new(Arc::new(values), Arc::new(outputs)), ..call(&tasks) };
    let (call, found) = start(&module().await).await.unwrap().done(call).await;
    assert_eq!(found, json!({ "attempt": 1, "a": 7, "b": null, "zero": "done", "none": null }));
    let changes = call.data.into_changes();
    let expected = BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some(Bytes::from_static(b"[1]")))]);
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn what_is_emitted_has_the_saga_as_its_cause() {
    let tasks = json!([{ "emit": { "stream": "done-1", "type": "a", "key": "k", "data": 1 } }]);
    let (call, _) = start(&module().await).await.unwrap().done(call(&tasks)).await;
    let [emitted] = call.outbox.emitted() else { panic!("one event") };
    assert_eq!((emitted.cause, emitted.stream.as_str(), emitted.event.key.as_deref()), (0, "done-1", Some("k")));
}

#[tokio::test]
async fn what_undoes_a_step_knows_what_it_answered() {
    let mut running = start(&module().await).await.unwrap();
    let mut undo = call(&json!([{ "config": "target" }]));
    undo.direction = Direction::Compensate;
    undo.context.output = Some(Bytes::from_static(br#"{"room":17}"#));
    undo.context.attempt = 4;
    let (_, found) = running.done(undo).await;
    assert_eq!(found, json!({ "attempt": 4, "output": { "room": 17 }, "target": "http://partner.example" }));
}

#[tokio::test]
async fn a_step_that_waits_is_called_again_with_what_woke_it() {
    let module = module().await;
    let tasks = json!([{ "wait": { "untilUs": 7, "type": "arrived", "key": "k" } }, "details"]);
    let (call, outcome) = start(&module).await.unwrap().step(call(&tasks)).await;
    let wait = Wait { until: Some(Timestamp(7)), event_type: Some("arrived".into()), match_key: Some("k".into()) };
    assert_eq!(outcome.unwrap(), StepOutcome::Suspended(wait));
    // Another instance: nothing is kept in one.
    let data: BTreeMap<_, _> =
        call.data.into_changes().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let mut again = self::call(&tasks);
    again.data = SagaData::new(Arc::new(data), Arc::default());
    let arrived =
        NewEvent { event_type: "arrived".into(), key: Some("k".into()), tags: vec!["t".into()], ..NewEvent::default() };
    again.context.woken_by = Some(event_of(&arrived));
    let (_, found) = start(&module).await.unwrap().done(again).await;
    assert_eq!((&found["wokenBy"]["type"], &found["wokenBy"]["key"]), (&json!("arrived"), &json!("k")));
    assert_eq!(found["details"], json!([["recorded-at-us", "6000000"], ["tag", "t"]]));
}

#[tokio::test]
async fn its_clock_runs_and_its_random_numbers_differ() {
    let module = module().await;
    let read = async || start(&module).await.unwrap().done(call(&json!(["clock"]))).await.1["clock"].clone();
    let (first, second) = (read().await, read().await);
    // The clock of these tests stands at a thousandth of a second.
    assert_eq!(first["times"], json!([1_000, 1_000, 60_000_000]));
    assert_ne!(first["random"], second["random"]);
}

#[tokio::test]
async fn a_failure_is_its_own_word_and_it_lives_on() {
    let mut running = start(&module().await).await.unwrap();
    for (disposition, code) in [("retry", "test.retried"), ("reject", "test.rejected"), ("halt", "test.halted")] {
        let fail = json!([{ "fail": { "disposition": disposition, "code": code, "afterMs": 20 } }]);
        let GuestError::Failed(failure) = running.error(fail).await else { panic!("{code}") };
        assert_eq!((failure.disposition.as_str(), failure.code.as_str()), (disposition, code));
        assert_eq!(failure.retry_after_ms, Some(20));
    }
    running.done(call(&json!([]))).await;
    let mut missing = call(&json!([]));
    missing.context.step = "four".into();
    let Err(GuestError::Failed(failure)) = running.step(missing).await.1 else { panic!("there is no step four") };
    assert_eq!((failure.disposition.as_str(), failure.code.as_str()), ("halt", "saga.no-such-step"));
}

#[tokio::test]
async fn loops_panics_sleeps_and_greed_end_the_attempt() {
    assert!(matches!(end_by(json!(["loop"])).await, GuestError::DeadlineExceeded { limit_ms: 500 }));
    let GuestError::Trapped { reason } = end_by(json!(["panic"])).await else { panic!() };
    assert!(reason.contains("told to panic in one"), "{reason}");
    let GuestError::Trapped { reason } = end_by(json!(["sleep"])).await else { panic!() };
    assert!(reason.contains("timers are not available"), "{reason}");
    assert!(matches!(end_by(json!([{ "allocate": 1_u64 << 30 }])).await, GuestError::OutOfMemory { .. }));
}

#[tokio::test]
async fn what_it_leaves_behind_is_bounded() {
    let error = end_by(json!(["put-flood"])).await;
    assert!(matches!(error, GuestError::Data(DataError::Full)), "{error}");
    let error = end_by(json!(["emit-flood"])).await;
    assert!(matches!(error, GuestError::Outbox(OutboxError::Full)), "{error}");
    let error = end_by(json!([{ "answer": OUTPUT_BYTES_MAX + 1 }])).await;
    assert!(error.to_string().contains("answered an output of"), "{error}");
    let error = end_by(json!([{ "wait": {} }])).await;
    assert!(error.to_string().contains("neither a time nor an event"), "{error}");
    let elsewhere = json!([{ "emit": { "stream": "elsewhere", "type": "a", "data": 1 } }]);
    let error = end_by(elsewhere).await;
    assert!(matches!(error, GuestError::Outbox(OutboxError::NotGranted { .. })), "{error}");
    let mut running = start(&module().await).await.unwrap();
    running.done(call(&json!(["log-flood"]))).await;
    assert_eq!(running.log.tail(usize::MAX, Level::Trace).len(), LOG_LINES_PER_CALL_MAX);
}

#[tokio::test]
async fn an_attempt_that_was_ended_comes_back_with_what_it_had() {
    let mut running = start(&module().await).await.unwrap();
    let (call, outcome) = running.step(call(&json!([{ "put": { "key": "a", "value": 1 } }, "put-flood"]))).await;
    assert!(outcome.is_err());
    let changes = call.data.into_changes();
    let bytes: usize = changes.values().flatten().map(Bytes::len).sum();
    assert!(changes.contains_key("a") && bytes <= DATA_BYTES_MAX, "{bytes}");
    assert!(call.outbox.len() <= OUTBOX_EVENTS_MAX);
    assert_eq!(call.context.step, "one");
}

/// Hands each request to the test, which answers when it likes.
struct Partner(mpsc::Sender<Asked>);

pub(crate) struct Asked {
    pub(crate) request: HttpRequest,
    pub(crate) answer: oneshot::Sender<Result<HttpResponse, HttpError>>,
}

#[async_trait]
impl HttpClient for Partner {
    async fn send(&self, request: HttpRequest, _: &HttpRules) -> Result<HttpResponse, HttpError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { request, answer }).await.unwrap_or_else(|_| panic!("the test is over"));
        answered.await.expect("the test answers")
    }
}

pub(crate) fn partner() -> (Network, mpsc::Receiver<Asked>) {
    let (asked, asks) = mpsc::channel(8);
    (Network { client: Some(Arc::new(Partner(asked))), ..Network::default() }, asks)
}

pub(crate) fn ok(body: &'static str) -> Result<HttpResponse, HttpError> {
    Ok(HttpResponse { status: 201, headers: Vec::new(), body: Bytes::from_static(body.as_bytes()) })
}

fn send(method: &str, url: &str) -> Value {
    json!({ "send": { "method": method, "url": url, "headers": { "x": "1" }, "body": "hello", "timeoutMs": 5_000 } })
}

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let (network, mut asks) = partner();
    let call =
        call_with(&json!([send("POST", "http://partner.example/a"), send("GET", "http://evil.example/")]), network);
    let http = Arc::clone(&call.http);
    let answering = async {
        let Asked { request, answer } = asks.recv().await.unwrap();
        answer.send(ok("welcome")).unwrap();
        request
    };
    let mut running = start(&module().await).await.unwrap();
    let ((_, found), request) = tokio::join!(running.done(call), answering);
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://partner.example/a"));
    assert_eq!((&request.body[..], request.timeout), (&b"hello"[..], Some(Duration::from_secs(5))));
    let headers =
        [("x", "1"), ("idempotency-key", "saga-1/one")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(request.headers, headers);
    let sent = found["sent"].as_array().unwrap();
    assert_eq!(sent[0], json!({ "status": 201, "body": "welcome" }));
    assert_eq!(sent[1]["code"], "http.refused");
    assert_eq!(http.records().len(), 2);
}

/// One thread for all guests: a step that waits for its partner leaves it to the others. And its deadline is for what
/// it computes: it waits longer than that here.
#[tokio::test]
async fn waiting_for_a_partner_holds_no_thread_and_no_deadline() {
    let config = WasmConfig { call_deadline: DEADLINE, guest_threads: 1, ..WasmConfig::default() };
    let module = compiled(&engine_with(config), "test-saga").await;
    let (network, mut asks) = partner();
    let (mut slow, mut quick) = (start(&module).await.unwrap(), start(&module).await.unwrap());
    let waiting = call_with(&json!([send("GET", "http://partner.example/slow")]), network);
    let others = async {
        let Asked { answer, .. } = asks.recv().await.unwrap();
        // It has to compute for as long as it may, and another one for the whole of its time.
        assert!(matches!(quick.error(json!(["loop"])).await, GuestError::DeadlineExceeded { .. }));
        let mut quick = start(&module).await.unwrap();
        quick.done(call(&json!([]))).await;
        answer.send(ok("at last")).unwrap();
    };
    let ((_, found), ()) = tokio::join!(slow.done(waiting), others);
    assert_eq!(found["sent"][0]["body"], "at last");
}

/// The host drops an attempt that takes too long.
#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_nothing_behind() {
    // Room for one: the next one starts only when nothing of the last is left.
    let config = WasmConfig { call_deadline: Duration::from_secs(60), instances_max: 1, ..WasmConfig::default() };
    let module = compiled(&engine_with(config), "test-saga").await;
    for tasks in [json!([send("GET", "http://partner.example/never")]), json!(["loop"])] {
        let (network, mut asks) = partner();
        let waits = tasks[0] != "loop";
        let call = call_with(&tasks, network);
        let http = Arc::clone(&call.http);
        let mut running = start_soon(&module).await;
        let mut attempt = Box::pin(running.step(call));
        let request = async { if waits { asks.recv().await } else { None } };
        let request = tokio::select! {
            // It has to have begun.
            biased;
            _ = &mut attempt => panic!("it has ended"),
            request = request => request,
        };
        drop(attempt);
        if let Some(Asked { mut answer, .. }) = request {
            answer.closed().await;
            assert!(http.records()[0].error.as_ref().unwrap().contains("no answer when the attempt ended"));
        }
        let (_, after) = running.step(self::call(&json!([]))).await;
        assert!(matches!(after, Err(GuestError::Trapped { .. })), "its instance is gone");
    }
    start_soon(&module).await.done(call(&json!([]))).await;
}

/// What is dropped ends at its next look, on another thread.
async fn start_soon(module: &Arc<dyn GuestModule>) -> Running {
    let mut full = None;
    for _ in 0..LOOKS_MAX {
        match start(module).await {
            Ok(running) => return running,
            Err(error) => full = Some(error),
        }
        tokio::task::yield_now().await;
    }
    panic!("no place has come free: {full:?}");
}
