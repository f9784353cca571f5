//! Plugins tried out and verified, with fake guests in Rust: some are functions of their events, and some of
//! what they must not know of.

#![allow(clippy::unwrap_used, reason = "these are tests, though not in a `#[test]`")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::{ManualClock, Timestamp};
use wasmill_core::event::{Event, NewEvent};
use wasmill_core::guest::{
    Batch, Disposition, Failure, Guest, GuestEnvironment, GuestError, GuestModule, Lifted, Upcasted, UpcasterGuest,
};
use wasmill_core::handler::outbox::Emitted;
use wasmill_core::name::StreamName;
use wasmill_core::plugin::descriptor::{Descriptor, Kind};
use wasmill_core::plugin::log::PluginLog;
use wasmill_core::plugin::setup::{Setup, SetupChange};
use wasmill_core::plugin::trial::{Course, Life, OutputKind, Run, Trial, place};
use wasmill_core::plugin::verify::{Divergence, REFERENCE, Verified, divergence, verify};
use wasmill_core::projection::state::State;

/// What a guest does with an event beside counting it by type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Pure,
    /// Writes how many events came with it.
    SeesBatches,
    /// Writes how many events its instance has had.
    Remembers,
    /// Writes how many events were ever handed to any instance.
    SeesRepeats,
}

struct Fake {
    kind: Kind,
    habit: Habit,
    calls: Arc<AtomicU32>,
}

struct Instance {
    habit: Habit,
    calls: Arc<AtomicU32>,
    seen: u32,
}

