//! Sagas whose steps do as they are told, over a store that outlives its hosts, and a ledger of what they did outside.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;
use wasmill_core::clock::{Clock, SystemClock, Timestamp};
use wasmill_core::event::NewEvent;
use wasmill_core::guest::{
    ComponentError, Disposition, Failure, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule, SagaGuest,
};
use wasmill_core::handler::outbox::Emitted;
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::plugin::setup::SetupChange;
use wasmill_core::saga::call::{Direction, StepCall, StepOutcome, Wait};
use wasmill_core::saga::fact::Order;
use wasmill_core::saga::view::SagaStatus;
use wasmill_core::saga::{Command, StartSaga};
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::wrapped::Wrapped;
use wasmill_core::store::{Change, Committed, Rejection, Store, StoreError, Unit};

/// Where a host comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    BeforeTheCall,
    AfterTheCall,
    /// The commit of its outcome has not happened.
    BeforeTheCommit,
    /// It has, and the host does not know.
    AfterTheCommit,
}

/// What a step does in one of its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Ok,
    /// It has done its effect, and does it again in the next call.
    OkTwice,
    RetryBefore,
    RetryAfter,
    Reject,
    TrapBefore,
    TrapAfter,
    Halt,
    /// It does its effect and never answers.
    HangAfter,
    /// Milliseconds.
    WaitFor(i64),
    /// For an event of type `go`, at most so many milliseconds.
    WaitForEvent(Option<i64>),
}

/// A step in a direction.
pub(crate) type Place = (String, Direction);

#[derive(Default)]
pub(crate) struct World {
    /// What each call of a step does, in order; the last one is for all later calls.
    acts: Mutex<HashMap<(String, Place), Vec<Act>>>,
    calls: Mutex<HashMap<(String, Place), usize>>,
    /// The one end of a host that is yet to come.
    crash: Mutex<Option<(Place, Point)>>,
    pub(crate) crashed: Notify,
    /// Effects by saga: what was done (`+step`) and undone (`-step`), in order.
    pub(crate) ledger: Mutex<BTreeMap<String, Vec<String>>>,
    keys: Mutex<HashSet<String>>,
    /// Calls that are under way: notified when one begins.
    pub(crate) called: Notify,
}

impl World {
    pub(crate) fn act(&self, saga: &str, step: &str, direction: Direction, acts: &[Act]) {
        self.acts.lock().unwrap().insert((saga.into(), (step.into(), direction)), acts.to_vec());
    }

    pub(crate) fn crash_at(&self, step: &str, direction: Direction, point: Point) {
        *self.crash.lock().unwrap() = Some(((step.into(), direction), point));
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.crash.lock().unwrap().is_none()
    }

    pub(crate) fn forget_crash(&self) {
        *self.crash.lock().unwrap() = None;
    }

    pub(crate) fn effects(&self, saga: &str) -> Vec<String> {
        self.ledger.lock().unwrap().get(saga).cloned().unwrap_or_default()
    }

    pub(crate) fn calls(&self, saga: &str, step: &str, direction: Direction) -> usize {
        self.calls.lock().unwrap().get(&(saga.into(), (step.into(), direction))).copied().unwrap_or(0)
    }

    /// Ends the host, if this is where it is to end: whoever comes here goes no further.
    async fn pass(&self, place: &Place, point: Point) {
        {
            let mut crash = self.crash.lock().unwrap();
            if crash.as_ref() != Some(&(place.clone(), point)) {
                return;
            }
            *crash = None;
        }
        self.crashed.notify_one();
        std::future::pending::<()>().await;
    }

    /// What the partner does: each key once.
    fn effect(&self, saga: &str, step: &str, direction: Direction, key: &str) {
        if !self.keys.lock().unwrap().insert(key.to_owned()) {
            return;
        }
        let mut ledger = self.ledger.lock().unwrap();
        let effects = ledger.entry(saga.to_owned()).or_default();
        match direction {
            Direction::Execute => effects.push(format!("+{step}")),
            // There is nothing to undo that was not done.
            Direction::Compensate if effects.contains(&format!("+{step}")) => effects.push(format!("-{step}")),
            Direction::Compensate => {}
        }
    }

    fn next_act(&self, saga: &str, place: &Place) -> Act {
        let mut calls = self.calls.lock().unwrap();
        let call = calls.entry((saga.to_owned(), place.clone())).or_default();
        *call += 1;
        let acts = self.acts.lock().unwrap();
        let told = acts.get(&(saga.to_owned(), place.clone()));
        told.and_then(|acts| acts.get(*call - 1).or(acts.last())).cloned().unwrap_or(Act::Ok)
    }
}

#[derive(Default)]
pub(crate) struct Engine {
    world: Arc<World>,
    compiled: Mutex<HashMap<String, Arc<Module>>>,
}

struct Module {
    sha256: String,
    descriptor: Value,
    world: Arc<World>,
}

