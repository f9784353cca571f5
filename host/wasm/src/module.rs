//! A compiled component, ready to be started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wasmill_core::event::Event;
use wasmill_core::guest::{
    Batch, ComponentError, Guest, GuestEnvironment, GuestError, GuestModule, SagaGuest, Upcasted, UpcasterGuest,
};
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::saga::call::{StepCall, StepOutcome};
use wasmtime::Store;
use wasmtime::component::Component;

use crate::contract::Form;
use crate::engine::Shared;
use crate::sandbox::{Sandbox, Setup, Voice};
use crate::threads::Lane;
use crate::worlds::v0_1::world::{Instance, World};

pub(crate) struct WasmModule {
    sha256: String,
    world: Arc<World>,
    shared: Arc<Shared>,
    /// Its last call was a crash: until one goes well it is kept out of the quick lane, where each start and each
    /// first moment of a crash that is repeated would cost its neighbours.
    crashed: Arc<AtomicBool>,
}

fn lane(crashed: &AtomicBool) -> Lane {
    if crashed.load(Ordering::Relaxed) { Lane::Slow } else { Lane::Quick }
}

impl WasmModule {
    pub(crate) fn link(
        shared: Arc<Shared>,
        sha256: String,
        component: &Component,
        made: (Kind, Form),
    ) -> Result<Self, ComponentError> {
        let world = World::link(&shared.linkers, component, made).map_err(ComponentError::Refused)?;
        Ok(Self { sha256, world: Arc::new(world), shared, crashed: Arc::default() })
    }

    fn store(&self, voice: Voice, config: Arc<[(String, String)]>, memory_bytes_max: Option<usize>) -> Store<Sandbox> {
        let setup = Setup {
            kind: self.world.kind,
            memory_bytes_max: memory_bytes_max.unwrap_or(self.shared.config.memory_bytes_max),
            voice,
            config,
            clock: Arc::clone(&self.shared.clock),
        };
        Sandbox::store(&self.shared.engine, setup)
    }

    async fn instance(&self, environment: GuestEnvironment) -> Result<Running, GuestError> {
        let voice = Voice::new(Some(environment.log), Arc::clone(&self.shared.clock));
        let store = self.store(voice, environment.config, environment.memory_bytes_max);
        let (world, deadline) = (Arc::clone(&self.world), self.shared.config.start_deadline);
        let start = async move { world.start(store, deadline).await };
        let started = self.shared.threads.run(lane(&self.crashed), start).await;
        let instance = started.inspect_err(|_| self.crashed.store(true, Ordering::Relaxed))?;
        let (shared, crashed) = (Arc::clone(&self.shared), Arc::clone(&self.crashed));
        Ok(Running { instance: Some(Box::new(instance)), shared, crashed })
    }
}

#[async_trait]
impl GuestModule for WasmModule {
    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn kind(&self) -> Kind {
        self.world.kind
    }

    async fn describe(&self) -> Result<String, GuestError> {
        let mut store = self.store(Voice::new(None, Arc::clone(&self.shared.clock)), Arc::default(), None);
        let (world, deadline) = (Arc::clone(&self.world), self.shared.config.start_deadline);
        // Nothing is known of it yet.
        self.shared.threads.run(Lane::Slow, async move { world.describe(&mut store, deadline).await }).await
    }

    async fn start(&self, environment: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(self.instance(environment).await?))
    }

    async fn start_saga(&self, environment: GuestEnvironment) -> Result<Box<dyn SagaGuest>, GuestError> {
        if self.world.kind != Kind::Saga {
            return Err(GuestError::Contract { what: format!("it is a {}, not a saga", self.world.kind.as_str()) });
        }
        Ok(Box::new(self.instance(environment).await?))
    }

    async fn start_upcaster(&self, environment: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError> {
        Ok(Box::new(self.instance(environment).await?))
    }
}

struct Running {
    /// Gone after a trap, and while a call is under way.
    instance: Option<Box<Instance>>,
    shared: Arc<Shared>,
    crashed: Arc<AtomicBool>,
}

impl Running {
    fn ended<T>(&self, outcome: &Result<T, GuestError>) {
        self.crashed.store(!is_alive(outcome), Ordering::Relaxed);
    }
}

#[async_trait]
impl Guest for Running {
    async fn call(&mut self, batch: Batch) -> (Batch, Result<(), GuestError>) {
        let Some(mut instance) = self.instance.take() else { return (batch, Err(ended())) };
        let deadline = self.shared.config.call_deadline;
        let call = async move {
            let (batch, outcome) = instance.call(deadline, batch).await;
            // A dead instance gives its slot back here, before anyone starts the next.
            (is_alive(&outcome).then_some(instance), batch, outcome)
        };
        let (instance, batch, outcome) = self.shared.threads.run(lane(&self.crashed), call).await;
        self.instance = instance;
        self.ended(&outcome);
        (batch, outcome)
    }

    fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, |instance| instance.memory_bytes())
    }

    fn call_time(&self) -> Option<Duration> {
        self.instance.as_ref().map(|instance| instance.call_time())
    }
}

#[async_trait]
impl UpcasterGuest for Running {
    async fn upcast(&mut self, events: Arc<[Event]>) -> Result<Vec<Upcasted>, GuestError> {
        let mut instance = self.instance.take().ok_or_else(ended)?;
        let deadline = self.shared.config.call_deadline;
        let call = async move {
            let outcome = instance.upcast(deadline, events).await;
            (is_alive(&outcome).then_some(instance), outcome)
        };
        let (instance, outcome) = self.shared.threads.run(lane(&self.crashed), call).await;
        self.instance = instance;
        self.ended(&outcome);
        outcome
    }

    fn memory_bytes(&self) -> usize {
        Guest::memory_bytes(self)
    }

    fn call_time(&self) -> Option<Duration> {
        Guest::call_time(self)
    }
}

#[async_trait]
impl SagaGuest for Running {
    async fn step(&mut self, mut call: StepCall) -> (StepCall, Result<StepOutcome, GuestError>) {
        let Some(mut instance) = self.instance.take() else { return (call, Err(ended())) };
        let deadline = self.shared.config.call_deadline;
        let step = async move {
            let outcome = instance.step(deadline, &mut call).await;
            (is_alive(&outcome).then_some(instance), call, outcome)
        };
        // Dropped while it runs, as it is when an attempt takes too long, this ends the guest with all that it
        // has, a request under way included.
        let (instance, call, outcome) = self.shared.threads.run(lane(&self.crashed), step).await;
        self.instance = instance;
        self.ended(&outcome);
        (call, outcome)
    }

    fn memory_bytes(&self) -> usize {
        Guest::memory_bytes(self)
    }
}

fn is_alive<T>(outcome: &Result<T, GuestError>) -> bool {
    matches!(outcome, Ok(_) | Err(GuestError::Failed(_)))
}

fn ended() -> GuestError {
    GuestError::Trapped { reason: "its instance has ended".into() }
}
