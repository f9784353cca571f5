//! The world of projections.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::event::Event;
use wasmill_core::guest::{Disposition, Failure, GuestError};
use wasmill_core::projection::state::State;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, HasSelf, InstancePre, Lift, Linker, Lower};
use wasmtime::{Engine, Store};

use crate::sandbox::{self, Sandbox, Work};
use bindings::wasmill::plugin::{events, outcomes};
use bindings::{ProjectionPlugin, ProjectionPluginPre};

/// Private to this room, whatever it says: core has types of its own.
#[allow(unreachable_pub, unused_qualifications, clippy::large_futures, reason = "generated")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "projection-plugin",
        imports: {
            "wasmill:plugin/state.get": async | trappable,
            "wasmill:plugin/state.get-many": async | trappable,
            "wasmill:plugin/state.scan": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        // A batch is lowered out of the events' own bytes.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

const DESCRIPTOR: &str = "wasmill:plugin/descriptor@0.1.0";
const PROJECTION: &str = "wasmill:plugin/projection@0.1.0";

/// Failures reach status pages and alerts.
const FAILURE_CODE_BYTES_MAX: usize = 200;
const FAILURE_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// A component that was linked as a projection.
pub(crate) struct Projection(ProjectionPluginPre<Sandbox>);

pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    ProjectionPlugin::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    linker.allow_shadowing(true);
    sandbox::forbid_timers(&mut linker)?;
    Ok(linker)
}

impl Projection {
    /// Checks every type, and says what does not fit.
    pub(crate) fn link(linker: &Linker<Sandbox>, component: &Component) -> Result<Self, Vec<String>> {
        let pre = linker.instantiate_pre(component).map_err(|error| vec![imports_do_not_fit(&error)])?;
        let checks = [
            check_type::<(), (String,)>(&pre, DESCRIPTOR, "describe"),
            check_type::<(&[events::Event<'_>],), (Result<(), outcomes::Failure>,)>(&pre, PROJECTION, "apply"),
        ];
        let broken: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
        if !broken.is_empty() {
            return Err(broken);
        }
        ProjectionPluginPre::new(pre).map(Self).map_err(|error| vec![format!("{error:#}")])
    }

    pub(crate) async fn describe(&self, store: &mut Store<Sandbox>, deadline: Duration) -> Result<String, GuestError> {
        let describe = async |store: &mut Store<Sandbox>| {
            let plugin = self.0.instantiate_async(&mut *store).await?;
            plugin.wasmill_plugin_descriptor().call_describe(store).await
        };
        sandbox::call(store, deadline, describe).await
    }

    pub(crate) async fn start(&self, mut store: Store<Sandbox>, deadline: Duration) -> Result<Instance, GuestError> {
        let start = async |store: &mut Store<Sandbox>| self.0.instantiate_async(store).await;
        let plugin = sandbox::call(&mut store, deadline, start).await?;
        Ok(Instance { store, plugin })
    }
}

/// A running projection.
pub(crate) struct Instance {
    store: Store<Sandbox>,
    plugin: ProjectionPlugin,
}

impl Instance {
    pub(crate) async fn apply(
        &mut self,
        deadline: Duration,
        events: Arc<[Event]>,
        state: State,
    ) -> (State, Result<(), GuestError>) {
        self.store.data_mut().work = Some(Work { events: Arc::clone(&events), state });
        let batch: Vec<_> = events.iter().map(lower).collect();
        let plugin = &self.plugin;
        let apply =
            async |store: &mut Store<Sandbox>| plugin.wasmill_plugin_projection().call_apply(store, &batch).await;
        let outcome = sandbox::call(&mut self.store, deadline, apply).await;
        let work = self.store.data_mut().work.take().expect("it was put there, and only calls use it");
        let outcome = outcome.and_then(|answer| answer.map_err(|failure| GuestError::Failed(lift(failure))));
        (work.state, outcome)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes()
    }
}

fn lower(event: &Event) -> events::Event<'_> {
    events::Event {
        position: event.position().0,
        offset: event.offset().0,
        // The contract has no time before 1970.
        time_us: u64::try_from(event.time().0).unwrap_or(0),
        id: event.id().as_u64_pair(),
        schema_version: event.schema_version(),
        event_type: event.event_type(),
        stream_name: event.stream(),
        key: event.key(),
        correlation_id: event.correlation_id(),
        data: event.data(),
    }
}

fn lift(failure: outcomes::Failure) -> Failure {
    Failure {
        disposition: match failure.disposition {
            outcomes::Disposition::Retry => Disposition::Retry,
            outcomes::Disposition::Reject => Disposition::Reject,
            outcomes::Disposition::Halt => Disposition::Halt,
        },
        code: cut(failure.code, FAILURE_CODE_BYTES_MAX),
        message: cut(failure.message, FAILURE_MESSAGE_BYTES_MAX),
        retry_after_ms: failure.retry_after_ms,
        event_index: failure.event_index,
    }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

fn imports_do_not_fit(error: &wasmtime::Error) -> String {
    format!("its imports do not fit the contract: {error:#}")
}

/// The generated bindings check the types of exports only on a living instance; here no code of the
/// guest has run yet.
fn check_type<P, R>(pre: &InstancePre<Sandbox>, interface: &str, function: &str) -> Result<(), String>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let component = pre.component();
    let export = component.get_export_index(None, interface).and_then(|i| component.get_export(Some(&i), function));
    match export {
        Some((ComponentItem::ComponentFunc(found), _)) => found
            .typecheck::<P, R>(&pre.instance_type())
            .map_err(|error| format!("its `{function}` of `{interface}` has another type: {error:#}")),
        _ => Err(format!("its `{interface}` has no function `{function}`")),
    }
}
