//! What is not a plugin is refused at upload, with everything that is wrong with it, and the engine
//! goes on.

use bytes::Bytes;
use wasmill_core::guest::{ComponentError, GuestEngine};
use wasmill_core::limits::plugin::COMPONENT_BYTES_MAX;
use wasmill_core::plugin::descriptor::Kind;

use crate::support::{ByHand, IDLE, engine, wat};

async fn refused(component: Bytes) -> ComponentError {
    let engine = engine();
    let Err(error) = engine.compile(component).await else { panic!("it was accepted") };
    let good = engine.compile(IDLE.bytes()).await.expect("the engine is healthy after a refusal");
    assert_eq!(good.kind(), Kind::Projection);
    error
}

async fn broken_rules(component: Bytes) -> Vec<String> {
    match refused(component).await {
        ComponentError::Refused(broken) => broken,
        other => panic!("{other}"),
    }
}

async fn invalid(component: impl Into<Bytes>) -> String {
    match refused(component.into()).await {
        ComponentError::Invalid(reason) => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_core_module_is_told_apart_from_a_component() {
    let reason = invalid(wat("(module)")).await;
    assert!(reason.contains("core module"), "{reason}");
}

#[tokio::test]
async fn garbage_is_not_a_component() {
    assert!(invalid("").await.contains("does not begin"));
    assert!(invalid("{\"name\":\"flights\"}").await.contains("does not begin"));
    assert!(invalid(&b"\0asm\x0d\0\x01\0\xff\xff\xff"[..]).await.contains("offset"));
}

#[tokio::test]
async fn a_component_that_was_cut_off_is_invalid_wherever_it_was_cut() {
    let whole = IDLE.bytes();
    let engine = engine();
    for end in (0..whole.len()).step_by(7) {
        match engine.compile(whole.slice(..end)).await {
            Err(ComponentError::Invalid(_) | ComponentError::Refused(_)) => {}
            Err(other) => panic!("cut at {end}: {other}"),
            Ok(_) => panic!("cut at {end}: accepted"),
        }
    }
}

#[tokio::test]
async fn a_component_with_a_flipped_byte_never_harms_the_engine() {
    let whole = IDLE.bytes();
    let engine = engine();
    for at in (0..whole.len()).step_by(11) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0x41;
        let _ = engine.compile(flipped.into()).await;
    }
    engine.compile(whole).await.unwrap();
}

#[tokio::test]
async fn code_that_does_not_validate_is_invalid() {
    let component = ByHand { core: r#"(func (result i32) i64.const 0)"#, ..IDLE };
    let reason = invalid(wat(&component.text())).await;
    assert!(reason.contains("type mismatch"), "{reason}");
}

#[tokio::test]
async fn shared_memory_is_invalid() {
    let reason = invalid(ByHand { core: "(memory 1 2 shared)", ..IDLE }.bytes()).await;
    assert!(reason.contains("threads") || reason.contains("shared"), "{reason}");
}

#[tokio::test]
async fn more_bytes_than_allowed_are_not_looked_at() {
    let reason = invalid(vec![0; COMPONENT_BYTES_MAX + 1]).await;
    assert!(reason.contains("67108865 bytes"), "{reason}");
}

#[tokio::test]
async fn missing_exports_are_each_named() {
    let broken = broken_rules(wat("(component)")).await;
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken[0].contains("`wasmill:plugin/descriptor@0.1.0`"));
    assert!(broken[1].contains("`wasmill:plugin/projection@0.1.0`"));
}

#[tokio::test]
async fn every_foreign_import_is_named() {
    let imports = r#"
        (import "wasmill:plugin/outbox@0.1.0" (instance (export "append" (func))))
        (import "acme:thing/x@1.0.0" (instance (export "f" (func))))
        (import "wasi:http/outgoing-handler@0.2.6" (instance))
        (import "bare" (func))"#;
    let broken = broken_rules(ByHand { imports, ..IDLE }.bytes()).await;
    assert_eq!(broken.len(), 4, "{broken:?}");
    for (broken, name) in broken.iter().zip(["outbox", "acme:thing/x@1.0.0", "wasi:http/outgoing-handler", "bare"]) {
        assert!(broken.contains(name), "{broken}");
    }
}

#[tokio::test]
async fn a_function_of_another_type_is_named() {
    let describe = "(i32.const 1)";
    let broken = broken_rules(ByHand { describe, describe_type: "(result u32)", ..IDLE }.bytes()).await;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert!(broken[0].contains("`describe`") && broken[0].contains("string"), "{broken:?}");
}

#[tokio::test]
async fn an_import_of_another_type_is_named() {
    let imports = r#"(import "wasmill:plugin/config@0.1.0" (instance (export "get" (func (param "key" u32)))))"#;
    let broken = broken_rules(ByHand { imports, ..IDLE }.bytes()).await;
    assert!(broken[0].contains("wasmill:plugin/config@0.1.0") && broken[0].contains("get"), "{broken:?}");
}

#[tokio::test]
async fn a_function_that_this_host_does_not_have_yet_is_named() {
    let imports = r#"(import "wasmill:plugin/config@0.1.9" (instance (export "get-later" (func))))"#;
    let broken = broken_rules(ByHand { imports, ..IDLE }.bytes()).await;
    assert!(broken[0].contains("get-later"), "{broken:?}");
}

#[tokio::test]
async fn a_memory_that_begins_above_the_limit_is_refused() {
    let Err(error) = engine().compile(ByHand { pages: 20_000, ..IDLE }.bytes()).await else { panic!("accepted") };
    assert!(error.to_string().contains("memory"), "{error}");
}
