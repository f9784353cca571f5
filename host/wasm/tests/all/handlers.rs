//! Handlers: what they emit, and that nothing of it comes out of a call that failed.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::event::Event;
use wasmill_core::guest::{Batch, Guest, GuestEnvironment, GuestError, GuestModule};
use wasmill_core::handler::outbox::{Emitted, Outbox, OutboxError};
use wasmill_core::limits::plugin::{LOG_LINES_PER_CALL_MAX, OUTBOX_EVENTS_MAX};
use wasmill_core::name::Pattern;
use wasmill_core::plugin::descriptor::{Descriptor, Kind};
use wasmill_core::plugin::log::{Level, PluginLog};
use wasmill_core::projection::state::StateError;
use wasmill_wasm::WasmConfig;

use crate::support::{compiled, engine_with, event, state_of};

const COLLECTIONS: [&str; 2] = ["counts", "bombs"];

struct Handling {
    guest: Box<dyn Guest>,
    log: Arc<PluginLog>,
}

async fn module() -> Arc<dyn GuestModule> {
    let config = WasmConfig { call_deadline: Duration::from_millis(500), ..WasmConfig::default() };
    compiled(&engine_with(config), "test-handler").await
}

async fn handling(module: &Arc<dyn GuestModule>) -> Handling {
    let log = Arc::new(PluginLog::new("test"));
    let config: Arc<[(String, String)]> = vec![("prefix".to_owned(), "set.".to_owned())].into();
    let environment = GuestEnvironment { config, log: Arc::clone(&log), memory_bytes_max: None };
    Handling { guest: module.start(environment).await.unwrap(), log }
}

impl Handling {
    async fn handle(&mut self, events: Vec<Event>) -> (Batch, Result<(), GuestError>) {
        let grants: Arc<[Pattern]> = vec![Pattern::new("done-*").unwrap()].into();
        let batch = Batch { events: events.into(), state: state_of(&COLLECTIONS), outbox: Outbox::new(grants) };
        self.guest.call(batch).await
    }

    async fn emitted(&mut self, events: Vec<Event>) -> Vec<Emitted> {
        let (batch, outcome) = self.handle(events).await;
        outcome.unwrap();
        batch.outbox.emitted().to_vec()
    }

    async fn error(&mut self, what: &str) -> GuestError {
        self.handle(vec![event(what, "{}")]).await.1.expect_err(what)
    }
}

/// Ends a call with `what`, and then sees a new instance do its work.
async fn end_by(what: &str) -> GuestError {
    let module = module().await;
    let mut handling_it = handling(&module).await;
    let error = handling_it.error(what).await;
    assert!(handling_it.handle(vec![event("good", "{}")]).await.1.is_err(), "a dead instance answered");
    handling(&module).await.handle(vec![event("good", "{}")]).await.1.unwrap();
    error
}

#[tokio::test]
async fn it_describes_itself_as_what_it_is() {
    let module = module().await;
    assert_eq!(module.kind(), Kind::Handler);
    let descriptor = Descriptor::parse(&module.describe().await.unwrap(), module.kind()).unwrap();
    assert_eq!(descriptor.capabilities, ["append:done-*"]);
    assert_eq!(descriptor.config[0].default.as_deref(), Some("done."));
    assert!(descriptor.by_key);
}

#[tokio::test]
async fn events_are_emitted_in_order_with_their_cause_and_attributes() {
    let first = r#"{"emit":[{"stream":"done-1","type":"a","data":{"n":1},"key":"k","tags":["t"],"correlation":"c"},
        {"stream":"done-2","type":"b"}]}"#;
    let second = r#"{"emit":[{"stream":"done-1","type":"c"}]}"#;
    let mut handling = handling(&module().await).await;
    let (mut batch, outcome) = handling.handle(vec![event("x", first), event("y", second)]).await;
    outcome.unwrap();
    let emitted = batch.outbox.emitted();
    let found: Vec<_> = emitted.iter().map(|e| (e.cause, e.stream.as_str(), e.event.event_type.as_str())).collect();
    assert_eq!(found, [(0, "done-1", "a"), (0, "done-2", "b"), (1, "done-1", "c")]);
    let NewEventView { data, key, tags, correlation } = NewEventView::of(&emitted[0]);
    assert_eq!((data, key, tags, correlation), (r#"{"n":1}"#, Some("k"), &["t".to_owned()][..], Some("c")));
    assert_eq!(batch.state.get("counts", "x").await.unwrap().as_deref(), Some(&b"1"[..]));
}

struct NewEventView<'a> {
    data: &'a str,
    key: Option<&'a str>,
    tags: &'a [String],
    correlation: Option<&'a str>,
}

