//! A guest of Rust that does what its events tell it, mostly harm. Whatever it does, its call ends with
//! a clear reason, and the next one's is served.

use std::time::Duration;

use wasmill_core::guest::{Disposition, GuestError, Limit};
use wasmill_core::limits::plugin::{DOCUMENT_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_PER_CALL_MAX, OVERLAY_BYTES_MAX};
use wasmill_core::plugin::log::Level;
use wasmill_core::projection::state::{State, StateError};
use wasmill_wasm::WasmConfig;

use crate::support::{Running, compiled, engine_with, event, fold, start, state_of};

const COLLECTIONS: [&str; 5] = ["counts", "echoes", "details", "probes", "bombs"];

async fn running() -> Running {
    let config = WasmConfig { call_deadline: Duration::from_millis(500), ..WasmConfig::default() };
    start(&compiled(&engine_with(config), "test-guest").await).await.unwrap()
}

impl Running {
    async fn told(&mut self, what: &str) -> (State, Result<(), GuestError>) {
        fold(&mut *self.guest, vec![event(what, "{}")], state_of(&COLLECTIONS)).await
    }
}

/// Ends a call with `what`, and then sees a new instance do its work.
async fn end_by(what: &str) -> GuestError {
    let config = WasmConfig { call_deadline: Duration::from_millis(500), ..WasmConfig::default() };
    let engine = engine_with(config);
    let module = compiled(&engine, "test-guest").await;
    let mut harmed = start(&module).await.unwrap();
    let error = harmed.told(what).await.1.expect_err(what);
    assert!(harmed.told("good").await.1.is_err(), "a dead instance answered");
    let (mut state, outcome) = start(&module).await.unwrap().told("good").await;
    outcome.unwrap();
    assert_eq!(state.get("counts", "good").await.unwrap().as_deref(), Some(&b"1"[..]));
    error
}

async fn reason_of(what: &str) -> String {
    match end_by(what).await {
        GuestError::Trapped { reason } => reason,
        other => panic!("{other}"),
    }
}

async fn state_error_of(what: &str) -> StateError {
    match end_by(what).await {
        GuestError::State(error) => std::sync::Arc::into_inner(error).unwrap(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_loop_is_interrupted() {
    let error = end_by("loop").await;
    assert!(matches!(error, GuestError::DeadlineExceeded { limit_ms: 500 }), "{error}");
}

#[tokio::test]
async fn a_gigabyte_is_not_given() {
    let error = end_by("gigabyte").await;
    let GuestError::OutOfMemory { asked_bytes, limit_bytes } = error else { panic!("{error}") };
    assert!(asked_bytes > 1 << 30);
    assert_eq!(limit_bytes, 64 << 20);
}

#[tokio::test]
async fn a_leak_ends_at_the_limit() {
    let mut running = running().await;
    for calls in 1.. {
        let before = running.guest.memory_bytes();
        match running.told("leak").await.1 {
            Ok(()) => assert!(running.guest.memory_bytes() >= before),
            Err(GuestError::OutOfMemory { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(calls < 64, "64 MiB were not enough to fill 64 MiB");
    }
}

#[tokio::test]
async fn a_panic_tells_its_message() {
    let reason = reason_of("panic").await;
    assert!(reason.starts_with("it panicked or aborted"), "{reason}");
    assert!(reason.contains("told to panic by event 01234567-89ab-cdef"), "{reason}");
}

#[tokio::test]
async fn a_recursion_ends() {
    let reason = reason_of("recurse").await;
    assert!(reason.contains("out of stack"), "{reason}");
}

#[tokio::test]
async fn an_exit_is_a_crash_of_the_guest_alone() {
    let reason = reason_of("exit").await;
    assert!(reason.starts_with("it exited with status"), "{reason}");
}

#[tokio::test]
async fn a_sleep_is_refused_and_not_slept() {
    let reason = reason_of("sleep").await;
    assert!(reason.contains("timers are not available to plugins"), "{reason}");
}

#[tokio::test]
async fn handles_without_end_are_not_given() {
    let error = end_by("handle-leak").await;
    let GuestError::Exhausted { limit: Limit::Handles, reason } = error else { panic!("{error}") };
    assert!(reason.contains("resource") || reason.contains("handle"), "{reason}");
}

#[tokio::test]
async fn a_panic_says_in_which_function() {
    let reason = reason_of("panic").await;
    assert!(reason.contains(", in ") && reason.contains("apply"), "{reason}");
}

#[tokio::test]
async fn documents_without_end_fill_the_overlay_and_no_more() {
    let error = state_error_of("state-bomb").await;
    assert!(matches!(error, StateError::OverlayFull), "{error}");
}

#[tokio::test]
async fn the_state_comes_back_with_what_was_written_before_the_end() {
    let (state, _) = running().await.told("state-bomb").await;
    assert!(state.overlay_bytes() > OVERLAY_BYTES_MAX / 2);
}

#[tokio::test]
async fn a_document_above_the_limit_ends_the_call() {
    let error = state_error_of("huge-document").await;
    let StateError::DocumentTooLarge { collection, bytes, .. } = error else { panic!("{error}") };
    assert_eq!(collection, "bombs");
    assert!(bytes > DOCUMENT_BYTES_MAX);
}

#[tokio::test]
async fn an_undeclared_collection_ends_the_call() {
    let error = state_error_of("undeclared").await;
    assert!(matches!(error, StateError::Undeclared { collection } if collection == "undeclared"));
}

#[tokio::test]
async fn a_failure_is_the_guests_own_word_and_it_lives_on() {
    let mut running = running().await;
    for (what, disposition, code) in [
        ("reject", Disposition::Reject, "test.rejected"),
        ("retry", Disposition::Retry, "test.retried"),
        ("halt", Disposition::Halt, "test.halted"),
    ] {
        let Err(GuestError::Failed(failure)) = running.told(what).await.1 else { panic!("{what}") };
        assert_eq!((failure.disposition, failure.code.as_str()), (disposition, code));
        assert!(failure.message.contains("told to"));
        assert_eq!(failure.retry_after_ms, (what == "retry").then_some(10));
        assert_eq!(failure.event_index, Some(0));
    }
    running.told("good").await.1.unwrap();
}

#[tokio::test]
async fn a_flood_of_lines_is_bounded_and_counted() {
    let mut running = running().await;
    let (_, flooded) = running.told("log-flood").await;
    assert!(matches!(flooded, Ok(()) | Err(GuestError::DeadlineExceeded { .. })));
    let lines = running.log.tail(usize::MAX, Level::Trace);
    assert_eq!(lines.len(), LOG_LINES_PER_CALL_MAX);
    assert!(lines.iter().all(|line| line.message.len() <= LOG_LINE_BYTES_MAX));
}

#[tokio::test]
async fn what_it_prints_are_lines_of_its_log() {
    let mut running = running().await;
    running.told("print").await.1.unwrap();
    let lines = running.log.tail(10, Level::Trace);
    let said: Vec<_> = lines.iter().map(|line| (line.level, line.message.as_str(), line.time.0)).collect();
    let id = "01234567-89ab-cdef-0011-223344556677";
    let expected =
        [(Level::Info, format!("printed by event {id}")), (Level::Warn, format!("complained by event {id}"))];
    assert_eq!(said, expected.each_ref().map(|(level, text)| (*level, text.as_str(), 1_000)));
}
