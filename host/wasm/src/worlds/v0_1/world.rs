//! A component that keeps the contract, whatever its kind and form, and its instances.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::event::Event;
use wasmill_core::guest::{Batch, GuestError, Upcasted};
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::saga::call::{Direction, StepCall, StepOutcome};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, Instance as Linked, InstancePre, Lift, Lower, TypedFunc,
};

use super::bindings::exports::wasmill::plugin::{saga, upcaster};
use super::bindings::wasmill::plugin::{events, outcomes};
use super::linker::Linkers;
use super::{json, step, types};
use crate::contract::Form;
use crate::sandbox::{self, Sandbox, Work};

type Events<'a> = (&'a [events::Event<'a>],);
type Outcome = (Result<(), outcomes::Failure>,);
type Upcasts = (Result<Vec<upcaster::Upcasted>, outcomes::Failure>,);
type JsonUpcasts = (Result<String, outcomes::Failure>,);
type Context<'a> = (saga::StepContext<'a>,);
type Outcomes = (Result<saga::StepOutcome, outcomes::Failure>,);

/// A component that was linked as what its exports make it.
pub(crate) struct World {
    pub(crate) kind: Kind,
    form: Form,
    pre: InstancePre<Sandbox>,
    describe: ComponentExportIndex,
    /// What events are handed to; a saga's `execute`.
    call: ComponentExportIndex,
    /// A saga's `compensate`.
    undo: Option<ComponentExportIndex>,
}

impl World {
    /// Checks every type, and says what does not fit. No code of the guest runs.
    pub(crate) fn link(
        linkers: &Linkers,
        component: &Component,
        (kind, form): (Kind, Form),
    ) -> Result<Self, Vec<String>> {
        let pre = linkers.of(kind).instantiate_pre(component);
        let pre = pre.map_err(|error| vec![format!("its imports do not fit the contract: {error:#}")])?;
        let describe = find::<(), (String,)>(&pre, "descriptor", "describe");
        let interface = format!("{}{}", kind.as_str(), if form == Form::Json { "-json" } else { "" });
        let call = match (kind, form) {
            (Kind::Projection, Form::Records) => find::<Events<'_>, Outcome>(&pre, &interface, "apply"),
            (Kind::Handler, Form::Records) => find::<Events<'_>, Outcome>(&pre, &interface, "handle"),
            (Kind::Upcaster, Form::Records) => find::<Events<'_>, Upcasts>(&pre, &interface, "upcast"),
            (Kind::Projection, Form::Json) => find::<(&str,), Outcome>(&pre, &interface, "apply"),
            (Kind::Handler, Form::Json) => find::<(&str,), Outcome>(&pre, &interface, "handle"),
            (Kind::Upcaster, Form::Json) => find::<(&str,), JsonUpcasts>(&pre, &interface, "upcast"),
            (Kind::Saga, _) => find::<Context<'_>, Outcomes>(&pre, &interface, "execute"),
        };
        let undo = (kind == Kind::Saga).then(|| find::<Context<'_>, Outcomes>(&pre, &interface, "compensate"));
        match (describe, call, undo.transpose()) {
            (Ok(describe), Ok(call), Ok(undo)) => Ok(Self { kind, form, pre, describe, call, undo }),
            (describe, call, undo) => Err([describe.err(), call.err(), undo.err()].into_iter().flatten().collect()),
        }
    }

    pub(crate) async fn describe(&self, store: &mut Store<Sandbox>, deadline: Duration) -> Result<String, GuestError> {
        let describe = async |store: &mut Store<Sandbox>| {
            let instance = self.pre.instantiate_async(&mut *store).await?;
            let describe: TypedFunc<(), (String,)> = instance.get_typed_func(&mut *store, self.describe)?;
            let (json,) = describe.call_async(store, ()).await?;
            Ok(json)
        };
        sandbox::call(store, deadline, describe).await
    }

    pub(crate) async fn start(
        self: Arc<Self>,
        mut store: Store<Sandbox>,
        deadline: Duration,
    ) -> Result<Instance, GuestError> {
        let start = async |store: &mut Store<Sandbox>| self.pre.instantiate_async(store).await;
        let linked = sandbox::call(&mut store, deadline, start).await?;
        Ok(Instance { store, linked, world: self })
    }
}

/// The generated bindings check the types of exports only on a living instance; here no code of the
/// guest has run yet.
fn find<P, R>(pre: &InstancePre<Sandbox>, interface: &str, function: &str) -> Result<ComponentExportIndex, String>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let component = pre.component();
    let interface = format!("wasmill:plugin/{interface}@0.1.0");
    let within = component.get_export_index(None, &interface);
    let found = within.and_then(|within| {
        let index = component.get_export_index(Some(&within), function)?;
        Some((component.get_export(Some(&within), function)?.0, index))
    });
    match found {
        Some((ComponentItem::ComponentFunc(found), index)) => found
            .typecheck::<P, R>(&pre.instance_type())
            .map(|()| index)
            .map_err(|error| format!("its `{function}` of `{interface}` has another type: {error:#}")),
        _ => Err(format!("its `{interface}` has no function `{function}`")),
    }
}

