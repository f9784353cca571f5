//! Components that keep the contract by their types and break it by what they hand over: text that is none,
//! lengths that lead out of their memory, an allocator that gives what is not there.

use wasmill_core::guest::{GuestEngine, GuestError};
use wasmill_core::plugin::descriptor::{Descriptor, DescriptorError, Kind};

use crate::support::{ByHand, IDLE, engine, event, start, wat};

/// Answers a failure whose code lies at `code` and has `length` bytes.
fn failing(code: u32, length: u32) -> String {
    format!(
        "(i32.store8 (i32.const 64) (i32.const 1)) (i32.store8 (i32.const 68) (i32.const 1))
         (i32.store (i32.const 72) (i32.const {code})) (i32.store (i32.const 76) (i32.const {length}))
         (i32.store (i32.const 80) (i32.const 16)) (i32.store (i32.const 84) (i32.const 2))
         (i32.const 64)"
    )
}

/// What a call comes to, and that the engine is whole behind it.
async fn end_of(text: &str) -> Result<(), GuestError> {
    let engine = engine();
    let module = engine.compile(wat(text)).await.unwrap();
    let outcome = start(&module).await.unwrap().apply(vec![event("a", "{}")]).await.1;
    let good = engine.compile(IDLE.bytes()).await.unwrap();
    start(&good).await.unwrap().apply(vec![event("a", "{}")]).await.1.unwrap();
    outcome
}

/// As [`ByHand`], whose parts live as long as the test.
fn answering(apply: &str) -> String {
    IDLE.text().replace("(i32.const 64)))\n  (core instance", &format!("{apply}))\n  (core instance"))
}

async fn trap_of(text: &str) -> String {
    match end_of(text).await {
        Err(GuestError::Trapped { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failure_by_hand_arrives() {
    let Err(GuestError::Failed(failure)) = end_of(&answering(&failing(16, 2))).await else { panic!() };
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("{}", "{}"));
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_call() {
    let bad = answering(&format!("(i32.store8 (i32.const 200) (i32.const 0xff)) {}", failing(200, 1)));
    let reason = trap_of(&bad).await;
    assert!(reason.contains("utf-8") || reason.contains("UTF-8"), "{reason}");
}

#[tokio::test]
async fn text_that_lies_outside_of_the_memory_ends_the_call() {
    for (at, length) in [(16, 0x7fff_ffff), (0xffff_fff0, 2), (2 * 65_536, 1), (0, 0xffff_ffff)] {
        let reason = trap_of(&answering(&failing(at, length))).await;
        assert!(reason.contains("out of bounds") || reason.contains("beyond end of memory"), "{at} {length}: {reason}");
    }
}

#[tokio::test]
async fn a_variant_that_is_none_ends_the_call() {
    let reason = trap_of(&answering("(i32.store8 (i32.const 64) (i32.const 7)) (i32.const 64)")).await;
    assert!(reason.contains("discriminant") || reason.contains("expected"), "{reason}");
}

#[tokio::test]
async fn an_allocator_that_gives_what_is_not_there_ends_the_call() {
    for given in ["(i32.const -8)", "(i32.const 3)", "(i32.const 131072)"] {
        let allocator = "(global.get $free)\n      (global.set $free (i32.add (global.get $free) (local.get 3))))";
        let text = IDLE.text();
        assert!(text.contains(allocator));
        let error = end_of(&text.replace(allocator, &format!("{given})"))).await;
        assert!(matches!(error, Err(GuestError::Trapped { .. })), "{given}: {error:?}");
    }
}

#[tokio::test]
async fn a_descriptor_that_is_not_text_is_refused() {
    let engine = engine();
    let not_utf8 = "(i32.store8 (i32.const 16) (i32.const 0xff)) (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 1)) (i32.const 0)";
    let too_long =
        "(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 0x7fffffff)) (i32.const 0)";
    for describe in [not_utf8, too_long] {
        let module = engine.compile(ByHand { describe, ..IDLE }.bytes()).await.unwrap();
        let error = module.describe().await.unwrap_err();
        assert!(matches!(error, GuestError::Trapped { .. }), "{error}");
    }
}

#[test]
fn ten_thousand_collections_are_refused() {
    let named = |count: usize| {
        let collections: Vec<String> = (0..count).map(|n| format!(r#"{{"name":"c{n}"}}"#)).collect();
        let json =
            format!(r#"{{"name":"many","version":"1","kind":"projection","collections":[{}]}}"#, collections.join(","));
        Descriptor::parse(&json, Kind::Projection)
    };
    assert!(matches!(named(10_000), Err(DescriptorError::TooLarge { .. })));
    let Err(DescriptorError::Rules(broken)) = named(65) else { panic!("65 collections were accepted") };
    assert_eq!(broken[0].0, "collections");
    assert!(named(64).is_ok());
}
