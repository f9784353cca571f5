//! Guests that are told what to do by their "components" (JSON: a descriptor, and faults) and their events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use wasmill_core::clock::{SystemClock, Timestamp};
use wasmill_core::event::{Event, NewEvent, Position};
use wasmill_core::guest::{
    Batch, ComponentError, Disposition, Failure, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule, Lifted,
    Upcasted, UpcasterGuest,
};
use wasmill_core::handler::outbox::Emitted;
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::filter::Filter;
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::{DeployError, DeployOptions, Deployed};
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::plugin::setup::SetupChange;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::wrapped::Wrapped;
use wasmill_core::store::{Committed, Direction, PageLimit, Rejection, Store, StoreError, Unit};

/// How often each event was handed over, by id.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<Uuid, u32>>);

impl Calls {
    fn count(&self, id: Uuid) -> u32 {
        let mut calls = self.0.lock().unwrap();
        let count = calls.entry(id).or_default();
        *count += 1;
        *count
    }
}

#[derive(Default)]
pub(crate) struct Engine {
    calls: Arc<Calls>,
    compiled: Mutex<HashMap<String, Arc<Module>>>,
}

struct Module {
    sha256: String,
    kind: Kind,
    descriptor: Value,
    /// Types of events that it fails on.
    bad: Vec<String>,
    calls: Arc<Calls>,
}

#[async_trait]
impl GuestEngine for Engine {
    async fn cached(&self, sha256: &str) -> Option<Arc<dyn GuestModule>> {
        self.compiled.lock().unwrap().get(sha256).map(|module| Arc::clone(module) as _)
    }

    async fn compile(&self, component: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        let what: Value = serde_json::from_slice(&component).unwrap();
        let sha256 = format!("{component:x?}");
        let bad = what["bad"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned());
        let module = Arc::new(Module {
            sha256: sha256.clone(),
            kind: Kind::from_stored(what["descriptor"]["kind"].as_str().unwrap()).unwrap(),
            descriptor: what["descriptor"].clone(),
            bad: bad.collect(),
            calls: Arc::clone(&self.calls),
        });
        self.compiled.lock().unwrap().insert(sha256, Arc::clone(&module));
        Ok(module)
    }
}

#[async_trait]
impl GuestModule for Module {
    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    async fn describe(&self) -> Result<String, GuestError> {
        Ok(self.descriptor.to_string())
    }

    async fn start(&self, _: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        let handles = self.kind == Kind::Handler;
        Ok(Box::new(Instance { handles, bad: self.bad.clone(), calls: Arc::clone(&self.calls), seen: 0 }))
    }