#[async_trait]
impl GuestModule for Fake {
    fn sha256(&self) -> &str {
        "fake"
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    async fn describe(&self) -> Result<String, GuestError> {
        let rest = match self.kind {
            Kind::Upcaster => {
                r#""lifts":[{"type":"old","version":1,"toVersion":2},{"type":"old","version":2,"toVersion":3}]"#
            }
            _ => r#""collections":[{"name":"counts"}],"subscribes":[{"streams":["s*"]}]"#,
        };
        let kind = self.kind.as_str();
        let capabilities = if self.kind == Kind::Handler { r#","capabilities":["append:out-*"]"# } else { "" };
        Ok(format!(r#"{{"name":"fake","version":"1","kind":"{kind}",{rest}{capabilities}}}"#))
    }

    async fn start(&self, _: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Instance { habit: self.habit, calls: Arc::clone(&self.calls), seen: 0 }))
    }

    async fn start_upcaster(&self, _: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError> {
        Ok(Box::new(Instance { habit: self.habit, calls: Arc::clone(&self.calls), seen: 0 }))
    }
}

impl Instance {
    /// What its habit makes it write for the event.
    fn notice(&mut self, batch: usize) -> Option<u32> {
        self.seen += 1;
        let ever = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.habit {
            Habit::Pure => None,
            Habit::SeesBatches => Some(u32::try_from(batch).unwrap()),
            Habit::Remembers => Some(self.seen),
            Habit::SeesRepeats => Some(ever),
        }
    }

    async fn apply(&mut self, batch: &mut Batch) -> Result<(), GuestError> {
        for (index, event) in batch.events.iter().enumerate() {
            count(&mut batch.state, event.event_type()).await;
            let noticed = self.notice(batch.events.len()).filter(|_| event.event_type() == "odd");
            if let Some(noticed) = noticed {
                batch.state.put("counts", "noticed", Some(Bytes::from(noticed.to_string()))).unwrap();
            }
            if event.event_type() == "asked" {
                let event =
                    NewEvent { event_type: "answered".into(), data: Bytes::from_static(b"1"), ..NewEvent::default() };
                let cause = u32::try_from(index).unwrap();
                batch.outbox.emit(Emitted { cause, stream: "out-1".into(), event }, batch.events.len())?;
            }
            failure(event)?;
        }
        Ok(())
    }
}

async fn count(state: &mut State, key: &str) {
    let count = state.get("counts", key).await.unwrap();
    let count: u32 = count.map_or(0, |count| String::from_utf8_lossy(&count).parse().unwrap());
    state.put("counts", key, Some(Bytes::from((count + 1).to_string()))).unwrap();
}

fn failure(event: &Event) -> Result<(), GuestError> {
    let disposition = match event.event_type() {
        "bad" => Disposition::Reject,
        "flaky" => Disposition::Retry,
        "last" => Disposition::Halt,
        _ => return Ok(()),
    };
    let (code, message) = ("fake.failed".to_owned(), "told to".to_owned());
    Err(GuestError::Failed(Failure { disposition, code, message, retry_after_ms: None, event_index: None }))
}

#[async_trait]
impl Guest for Instance {
    async fn call(&mut self, mut batch: Batch) -> (Batch, Result<(), GuestError>) {
        let outcome = self.apply(&mut batch).await;
        (batch, outcome)
    }

    fn memory_bytes(&self) -> usize {
        7
    }
}

#[async_trait]
impl UpcasterGuest for Instance {
    async fn upcast(&mut self, events: Arc<[Event]>) -> Result<Vec<Upcasted>, GuestError> {
        let upcast = |event: &Event| {
            let noticed = self.notice(events.len());
            match (event.data(), event.schema_version()) {
                (b"bad", _) => match failure(&event_of("bad")) {
                    Err(GuestError::Failed(failure)) => Upcasted::Failed(failure),
                    _ => Upcasted::Unchanged,
                },
                (_, 3) => Upcasted::Unchanged,
                (data, version) => {
                    let mut data = data.to_vec();
                    data.extend(noticed.map_or_else(|| "+".to_owned(), |noticed| format!("+{noticed}")).bytes());
                    let (event_type, schema_version) = ("old".to_owned(), version + 1);
                    Upcasted::Replaced(Lifted { event_type, schema_version, data: data.into() })
                }
            }
        };
        Ok(events.iter().map(upcast).collect())
    }

    fn memory_bytes(&self) -> usize {
        7
    }
}

fn event_of(event_type: &str) -> Event {
    events(&[event_type]).remove(0)
}

/// One event of each of the types, in the stream `s`.
fn events(types: &[&str]) -> Vec<Event> {
    let event = |(n, event_type): (usize, &&str)| {
        let (id, event_type) = (Uuid::from_u128(n as u128 + 1), (*event_type).to_owned());
        (StreamName::from_stored("s"), NewEvent { id, event_type, schema_version: 1, ..NewEvent::default() })
    };
    place(types.iter().enumerate().map(event))
}

async fn trial(kind: Kind, habit: Habit) -> Trial {
    let module: Arc<dyn GuestModule> = Arc::new(Fake { kind, habit, calls: Arc::default() });
    let descriptor = Descriptor::parse(&module.describe().await.unwrap(), kind).unwrap();
    let granted = SetupChange { grant_all: true, ..SetupChange::default() };
    let setup = Setup::default().changed(&granted, &descriptor).unwrap();
    Trial {
        grants: setup.appends_to(),
        module,
        descriptor,
        config: Arc::default(),
        log: Arc::new(PluginLog::new("fake")),
        memory_bytes_max: None,
        clock: Arc::new(ManualClock::at(Timestamp(0))),
    }
}

fn document<'a>(run: &'a Run, key: &str) -> Option<&'a [u8]> {
    run.read_model.get(&("counts".into(), key.to_owned())).map(|value| &value[..])
}

/// Thirty events, of which number 20 is `odd`.
fn thirty() -> Vec<Event> {
    let mut types = ["a", "b", "c"].repeat(10);
    types[20] = "odd";
    events(&types)
}

async fn verified(habit: Habit, events: &[Event]) -> Vec<Verified> {
    verify(&trial(Kind::Projection, habit).await, events).await.unwrap()
}

#[tokio::test]
async fn a_function_of_its_events_passes_in_every_course() {
    let verified = verified(Habit::Pure, &thirty()).await;
    assert_eq!(verified.len(), 7);
    let hash = verified[0].run.hash();
    for Verified { course, run, difference } in &verified {
        assert_eq!((difference, run.hash() == hash, run.handled()), (&None, true, 30), "{course:?}");
    }
    assert_eq!(document(&verified[0].run, "a"), Some(&b"10"[..]));
}

#[tokio::test]
async fn the_first_document_that_differs_is_named_with_its_events() {
    for (habit, course) in [(Habit::SeesBatches, 1), (Habit::Remembers, 3), (Habit::SeesRepeats, 5)] {
        let verified = verified(habit, &thirty()).await;
        let Some(Divergence::Document { collection, key, after }) = &verified[course].difference else {
            panic!("{habit:?}: {:?}", verified[course].difference)
        };
        assert_eq!((&**collection, key.as_str()), ("counts", "noticed"), "{habit:?}");
        assert!(after.contains(&20), "{habit:?}: {after:?}");
        assert_ne!(verified[course].run.hash(), verified[0].run.hash());
    }
}

#[tokio::test]
async fn an_event_that_fails_is_found_and_passed_over_whatever_the_batches() {
    let events = events(&["a", "b", "bad", "a", "bad", "flaky", "a"]);
    let verified = verified(Habit::Pure, &events).await;
    for Verified { course, run, difference } in &verified {
        assert_eq!(difference, &None, "{course:?}");
        let failed: Vec<_> = run.failures.iter().map(|failed| (failed.event, failed.attempts)).collect();
        assert_eq!(failed, [(2, 1), (4, 1), (5, 8)], "{course:?}");
        assert_eq!((document(run, "a"), document(run, "bad")), (Some(&b"3"[..]), None), "{course:?}");
    }
}

#[tokio::test]
async fn a_plugin_that_halts_is_handed_nothing_more() {
    let trial = trial(Kind::Projection, Habit::Pure).await;
    let run = trial.run(&events(&["a", "last", "a"]), Course { batch_events: 10, ..REFERENCE }).await.unwrap();
    assert!(run.halted);
    assert_eq!((document(&run, "a"), run.handled()), (Some(&b"1"[..]), 1));
}

#[tokio::test]
async fn only_what_a_plugin_subscribes_to_is_handed_over() {
    let event =
        |stream: &str| (StreamName::from_stored(stream), NewEvent { event_type: "a".into(), ..NewEvent::default() });
    let events = place(["elsewhere", "s1", "elsewhere", "s2"].map(event));
    let run = trial(Kind::Projection, Habit::Pure).await.run(&events, REFERENCE).await.unwrap();
    let handed: Vec<_> = run.calls.iter().map(|call| call.events.clone()).collect();
    assert_eq!(handed, [1..2, 3..4]);
}

#[tokio::test]
async fn what_a_handler_emits_comes_once_even_across_a_crash() {
    let trial = trial(Kind::Handler, Habit::Pure).await;
    let verified = verify(&trial, &events(&["asked", "bad", "asked", "a", "asked"])).await.unwrap();
    for Verified { course, run, difference } in &verified {
        assert_eq!(difference, &None, "{course:?}");
        let answered: Vec<_> = run.output.iter().map(|output| output.event).collect();
        assert_eq!(answered, [0, 2, 4], "{course:?}");
        assert!(matches!(&run.output[0].what, OutputKind::Emitted { stream, .. } if stream == "out-1"));
    }
}

#[tokio::test]
async fn an_upcaster_takes_each_event_as_far_as_it_goes() {
    let of = |version, data: &'static [u8]| {
        let data = Bytes::from_static(data);
        let event = NewEvent { event_type: "old".into(), schema_version: version, data, ..NewEvent::default() };
        (StreamName::from_stored("s"), event)
    };
    let events = place([of(1, b"x"), of(2, b"y"), of(1, b"bad"), of(3, b"z")]);
    let verified = verify(&trial(Kind::Upcaster, Habit::Pure).await, &events).await.unwrap();
    assert!(verified.iter().all(|verified| verified.difference.is_none()));
    let run = &verified[0].run;
    let lifted = |(data, steps): (&str, usize)| OutputKind::Lifted {
        event_type: "old".into(),
        schema_version: 3,
        data: Bytes::from(data.to_owned()),
        steps,
    };
    let found: Vec<_> = run.output.iter().map(|output| output.what.clone()).collect();
    assert_eq!(found, [("x++", 2), ("y+", 1)].map(lifted));
    assert_eq!(run.failures[0].event, 2);
    let remembers = verify(&trial(Kind::Upcaster, Habit::Remembers).await, &events).await.unwrap();
    assert!(matches!(remembers[3].difference, Some(Divergence::Output { .. })), "{:?}", remembers[3].difference);
}

#[tokio::test]
async fn a_document_that_is_missing_at_the_end_is_a_difference_too() {
    let trial = trial(Kind::Projection, Habit::Pure).await;
    let course = Course { batch_events: 1, life: Life::Long, crash_after: None };
    let (whole, part) = (events(&["a", "b"]), events(&["a"]));
    let (whole, part) = (trial.run(&whole, course).await.unwrap(), trial.run(&part, course).await.unwrap());
    let found = divergence(&whole, &part);
    assert_eq!(found, Some(Divergence::Document { collection: "counts".into(), key: "b".into(), after: 1..2 }));
    assert_eq!(divergence(&part, &whole).map(|found| found.event()), Some(1));
}
