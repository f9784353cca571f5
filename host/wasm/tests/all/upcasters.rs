//! Upcasters: one answer for each event, whatever becomes of the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmill_core::event::{Event, NewEvent};
use wasmill_core::guest::{GuestEnvironment, GuestError, GuestModule, Upcasted, UpcasterGuest};
use wasmill_core::plugin::descriptor::{Descriptor, Kind};
use wasmill_core::plugin::log::PluginLog;
use wasmill_wasm::WasmConfig;

use crate::support::{compiled, engine_with, event_of};

async fn module(name: &str) -> Arc<dyn GuestModule> {
    let config = WasmConfig { call_deadline: Duration::from_millis(500), ..WasmConfig::default() };
    compiled(&engine_with(config), name).await
}

async fn lifting(module: &Arc<dyn GuestModule>) -> Box<dyn UpcasterGuest> {
    let log = Arc::new(PluginLog::new("test"));
    module.start_upcaster(GuestEnvironment { config: Arc::default(), log, memory_bytes_max: None }).await.unwrap()
}

fn of(event_type: &str, schema_version: u32, data: &str) -> Event {
    let data = Bytes::from(data.to_owned());
    event_of(&NewEvent { event_type: event_type.into(), schema_version, data, ..NewEvent::default() })
}

fn versioned(version: u32, data: &str) -> Event {
    of("versioned", version, data)
}

fn told(answer: &Upcasted) -> String {
    match answer {
        Upcasted::Unchanged => "unchanged".into(),
        Upcasted::Replaced(lifted) => {
            let data = std::str::from_utf8(&lifted.data).unwrap();
            format!("{} {} {data}", lifted.event_type, lifted.schema_version)
        }
        Upcasted::Failed(failure) => format!("failed {}", failure.code),
    }
}

#[tokio::test]
async fn it_describes_its_lifts() {
    let module = module("test-upcaster").await;
    assert_eq!(module.kind(), Kind::Upcaster);
    let descriptor = Descriptor::parse(&module.describe().await.unwrap(), module.kind()).unwrap();
    let lifts = descriptor.lifts.iter();
    let lifts: Vec<_> = lifts.map(|l| (l.event_type.as_str(), l.version, l.to_type(), l.to_version)).collect();
    let expected = [("versioned", 1, "versioned", 2), ("versioned", 2, "versioned", 3), ("old-name", 1, "new-name", 2)];
    assert_eq!(lifts, expected);
}

#[tokio::test]
async fn every_event_gets_its_own_answer() {
    let batch = [
        versioned(1, r#"{"n":5,"other":1.50}"#),
        versioned(2, r#"{"count":5}"#),
        versioned(3, "{}"),
        versioned(1, r#"{"do":"fail"}"#),
        versioned(1, "[]"),
        of("old-name", 1, "[1,2]"),
        of("unknown", 1, "not even JSON"),
    ];
    let answers = lifting(&module("test-upcaster").await).await.upcast(batch.into()).await.unwrap();
    let expected = [
        r#"versioned 2 {"other":1.50,"count":5}"#,
        r#"versioned 3 {"count":5,"doubled":10}"#,
        "unchanged",
        "failed test.failed",
        "failed event.malformed",
        r#"new-name 2 {"was":[1,2]}"#,
        "unchanged",
    ];
    assert_eq!(answers.iter().map(told).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_it_may_not_do_ends_its_call_and_the_next_instance_is_whole() {
    let module = module("test-upcaster").await;
    for (what, reason) in [("loop", "deadline"), ("panic", "trapped"), ("gigabyte", "memory")] {
        let mut harmed = lifting(&module).await;
        let error = harmed.upcast([versioned(1, &format!(r#"{{"do":"{what}"}}"#))].into()).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{what}: {error}");
        assert!(harmed.upcast([versioned(2, "{}")].into()).await.is_err(), "a dead instance answered");
        assert_eq!(lifting(&module).await.upcast([versioned(2, "{}")].into()).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn too_few_answers_are_no_answer() {
    let mut lifting = lifting(&module("test-upcaster").await).await;
    let error = lifting.upcast([versioned(2, "{}"), of("too-few", 1, "{}")].into()).await.unwrap_err();
    let GuestError::Contract { what } = error else { panic!("{error}") };
    assert_eq!(what, "`upcast` answered 1 results for 2 events");
}