#[async_trait]
impl GuestEngine for Engine {
    async fn cached(&self, sha256: &str) -> Option<Arc<dyn GuestModule>> {
        self.compiled.lock().unwrap().get(sha256).map(|module| Arc::clone(module) as _)
    }

    async fn compile(&self, component: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        let descriptor: Value = serde_json::from_slice(&component).unwrap();
        let sha256 = format!("{component:x?}");
        let module = Arc::new(Module { sha256: sha256.clone(), descriptor, world: Arc::clone(&self.world) });
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
        Kind::Saga
    }

    async fn describe(&self) -> Result<String, GuestError> {
        Ok(self.descriptor.to_string())
    }

    async fn start(&self, _: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        unreachable!("it is a saga")
    }

    async fn start_upcaster(
        &self,
        _: GuestEnvironment,
    ) -> Result<Box<dyn wasmill_core::guest::UpcasterGuest>, GuestError> {
        unreachable!("it is a saga")
    }

    async fn start_saga(&self, _: GuestEnvironment) -> Result<Box<dyn SagaGuest>, GuestError> {
        Ok(Box::new(Instance { world: Arc::clone(&self.world) }))
    }
}

struct Instance {
    world: Arc<World>,
}

fn failed(disposition: Disposition) -> GuestError {
    let (code, message) = ("told".to_owned(), "as told".to_owned());
    GuestError::Failed(Failure { disposition, code, message, retry_after_ms: None, event_index: None })
}

impl Instance {
    async fn act(&self, call: &mut StepCall) -> Result<StepOutcome, GuestError> {
        let context = &call.context;
        let (saga, step, direction) = (context.correlation_id.clone(), context.step.clone(), call.direction);
        let place = (step.clone(), direction);
        let key = context.idempotency_key.clone();
        self.world.called.notify_waiters();
        self.world.pass(&place, Point::BeforeTheCall).await;
        let act = self.world.next_act(&saga, &place);
        let effect = || self.world.effect(&saga, &step, direction, &key);
        let now = SystemClock.now();
        match act {
            Act::RetryBefore => return Err(failed(Disposition::Retry)),
            Act::Reject => return Err(failed(Disposition::Reject)),
            Act::Halt => return Err(failed(Disposition::Halt)),
            Act::TrapBefore => return Err(GuestError::Trapped { reason: "as told".into() }),
            Act::RetryAfter => {
                effect();
                return Err(failed(Disposition::Retry));
            }
            Act::OkTwice | Act::TrapAfter => {
                effect();
                return Err(GuestError::Trapped { reason: "as told".into() });
            }
            Act::HangAfter => {
                effect();
                std::future::pending::<()>().await;
            }
            Act::WaitFor(ms) => {
                return Ok(StepOutcome::Suspended(Wait {
                    until: Some(Timestamp(now.0 + ms * 1_000)),
                    ..Wait::default()
                }));
            }
            Act::WaitForEvent(ms) => {
                let until = ms.map(|ms| Timestamp(now.0 + ms * 1_000));
                let wait = Wait { until, event_type: Some("go".into()), match_key: None };
                return Ok(StepOutcome::Suspended(wait));
            }
            Act::Ok => {}
        }
        effect();
        self.world.pass(&place, Point::AfterTheCall).await;
        if direction == Direction::Execute {
            let woken = call.context.woken_by.as_ref().map(|event| event.event_type().to_owned());
            let event = NewEvent {
                event_type: format!("{step}-done"),
                data: json!({ "saga": saga, "woken": woken }).to_string().into(),
                ..NewEvent::default()
            };
            call.outbox.emit(Emitted { cause: 0, stream: "out".into(), event }, 1)?;
            call.data.put(step.clone(), Bytes::from_static(b"1"))?;
        } else {
            call.data.remove(&step);
        }
        Ok(StepOutcome::Completed(Bytes::from(step)))
    }
}