    async fn start_upcaster(&self, _: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError> {
        Ok(Box::new(Lifting { bad: self.bad.clone(), calls: Arc::clone(&self.calls) }))
    }
}

fn failed(disposition: Disposition) -> GuestError {
    let (code, message) = ("told".to_owned(), "as told".to_owned());
    GuestError::Failed(Failure { disposition, code, message, retry_after_ms: None, event_index: None })
}

/// Counts by type, version and key into `counts`; a handler emits `made` to `out` for each event whose data has `emit`.
struct Instance {
    handles: bool,
    bad: Vec<String>,
    calls: Arc<Calls>,
    /// Events that this instance has seen, which none should depend on.
    seen: u64,
}

impl Instance {
    async fn one(&mut self, at: usize, batch: &mut Batch) -> Result<(), GuestError> {
        let event = batch.events[at].clone();
        let mut name = format!("{} {} {}", event.event_type(), event.schema_version(), event.key().unwrap_or("-"));
        if event.event_type() == "shared" {
            name = "shared".into();
        }
        let before = batch.state.get("counts", &name).await.map_err(|error| GuestError::State(Arc::new(error)))?;
        let count = before.map_or(0, |count| String::from_utf8_lossy(&count).parse::<u64>().unwrap()) + 1;
        batch.state.put("counts", &name, Some(count.to_string().into())).unwrap();
        if self.bad.iter().any(|bad| bad == event.event_type()) {
            return Err(failed(Disposition::Reject));
        }
        self.seen += 1;
        if event.event_type() == "dice" {
            batch.state.put("counts", "dice", Some(self.seen.to_string().into())).unwrap();
        }
        match event.event_type() {
            "flaky" if self.calls.count(event.id()) < 3 => return Err(failed(Disposition::Retry)),
            "crash" if self.calls.count(event.id()) < 3 => {
                return Err(GuestError::Trapped { reason: "as told".into() });
            }
            // By itself in the third call.
            "halt" if self.calls.count(event.id()) < 4 => return Err(failed(Disposition::Halt)),
            _ => {}
        }
        if self.handles {
            // What a second run would emit differs, so that a doubled event is seen.
            let data = json!({ "count": count, "key": event.key() }).to_string().into();
            let emitted = NewEvent {
                event_type: "made".into(),
                key: event.key().map(str::to_owned),
                data,
                ..NewEvent::default()
            };
            let cause = u32::try_from(at).unwrap();
            let stream = if event.event_type() == "astray" { "elsewhere" } else { "out" };
            batch.outbox.emit(Emitted { cause, stream: stream.into(), event: emitted }, batch.events.len())?;
        }
        Ok(())
    }
}

#[async_trait]
impl Guest for Instance {
    async fn call(&mut self, mut batch: Batch) -> (Batch, Result<(), GuestError>) {
        for at in 0..batch.events.len() {
            if let Err(error) = self.one(at, &mut batch).await {
                return (batch, Err(error));
            }
        }
        (batch, Ok(()))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// Lifts `thing` to the next version, and `old` to `thing` in version 2.
struct Lifting {
    bad: Vec<String>,
    calls: Arc<Calls>,
}

#[async_trait]
impl UpcasterGuest for Lifting {
    async fn upcast(&mut self, events: Arc<[Event]>) -> Result<Vec<Upcasted>, GuestError> {
        let one = |event: &Event| {
            let mut data: Value = serde_json::from_slice(event.data()).unwrap();
            if data["crash"] == true {
                return Err(GuestError::Trapped { reason: "as told".into() });
            }
            if data["flaky"] == true && self.calls.count(event.id()) < 3 {
                return Err(failed(Disposition::Retry));
            }
            if self.bad.iter().any(|bad| data[bad] == true) {
                let GuestError::Failed(failure) = failed(Disposition::Reject) else { unreachable!() };
                return Ok(Upcasted::Failed(failure));
            }
            data["lifted"] = json!(data["lifted"].as_u64().unwrap_or(0) + 1);
            let schema_version = if event.event_type() == "old" { 2 } else { event.schema_version() + 1 };
            let data = data.to_string().into();
            Ok(Upcasted::Replaced(Lifted { event_type: "thing".into(), schema_version, data }))
        };
        events.iter().map(one).collect()
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A store that loses the connection in some commits, before or after they were done.
pub(crate) struct Losing {
    pub(crate) memory: MemoryStore,
    /// Of a hundred commits, so many are lost.
    pub(crate) percent: Mutex<u64>,
    pub(crate) random: Mutex<wasmill_core::random::Random>,
}

#[async_trait]
impl Wrapped for Losing {
    fn wrapped(&self) -> &dyn Store {
        &self.memory
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        let percent = *self.percent.lock().unwrap();
        // Publishers of the test are not disturbed: they have nobody to repeat them.
        let theirs = units.iter().all(|unit| !unit.changes.is_empty() || !unit.guards.is_empty());
        let (lost, done) = {
            let mut random = self.random.lock().unwrap();
            (theirs && random.percent(percent), random.percent(50))
        };
        if !lost {
            return self.memory.commit(units, now).await;
        }
        if done {
            let _ = self.memory.commit(units, now).await;
        }
        Err(StoreError::Unknown("as told".into()))
    }
}

pub(crate) async fn host_over(store: &Arc<dyn Store>, engine: &Arc<Engine>) -> Arc<Host> {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (store, engine) = (Arc::clone(store), Arc::clone(engine) as Arc<dyn GuestEngine>);
    let parts = HostParts { store, engine, clock: Arc::new(SystemClock), metrics, options: HostOptions::default() };
    Host::start(parts).await.unwrap()
}

pub(crate) async fn fresh() -> (Arc<dyn Store>, Arc<Engine>, Arc<Host>) {
    let (store, engine) = (Arc::new(MemoryStore::default()) as Arc<dyn Store>, Arc::new(Engine::default()));
    let host = host_over(&store, &engine).await;
    (store, engine, host)
}

pub(crate) fn component(kind: &str, name: &str, extra: Value, bad: &[&str]) -> Bytes {
    let mut descriptor = json!({ "name": name, "version": "1", "kind": kind });
    if kind == "projection" || kind == "handler" {
        descriptor["collections"] = json!([{ "name": "counts" }]);
        descriptor["subscribes"] = json!([{ "streams": ["s*"] }]);
    }
    for (field, value) in extra.as_object().unwrap() {
        descriptor[field] = value.clone();
    }
    json!({ "descriptor": descriptor, "bad": bad }).to_string().into()
}

pub(crate) fn handler(bad: &[&str]) -> Bytes {
    component("handler", "h", json!({ "capabilities": ["append:out"] }), bad)
}

pub(crate) fn upcaster(name: &str, lifts: Value, bad: &[&str]) -> Bytes {
    component("upcaster", name, json!({ "lifts": lifts }), bad)
}

pub(crate) async fn deploy(host: &Host, component: Bytes) -> Result<Deployed, DeployError> {
    let setup = SetupChange { grant_all: true, ..SetupChange::default() };
    let options = DeployOptions { setup, start: Some(wasmill_core::group::Start::First) };
    host.plugins.deploy(component, &options).await
}

pub(crate) fn event(event_type: &str, key: Option<&str>) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        event_type: event_type.to_owned(),
        key: key.map(str::to_owned),
        data: Bytes::from_static(b"{}"),
        ..NewEvent::default()
    }
}

pub(crate) async fn publish(host: &Host, stream: &str, events: Vec<NewEvent>) -> Position {
    let append = Append { stream: stream.into(), events, ..Append::default() };
    host.publisher.append(append).await.unwrap().last_position()
}

pub(crate) async fn read_all(host: &Host, filter: &Filter) -> Vec<Event> {
    let (mut events, mut from) = (Vec::new(), Position(0));
    let limit = PageLimit { events: 1_000, bytes: 1 << 20 };
    loop {
        let page = host.reader.log_page(from, Direction::Forward, filter, limit).await.unwrap();
        events.extend(page.events);
        if page.end {
            return events;
        }
        from = page.next.unwrap();
    }
}

/// Looks again until it is so.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let reached = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(60), reached).await {
        Ok(found) => found,
        Err(_) => panic!("in a minute it did not come to this: {what}"),
    }
}
