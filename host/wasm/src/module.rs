//! A compiled component, ready to be started.

use std::sync::Arc;

use async_trait::async_trait;
use wasmill_core::event::Event;
use wasmill_core::guest::{ComponentError, GuestEnvironment, GuestError, GuestModule, ProjectionGuest};
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::projection::state::State;
use wasmtime::Store;
use wasmtime::component::Component;

use crate::engine::Shared;
use crate::sandbox::{Sandbox, Voice};
use crate::worlds::v0_1::projection::{Instance, Projection};

pub(crate) struct WasmModule {
    sha256: String,
    /// Handlers, upcasters and sagas become variants beside it.
    world: Arc<Projection>,
    shared: Arc<Shared>,
}

impl WasmModule {
    pub(crate) fn link(shared: Arc<Shared>, sha256: String, component: &Component) -> Result<Self, ComponentError> {
        let world = Projection::link(&shared.projections, component).map_err(ComponentError::Refused)?;
        Ok(Self { sha256, world: Arc::new(world), shared })
    }

    fn store(&self, voice: Voice, config: Arc<[(String, String)]>) -> Store<Sandbox> {
        Sandbox::store(&self.shared.engine, self.shared.config.memory_bytes_max, voice, config)
    }
}

#[async_trait]
impl GuestModule for WasmModule {
    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn kind(&self) -> Kind {
        Kind::Projection
    }

    async fn describe(&self) -> Result<String, GuestError> {
        let mut store = self.store(Voice::new(None, Arc::clone(&self.shared.clock)), Arc::default());
        let (world, deadline) = (Arc::clone(&self.world), self.shared.config.start_deadline);
        self.shared.threads.run(async move { world.describe(&mut store, deadline).await }).await
    }

    async fn projection(&self, environment: GuestEnvironment) -> Result<Box<dyn ProjectionGuest>, GuestError> {
        let voice = Voice::new(Some(environment.log), Arc::clone(&self.shared.clock));
        let store = self.store(voice, environment.config);
        let (world, deadline) = (Arc::clone(&self.world), self.shared.config.start_deadline);
        let instance = self.shared.threads.run(async move { world.start(store, deadline).await }).await?;
        Ok(Box::new(Guest { instance: Some(Box::new(instance)), shared: Arc::clone(&self.shared) }))
    }
}

struct Guest {
    /// Gone after a trap, and while a call is under way.
    instance: Option<Box<Instance>>,
    shared: Arc<Shared>,
}

#[async_trait]
impl ProjectionGuest for Guest {
    async fn apply(&mut self, events: Arc<[Event]>, state: State) -> (State, Result<(), GuestError>) {
        let Some(mut instance) = self.instance.take() else {
            let reason = "its instance has ended".into();
            return (state, Err(GuestError::Trapped { reason }));
        };
        let deadline = self.shared.config.call_deadline;
        let call = async move {
            let (state, outcome) = instance.apply(deadline, events, state).await;
            let alive = matches!(outcome, Ok(()) | Err(GuestError::Failed(_)));
            // A dead instance gives its slot back here, before anyone starts the next.
            (alive.then_some(instance), state, outcome)
        };
        let (instance, state, outcome) = self.shared.threads.run(call).await;
        self.instance = instance;
        (state, outcome)
    }

    fn memory_bytes(&self) -> usize {
        self.instance.as_ref().map_or(0, |instance| instance.memory_bytes())
    }
}