#[async_trait]
impl SagaGuest for Instance {
    async fn step(&mut self, mut call: StepCall) -> (StepCall, Result<StepOutcome, GuestError>) {
        let outcome = self.act(&mut call).await;
        (call, outcome)
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A store that ends its host in the middle of the commit of an outcome.
struct Ending {
    memory: Arc<MemoryStore>,
    world: Arc<World>,
}

/// The step and direction whose completion a unit stores, if it does.
fn completes(unit: &Unit, steps: &[String]) -> Option<Place> {
    let documents = unit.changes.iter().filter_map(|change| match change {
        Change::PutDocuments { documents, .. } => Some(documents),
        _ => None,
    });
    let rows = documents.flatten().filter(|document| &*document.collection == "saga-row");
    let facts: Vec<Value> = rows.filter_map(|row| serde_json::from_slice(row.value.as_ref()?).ok()).collect();
    let completed = facts.iter().filter_map(Value::as_array).flatten().find(|fact| fact["fact"] == "completed")?;
    let step = completed["output"].as_str()?.to_owned();
    let compensates = completed["effects"]["data"][&step].is_null();
    let direction = if compensates { Direction::Compensate } else { Direction::Execute };
    steps.contains(&step).then_some((step, direction))
}

#[async_trait]
impl Wrapped for Ending {
    fn wrapped(&self) -> &dyn Store {
        &*self.memory
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        let armed = self.world.crash.lock().unwrap().clone();
        if let Some((place, point @ (Point::BeforeTheCommit | Point::AfterTheCommit))) = armed {
            let steps = [place.0.clone()];
            if units.iter().any(|unit| completes(unit, &steps) == Some(place.clone())) {
                if point == Point::AfterTheCommit {
                    let _ = self.memory.commit(units, now).await;
                }
                self.world.pass(&place, point).await;
            }
        }
        self.memory.commit(units, now).await
    }
}

/// A host that can be lost, and its world, which cannot.
pub(crate) struct Bench {
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) world: Arc<World>,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    pub(crate) host: Arc<Host>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock)).await
    }

    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let (memory, engine) = (Arc::new(MemoryStore::default()), Arc::new(Engine::default()));
        let world = Arc::clone(&engine.world);
        let host = start(&memory, &world, &engine, &clock).await;
        Self { memory, world, engine, clock, host }
    }

    /// Another host over the same store. The one before believes to have the lead as well, and is fenced off.
    pub(crate) async fn start_anew(&mut self) {
        self.host = start(&self.memory, &self.world, &self.engine, &self.clock).await;
    }

    pub(crate) async fn deploy(&self, descriptor: &Value) {
        let setup = SetupChange { grant_all: true, ..SetupChange::default() };
        let component = Bytes::from(descriptor.to_string());
        self.host.plugins.deploy(component, &DeployOptions { setup, start: None }).await.unwrap();
    }

    pub(crate) async fn begin(&self, saga_type: &str, correlation_id: &str) -> Uuid {
        let start = StartSaga {
            saga_type: saga_type.into(),
            correlation_id: Some(correlation_id.into()),
            input: Bytes::from_static(b"{}"),
        };
        self.host.sagas.start(start).await.unwrap().id
    }

    /// Waits until it has ended or needs somebody; a host that ends meanwhile is replaced.
    pub(crate) async fn end(&mut self, id: Uuid) -> SagaStatus {
        let world = Arc::clone(&self.world);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            tokio::select! {
                status = self.host.sagas.wait(id, Duration::from_secs(5)) => {
                    let status = status.unwrap();
                    if status.rests_for_good() {
                        return status;
                    }
                    assert!(tokio::time::Instant::now() < deadline, "it has not ended in a minute: {status:#?}");
                }
                () = world.crashed.notified() => self.start_anew().await,
            }
        }
    }

    /// Orders a saga about, if it can be; a host that ends meanwhile is replaced.
    pub(crate) async fn order(&mut self, id: Uuid, command: &Command) {
        let world = Arc::clone(&self.world);
        loop {
            tokio::select! {
                _ = self.host.sagas.command(id, command, Order::default()) => return,
                () = world.crashed.notified() => self.start_anew().await,
            }
        }
    }

    pub(crate) async fn publish(&self, stream: &str, event_type: &str, key: &str, time: Option<Timestamp>) {
        let event = NewEvent {
            id: Uuid::new_v4(),
            event_type: event_type.into(),
            key: Some(key.into()),
            time,
            data: json!({ "id": key }).to_string().into(),
            ..NewEvent::default()
        };
        let append = Append { stream: stream.into(), events: vec![event], ..Append::default() };
        self.host.publisher.append(append).await.unwrap();
    }
}

async fn start(
    memory: &Arc<MemoryStore>,
    world: &Arc<World>,
    engine: &Arc<Engine>,
    clock: &Arc<dyn Clock>,
) -> Arc<Host> {
    let store: Arc<dyn Store> = Arc::new(Ending { memory: Arc::clone(memory), world: Arc::clone(world) });
    let metrics = Arc::new(Metrics::new().unwrap());
    let engine = Arc::clone(engine) as Arc<dyn GuestEngine>;
    let parts = HostParts { store, engine, clock: Arc::clone(clock), metrics, options: HostOptions::default() };
    Host::start(parts).await.unwrap()
}

/// A descriptor with quick retries; `steps` are laid over the defaults of the test.
pub(crate) fn saga(name: &str, steps: &[Value], options: Value) -> Value {
    let step = |step: &Value| {
        let retry = json!({ "attempts": 3, "baseMs": 1, "longestMs": 2, "jitterPercent": 0 });
        let mut whole = json!({ "retry": retry, "compensateRetry": retry, "attemptTimeoutMs": 5_000 });
        for (field, value) in step.as_object().unwrap() {
            whole[field] = value.clone();
        }
        whole
    };
    let steps: Vec<Value> = steps.iter().map(step).collect();
    json!({
        "name": name, "version": "1", "kind": "saga", "steps": steps, "saga": options,
        "capabilities": ["append:out"],
    })
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