/// A running plugin.
pub(crate) struct Instance {
    store: Store<Sandbox>,
    linked: Linked,
    world: Arc<World>,
}

impl Instance {
    /// Hands a batch to a projection or handler.
    pub(crate) async fn call(&mut self, deadline: Duration, batch: Batch) -> (Batch, Result<(), GuestError>) {
        let events = Arc::clone(&batch.events);
        self.store.data_mut().work = Some(Work::of(batch));
        let outcome = match self.world.form {
            Form::Records => {
                let lowered: Vec<_> = events.iter().map(types::lower).collect();
                self.invoke::<Events<'_>, Outcome>(deadline, (&lowered,)).await
            }
            Form::Json => self.invoke::<(&str,), Outcome>(deadline, (&json::batch(&events),)).await,
        };
        let work = self.store.data_mut().work.take().expect("it was put there, and only calls use it");
        let outcome = outcome.and_then(|(answer,)| answer.map_err(|failed| GuestError::Failed(types::failure(failed))));
        (work.into_batch(), outcome)
    }

    pub(crate) async fn upcast(
        &mut self,
        deadline: Duration,
        events: Arc<[Event]>,
    ) -> Result<Vec<Upcasted>, GuestError> {
        self.store.data_mut().work = Some(Work::of_events(Arc::clone(&events)));
        let failed = |failed| GuestError::Failed(types::failure(failed));
        let upcasted = match self.world.form {
            Form::Records => {
                let lowered: Vec<_> = events.iter().map(types::lower).collect();
                let (answer,) = self.invoke::<Events<'_>, Upcasts>(deadline, (&lowered,)).await?;
                answer.map_err(failed)?.into_iter().map(types::upcasted).collect()
            }
            Form::Json => {
                let (answer,) = self.invoke::<(&str,), JsonUpcasts>(deadline, (&json::batch(&events),)).await?;
                json::upcasted(&answer.map_err(failed)?)?
            }
        };
        self.store.data_mut().work = None;
        if upcasted.len() == events.len() {
            return Ok(upcasted);
        }
        let what = format!("`upcast` answered {} results for {} events", upcasted.len(), events.len());
        Err(GuestError::Contract { what })
    }

    /// One attempt at a step. `call` has its data and outbox back whatever happens.
    pub(crate) async fn step(&mut self, deadline: Duration, call: &mut StepCall) -> Result<StepOutcome, GuestError> {
        let undo = self.world.undo.ok_or_else(|| GuestError::Contract { what: "it is not a saga".into() })?;
        let index = match call.direction {
            Direction::Execute => self.world.call,
            Direction::Compensate => undo,
        };
        self.store.data_mut().work = Some(Work::of_step(call));
        let lowered = step::Lowered::of(&call.context);
        let outcome = self.invoke_at::<Context<'_>, Outcomes>(index, deadline, (lowered.context(),)).await;
        drop(lowered);
        let work = self.store.data_mut().work.take().expect("it was put there, and only calls use it");
        work.into_step(call);
        match outcome?.0 {
            Ok(outcome) => step::outcome(outcome, call.direction),
            Err(failed) => Err(GuestError::Failed(types::failure(failed))),
        }
    }

    async fn invoke<P, R>(&mut self, deadline: Duration, params: P) -> Result<R, GuestError>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        self.invoke_at(self.world.call, deadline, params).await
    }

    async fn invoke_at<P, R>(
        &mut self,
        index: ComponentExportIndex,
        deadline: Duration,
        params: P,
    ) -> Result<R, GuestError>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let linked = self.linked;
        let invoke = async |store: &mut Store<Sandbox>| {
            let function: TypedFunc<P, R> = linked.get_typed_func(&mut *store, index)?;
            function.call_async(store, params).await
        };
        sandbox::call(&mut self.store, deadline, invoke).await
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes()
    }

    /// What the last call has computed.
    pub(crate) fn call_time(&self) -> Duration {
        self.store.data().call_time()
    }
}
