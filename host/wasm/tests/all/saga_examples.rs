//! The sagas of `plugins/examples-rust`, and of `plugins/examples-js` where it is built: they do the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_core::clock::Timestamp;
use wasmill_core::event::NewEvent;
use wasmill_core::guest::{GuestEngine, GuestEnvironment, GuestError, SagaGuest};
use wasmill_core::handler::outbox::Outbox;
use wasmill_core::name::Pattern;
use wasmill_core::plugin::descriptor::Descriptor;
use wasmill_core::plugin::log::{Level, PluginLog};
use wasmill_core::saga::call::{Direction, SagaData, StepCall, StepOutcome, Wait};
use wasmill_core::saga::definition::SagaClock;
use wasmill_core::saga::http::{HttpError, HttpResponse};

use crate::sagas::{Asked, call, call_with, engine, ok, partner};
use crate::support::{built, event_of};

/// In Rust, and in JavaScript.
fn components(name: &str) -> Vec<Bytes> {
    let in_javascript = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/examples-js/dist").join(name);
    let mut components = vec![built(name)];
    match std::fs::read(in_javascript.with_extension("wasm")) {
        Ok(component) => components.push(component.into()),
        Err(_) => skipped("plugins/examples-js is not built: it is not tested"),
    }
    components
}

#[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
fn skipped(why: &str) {
    eprintln!("skipped in part: {why}");
}

struct Example {
    guest: Box<dyn SagaGuest>,
    descriptor: Descriptor,
    log: Arc<PluginLog>,
}

async fn started(component: Bytes) -> Example {
    let module = engine().compile(component).await.unwrap();
    let descriptor = Descriptor::parse(&module.describe().await.unwrap(), module.kind()).unwrap();
    let log = Arc::new(PluginLog::new("test"));
    let config: Arc<[(String, String)]> = vec![("partner".to_owned(), "http://partner.example/v1/".to_owned())].into();
    let environment = GuestEnvironment { config, log: Arc::clone(&log), memory_bytes_max: None };
    Example { guest: module.start_saga(environment).await.unwrap(), descriptor, log }
}

fn order() -> Value {
    json!({ "orderId": "o-1", "items": [{ "sku": "Nüsse", "quantity": 2 }], "amount": 250 })
}

impl Example {
    /// Where a step asks its partner, and what it makes of the answer.
    async fn ask(
        &mut self,
        step: &str,
        direction: Direction,
        answer: Result<HttpResponse, HttpError>,
    ) -> (String, Result<StepOutcome, GuestError>) {
        let (network, mut asks) = partner();
        let mut call = call_with(&json!([]), network);
        (call.direction, call.context.step) = (direction, step.into());
        call.context.input = order().to_string().into();
        let answering = async {
            let Asked { request, answer: asked } = asks.recv().await.unwrap();
            asked.send(answer).unwrap();
            request
        };
        let ((_, outcome), request) = tokio::join!(self.guest.step(call), answering);
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap()["items"], order()["items"]);
        assert!(request.headers.contains(&("idempotency-key".into(), "saga-1/one".into())), "{step}");
        (request.url, outcome)
    }
}

#[tokio::test]
async fn an_order_asks_its_partner() {
    for component in components("order-fulfillment") {
        let mut example = started(component).await;
        let steps = &example.descriptor.steps;
        assert_eq!((steps.len(), steps[0].attempt_timeout_ms, steps[0].retry.base_ms), (3, 5_000, 50));
        assert!(steps.iter().all(|step| step.compensate));
        for (step, direction, path) in [
            ("reserve-inventory", Direction::Execute, "reserve"),
            ("ship", Direction::Execute, "ship"),
            ("authorize-payment", Direction::Compensate, "void"),
        ] {
            let (url, outcome) = example.ask(step, direction, ok(r#"{"reference":"r-1","effect":true}"#)).await;
            assert_eq!(url, format!("http://partner.example/v1/{path}"));
            assert_eq!(outcome.unwrap(), StepOutcome::Completed(Bytes::from_static(br#"{"reference":"r-1"}"#)));
        }
        let status = |status| Ok(HttpResponse { status, ..HttpResponse::default() });
        let timeout = Err(HttpError { code: "http.timeout", message: "too late".into() });
        for (answer, disposition, code) in [
            (status(402), "reject", "payment.declined"),
            (status(503), "retry", "http.503"),
            (timeout, "retry", "http.timeout"),
        ] {
            let (_, outcome) = example.ask("authorize-payment", Direction::Execute, answer).await;
            let Err(GuestError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
            assert_eq!((failure.disposition.as_str(), failure.code.as_str()), (disposition, code));
        }
        assert_eq!(example.log.tail(usize::MAX, Level::Info)[0].message, "reserve: r-1");
    }
}

fn flight(data: SagaData) -> StepCall {
    let mut call = call(&json!([]));
    call.context.step = "await-arrival".into();
    call.context.input = Bytes::from_static(br#"{"flight":"UA1","dest":"IAH"}"#);
    call.context.attributes = vec![("now-us".into(), "1000000".into())];
    call.outbox = Outbox::new(vec![Pattern::new("overdue-flights").unwrap()].into());
    StepCall { data, ..call }
}

#[tokio::test]
async fn a_flight_is_waited_for() {
    for component in components("overdue-flights") {
        let mut example = started(component).await;
        let options = example.descriptor.saga.clone().unwrap();
        assert_eq!(
            (options.clock, options.starts_on[0].types.as_slice()),
            (SagaClock::Event, &["flight.departed".to_owned()][..])
        );
        let (call, outcome) = example.guest.step(flight(SagaData::default())).await;
        let until = Some(Timestamp(1_000_000 + 12 * 3_600_000_000));
        let wait = Wait { until, event_type: Some("flight.arrived".into()), match_key: None };
        assert_eq!(outcome.unwrap(), StepOutcome::Suspended(wait));
        let changes = call.data.into_changes().into_iter();
        let data: Arc<BTreeMap<_, _>> = Arc::new(changes.filter_map(|(key, value)| Some((key, value?))).collect());
        let again = || flight(SagaData::new(Arc::clone(&data), Arc::default()));
        let mut arrived = again();
        let event =
            NewEvent { event_type: "flight.arrived".into(), key: Some("order-7".into()), ..NewEvent::default() };
        arrived.context.woken_by = Some(event_of(&event));
        let (call, outcome) = example.guest.step(arrived).await;
        assert_eq!(outcome.unwrap(), StepOutcome::Completed(Bytes::from_static(br#"{"overdue":false}"#)));
        assert!(call.outbox.is_empty());
        let (call, outcome) = example.guest.step(again()).await;
        assert_eq!(outcome.unwrap(), StepOutcome::Completed(Bytes::from_static(br#"{"overdue":true}"#)));
        let [emitted] = call.outbox.emitted() else { panic!("one event") };
        assert_eq!(
            (emitted.event.event_type.as_str(), emitted.event.key.as_deref()),
            ("flight-overdue", Some("order-7"))
        );
        assert_eq!(&emitted.event.data[..], br#"{"dest":"IAH","flight":"UA1"}"#);
    }
}
