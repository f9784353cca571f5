//! What a call brings and takes.

use wasmill_core::guest::{GuestEngine, GuestError};

use crate::support::{ByHand, IDLE, engine, event, start};

#[tokio::test]
async fn a_projection_by_hand_describes_itself_and_takes_events() {
    let engine = engine();
    let module = engine.compile(IDLE.bytes()).await.unwrap();
    assert_eq!(module.describe().await.unwrap(), "{}");
    let mut running = start(&module).await.unwrap();
    let (state, outcome) = running.apply(vec![event("a", "{}"), event("b", "{}")]).await;
    outcome.unwrap();
    assert!(state.is_clean());
    assert_eq!(running.guest.memory_bytes(), 2 * 65_536);
}

#[tokio::test]
async fn the_fields_of_an_event_arrive() {
    // Traps unless the first event is what `support::event` makes.
    let apply = r#"
        (if (i64.ne (i64.load offset=0 (local.get 0)) (i64.const 41)) (then unreachable))
        (if (i64.ne (i64.load offset=8 (local.get 0)) (i64.const 7)) (then unreachable))
        (if (i64.ne (i64.load offset=16 (local.get 0)) (i64.const 5000000)) (then unreachable))
        (if (i64.ne (i64.load offset=24 (local.get 0)) (i64.const 0x0123456789abcdef)) (then unreachable))
        (if (i64.ne (i64.load offset=32 (local.get 0)) (i64.const 0x0011223344556677)) (then unreachable))
        (if (i32.ne (i32.load offset=40 (local.get 0)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load offset=48 (local.get 0)) (i32.const 3)) (then unreachable))
        (if (i32.ne (i32.load offset=56 (local.get 0)) (i32.const 8)) (then unreachable))
        (if (i32.ne (i32.load8_u offset=60 (local.get 0)) (i32.const 0)) (then unreachable))
        (if (i32.ne (local.get 1) (i32.const 1)) (then unreachable))
        (i32.const 64)"#;
    let module = engine().compile(ByHand { apply, ..IDLE }.bytes()).await.unwrap();
    let mut running = start(&module).await.unwrap();
    running.apply(vec![event("abc", "{}")]).await.1.unwrap();
    let ended = running.apply(vec![event("four", "{}")]).await.1;
    assert!(matches!(ended, Err(GuestError::Trapped { .. })));
}