impl<'a> NewEventView<'a> {
    fn of(emitted: &'a Emitted) -> Self {
        let event = &emitted.event;
        Self {
            data: std::str::from_utf8(&event.data).unwrap(),
            key: event.key.as_deref(),
            tags: &event.tags,
            correlation: event.origin.correlation_id.as_deref(),
        }
    }
}

#[tokio::test]
async fn its_clock_runs_and_its_random_numbers_differ() {
    let module = module().await;
    let read = async || {
        let emitted = handling(&module).await.emitted(vec![event("clock", "{}")]).await;
        String::from_utf8(emitted[0].event.data.to_vec()).unwrap()
    };
    let (first, second) = (read().await, read().await);
    // The clock of these tests stands at a thousandth of a second.
    assert!(first.contains(r#""envUs":1000"#) && first.contains(r#""wasiUs":1000"#), "{first}");
    assert_ne!(first, second, "two instances have the same random numbers");
}

#[tokio::test]
async fn its_configuration_is_the_revisions() {
    let emitted = handling(&module().await).await.emitted(vec![event("prefixed", "{}")]).await;
    assert!(emitted[0].event.event_type.starts_with("set."));
}

#[tokio::test]
async fn a_failure_is_its_own_word_and_it_lives_on() {
    let mut handling = handling(&module().await).await;
    for (what, code) in [("reject", "test.rejected"), ("halt", "test.halted")] {
        let GuestError::Failed(failure) = handling.error(what).await else { panic!("{what}") };
        assert_eq!((failure.code.as_str(), failure.event_index), (code, Some(0)));
    }
    // The clock of these tests stands at 1,000 us.
    let Err(GuestError::Failed(failure)) = handling.handle(vec![event("retry", r#"{"untilUs":1001}"#)]).await.1 else {
        panic!("it did not ask to be retried")
    };
    assert_eq!((failure.code.as_str(), failure.retry_after_ms), ("test.retried", Some(10)));
    handling.handle(vec![event("retry", r#"{"untilUs":1000}"#)]).await.1.unwrap();
}

#[tokio::test]
async fn what_was_not_granted_ends_the_call() {
    let error = end_by("trespass").await;
    let GuestError::Outbox(OutboxError::NotGranted { stream, granted }) = error else { panic!("{error}") };
    assert_eq!((stream.as_str(), granted.as_str()), ("elsewhere", "done-*"));
}

#[tokio::test]
async fn output_without_end_fills_the_outbox_and_no_more() {
    for what in ["emit-flood", "huge-output"] {
        let error = end_by(what).await;
        assert!(matches!(error, GuestError::Outbox(OutboxError::Full)), "{what}: {error}");
    }
}

#[tokio::test]
async fn what_a_call_emitted_before_it_was_ended_stays_in_bounds() {
    let (batch, outcome) = handling(&module().await).await.handle(vec![event("emit-flood", "{}")]).await;
    assert!(outcome.is_err());
    assert!(batch.outbox.len() <= OUTBOX_EVENTS_MAX, "{}", batch.outbox.len());
}

#[tokio::test]
async fn a_sleep_is_refused_and_not_slept() {
    let GuestError::Trapped { reason } = end_by("sleep").await else { panic!() };
    assert!(reason.contains("timers are not available to plugins"), "{reason}");
}

#[tokio::test]
async fn loops_panics_and_state_bombs_end_their_call() {
    assert!(matches!(end_by("loop").await, GuestError::DeadlineExceeded { limit_ms: 500 }));
    let GuestError::Trapped { reason } = end_by("panic").await else { panic!() };
    assert!(reason.contains("told to panic by event"), "{reason}");
    let GuestError::State(error) = end_by("state-bomb").await else { panic!() };
    assert!(matches!(*error, StateError::OverlayFull), "{error}");
}

#[tokio::test]
async fn a_flood_of_lines_is_bounded() {
    let mut handling = handling(&module().await).await;
    handling.handle(vec![event("log-flood", "{}")]).await.1.unwrap();
    assert_eq!(handling.log.tail(usize::MAX, Level::Trace).len(), LOG_LINES_PER_CALL_MAX);
}
