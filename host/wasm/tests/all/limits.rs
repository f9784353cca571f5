//! Time and memory run out in the guest, never in the host.

use std::time::{Duration, Instant};

use wasmill_core::guest::{GuestEngine, GuestError, Limit};
use wasmill_core::limits::plugin::MEMORY_BYTES_MAX;
use wasmill_wasm::WasmConfig;

use crate::support::{ByHand, IDLE, engine, engine_with, event, start, start_with};

const LOOP: &str = "(loop (br 0)) (i32.const 64)";
const GROW: &str = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (i32.const 64)";

async fn end_of(component: ByHand, config: WasmConfig) -> GuestError {
    let engine = engine_with(config);
    let module = engine.compile(component.bytes()).await.unwrap();
    let mut running = start(&module).await.unwrap();
    let (_, outcome) = running.apply(vec![event("a", "{}")]).await;
    let error = outcome.unwrap_err();
    let (_, again) = running.apply(vec![event("a", "{}")]).await;
    assert!(matches!(again, Err(GuestError::Trapped { .. })), "a dead instance answered");

    let good = engine.compile(IDLE.bytes()).await.unwrap();
    start(&good).await.unwrap().apply(vec![event("a", "{}")]).await.1.unwrap();
    error
}

#[tokio::test]
async fn a_loop_ends_at_the_deadline() {
    let call_deadline = Duration::from_millis(100);
    let began = Instant::now();
    let error = end_of(ByHand { apply: LOOP, ..IDLE }, WasmConfig { call_deadline, ..WasmConfig::default() }).await;
    assert!(matches!(error, GuestError::DeadlineExceeded { limit_ms: 100 }), "{error}");
    assert!(began.elapsed() >= call_deadline);
}

#[tokio::test]
async fn memory_ends_at_the_limit() {
    let error = end_of(ByHand { apply: GROW, ..IDLE }, WasmConfig::default()).await;
    let GuestError::OutOfMemory { asked_bytes, limit_bytes } = error else { panic!("{error}") };
    assert_eq!(limit_bytes, 64 << 20);
    assert!(asked_bytes > limit_bytes);
}

/// The host's own limit is the default, not the most.
#[tokio::test]
async fn a_plugin_may_be_given_as_much_memory_as_its_settings_can_say() {
    let most = usize::try_from(MEMORY_BYTES_MAX).unwrap();
    let config = WasmConfig { memory_bytes_max: 1 << 20, ..WasmConfig::default() };
    let module = engine_with(config).compile(ByHand { apply: GROW, ..IDLE }.bytes()).await.unwrap();
    let mut running = start_with(&module, Some(most)).await.unwrap();
    let error = running.apply(vec![event("a", "{}")]).await.1.unwrap_err();
    let GuestError::OutOfMemory { limit_bytes, .. } = error else { panic!("{error}") };
    assert_eq!(limit_bytes, MEMORY_BYTES_MAX);
}

#[tokio::test]
async fn two_memories_share_one_limit() {
    let apply = r#"
        (if (i32.eq (memory.grow 0 (i32.const 600)) (i32.const -1)) (then unreachable))
        (drop (memory.grow 1 (i32.const 600))) (i32.const 64)"#;
    let error = end_of(ByHand { core: "(memory $second 1)", apply, ..IDLE }, WasmConfig::default()).await;
    let GuestError::OutOfMemory { asked_bytes, .. } = error else { panic!("{error}") };
    assert_eq!(asked_bytes, (600 + 600 + 3) * 65_536);
}

#[tokio::test]
async fn a_recursion_ends_at_the_stack() {
    let core = "(func $deep (param i64) (result i64) (i64.add (call $deep (local.get 0)) (i64.const 1)))";
    let apply = "(drop (call $deep (i64.const 1))) (i32.const 64)";
    let error = end_of(ByHand { core, apply, ..IDLE }, WasmConfig::default()).await;
    let GuestError::Exhausted { limit: Limit::Stack, reason } = error else { panic!("{error}") };
    assert_eq!(reason, "it ran out of stack (a recursion without an end?), in deep < deep < deep < deep < deep");
}

#[tokio::test]
async fn a_trap_says_where() {
    let core = "(func $inner unreachable) (func $outer call $inner)";
    let error = end_of(ByHand { core, apply: "call $outer (i32.const 64)", ..IDLE }, WasmConfig::default()).await;
    let GuestError::Trapped { reason } = error else { panic!("{error}") };
    assert_eq!(reason, "it panicked or aborted, in inner < outer");
}

#[tokio::test]
async fn starting_and_describing_have_limits_too() {
    let config = WasmConfig { start_deadline: Duration::from_millis(50), ..WasmConfig::default() };
    let engine = engine_with(config);
    let compile = async |component: ByHand| engine.compile(component.bytes()).await.unwrap();

    let loops = compile(ByHand { start: "(loop (br 0))", ..IDLE }).await;
    assert!(matches!(start(&loops).await.err(), Some(GuestError::DeadlineExceeded { limit_ms: 50 })));
    let loops = compile(ByHand { describe: LOOP, ..IDLE }).await;
    assert!(matches!(loops.describe().await, Err(GuestError::DeadlineExceeded { limit_ms: 50 })));
    let grows = compile(ByHand { describe: GROW, ..IDLE }).await;
    assert!(matches!(grows.describe().await, Err(GuestError::OutOfMemory { .. })));
    assert_eq!(compile(IDLE).await.describe().await.unwrap(), "{}");
}

#[tokio::test]
async fn guests_share_a_thread_by_turns() {
    let config = WasmConfig { guest_threads: 1, ..WasmConfig::default() };
    let engine = engine_with(config);
    let looping = engine.compile(ByHand { apply: LOOP, ..IDLE }.bytes()).await.unwrap();
    let idle = engine.compile(IDLE.bytes()).await.unwrap();
    let mut busy = start(&looping).await.unwrap();
    let mut quick = start(&idle).await.unwrap();
    let busy = tokio::spawn(async move { busy.apply(vec![event("a", "{}")]).await.1 });
    let began = Instant::now();
    for _ in 0..5 {
        quick.apply(vec![event("a", "{}")]).await.1.unwrap();
    }
    assert!(began.elapsed() < Duration::from_millis(900), "the loop had the thread to itself");
    assert!(matches!(busy.await.unwrap(), Err(GuestError::DeadlineExceeded { .. })));
}

#[tokio::test]
async fn when_all_slots_are_taken_the_next_guest_is_told() {
    let engine = engine_with(WasmConfig { instances_max: 2, ..WasmConfig::default() });
    let module = engine.compile(IDLE.bytes()).await.unwrap();
    let first = start(&module).await.unwrap();
    let _second = start(&module).await.unwrap();
    let Some(GuestError::Trapped { reason }) = start(&module).await.err() else { panic!("there was room") };
    assert!(reason.contains("too many plugins are running"), "{reason}");
    drop(first);
    start(&module).await.unwrap();
}

#[tokio::test]
async fn the_engine_may_be_dropped_anywhere() {
    let engine = engine();
    let module = engine.compile(IDLE.bytes()).await.unwrap();
    let mut running = start(&module).await.unwrap();
    drop((engine, module));
    running.apply(vec![event("a", "{}")]).await.1.unwrap();
}
