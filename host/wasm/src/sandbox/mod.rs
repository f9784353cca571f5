//! All that one instance can reach, and every limit on it.

mod end;
mod memory;
mod meter;
mod output;
mod still;
mod voice;
mod wasi;

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::clock::Clock;
use wasmill_core::event::Event;
use wasmill_core::guest::{Batch, GuestError};
use wasmill_core::handler::outbox::Outbox;
use wasmill_core::limits::plugin as limits;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::projection::state::State;
use wasmill_core::saga::call::{SagaData, StepCall};
use wasmill_core::saga::http::Outgoing;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use memory::MemoryLimit;
use meter::Meter;
use output::Output;

pub(crate) use still::forbid_timers;
pub(crate) use voice::Voice;

/// What one host call may carry out of the guest: a whole checkpoint's documents, and their keys.
/// It bounds what the host allocates before it has looked at any of it.
const CALL_OUT_BYTES_MAX: usize = limits::OVERLAY_BYTES_MAX + 4 * 1024 * 1024;
/// Handles (streams, pollables, errors of WASI) that an instance may hold. Standard libraries use a
/// dozen; a leak ends here.
const HANDLES_MAX: usize = 1_000;
/// One request for random numbers: the host allocates it before the guest has room for it.
pub(crate) const RANDOM_BYTES_MAX: u64 = 1024 * 1024;

/// The data of a store.
pub(crate) struct Sandbox {
    wasi: WasiCtx,
    handles: ResourceTable,
    memory: MemoryLimit,
    meter: Arc<Meter>,
    output: Output,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) voice: Voice,
    pub(crate) config: Arc<[(String, String)]>,
    /// What the call under way works on; none while an instance starts or describes itself.
    pub(crate) work: Option<Work>,
    /// Why the host ended the call, when it did: the error that comes out of wasmtime is only its echo.
    ended: Option<GuestError>,
}

/// A batch, and what the guest may do with it.
pub(crate) struct Work {
    pub(crate) events: Arc<[Event]>,
    /// Upcasters have none, nor an outbox.
    pub(crate) state: Option<State>,
    pub(crate) outbox: Option<Outbox>,
    /// Of a saga alone. Its events are the one that has woken it, if one did.
    pub(crate) step: Option<Step>,
}

/// What an attempt at a step has beside its outbox.
pub(crate) struct Step {
    pub(crate) data: SagaData,
    pub(crate) http: Arc<Outgoing>,
}

impl Work {
    pub(crate) fn of(batch: Batch) -> Self {
        let Batch { events, state, outbox } = batch;
        Self { events, state: Some(state), outbox: Some(outbox), step: None }
    }

    pub(crate) fn of_events(events: Arc<[Event]>) -> Self {
        Self { events, state: None, outbox: None, step: None }
    }

    /// Takes out of `call` what the guest may change.
    pub(crate) fn of_step(call: &mut StepCall) -> Self {
        let step = Step { data: std::mem::take(&mut call.data), http: Arc::clone(&call.http) };
        let outbox = Some(std::mem::take(&mut call.outbox));
        Self { events: call.context.woken_by.iter().cloned().collect(), state: None, outbox, step: Some(step) }
    }

    /// Puts it back.
    pub(crate) fn into_step(self, call: &mut StepCall) {
        call.outbox = self.outbox.unwrap_or_default();
        call.data = self.step.map(|step| step.data).unwrap_or_default();
    }

    pub(crate) fn into_batch(self) -> Batch {
        let Self { events, state, outbox, step: _ } = self;
        let state = state.expect("the work was made of a batch");
        Batch { events, state, outbox: outbox.unwrap_or_default() }
    }
}

/// What a new store is made for.
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) memory_bytes_max: usize,
    pub(crate) voice: Voice,
    pub(crate) config: Arc<[(String, String)]>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Sandbox {
    /// A store with nothing in it yet.
    pub(crate) fn store(engine: &Engine, setup: Setup) -> Store<Self> {
        let Setup { kind, memory_bytes_max, voice, config, clock } = setup;
        let meter = Arc::new(Meter::default());
        let output = Output::new(voice.clone());
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(HANDLES_MAX);
        let sandbox = Self {
            wasi: match kind {
                Kind::Projection | Kind::Upcaster => wasi::still(&output),
                Kind::Handler | Kind::Saga => wasi::live(&output, &clock),
            },
            clock,
            handles,
            memory: MemoryLimit::new(memory_bytes_max),
            meter: Arc::clone(&meter),
            output,
            voice,
            config,
            work: None,
            ended: None,
        };
        let mut store = Store::new(engine, sandbox);
        store.limiter(|sandbox| &mut sandbox.memory);
        store.set_hostcall_fuel(CALL_OUT_BYTES_MAX);
        store.set_max_component_handles(HANDLES_MAX);
        store.epoch_deadline_callback(move |mut store| match meter.overdrawn() {
            Some(limit) => {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                Err(store.data_mut().end(GuestError::DeadlineExceeded { limit_ms }))
            }
            // Each tick the thread goes to the next guest that waits for one.
            None => Ok(UpdateDeadline::Yield(1)),
        });
        store
    }

    /// Ends the call under way. What is returned has to be handed to wasmtime, which traps with it.
    pub(crate) fn end(&mut self, why: GuestError) -> wasmtime::Error {
        let error = wasmtime::Error::msg(why.to_string());
        self.ended.get_or_insert(why);
        error
    }

    pub(crate) fn work(&mut self, asked_for: &str) -> wasmtime::Result<&mut Work> {
        let nothing = || wasmtime::Error::msg(format!("{asked_for} is only there within a call, not at a start"));
        self.work.as_mut().ok_or_else(nothing)
    }

    pub(crate) fn step(&mut self, asked_for: &str) -> wasmtime::Result<&mut Step> {
        let nothing = || wasmtime::Error::msg(format!("{asked_for} is only there within a step"));
        self.work(asked_for)?.step.as_mut().ok_or_else(nothing)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.used()
    }

    pub(crate) fn call_time(&self) -> Duration {
        self.meter.spent()
    }

    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.memory.limit()
    }
}

/// Runs one call into the guest of `store`: its lines are allowed anew, its time is measured, and what
/// went wrong is told in the host's words. After an error the instance is dead.
pub(crate) async fn call<T>(
    store: &mut Store<Sandbox>,
    deadline: Duration,
    guest: impl AsyncFnOnce(&mut Store<Sandbox>) -> wasmtime::Result<T>,
) -> Result<T, GuestError> {
    let sandbox = store.data();
    sandbox.voice.begin_call();
    sandbox.output.begin_call();
    let meter = Arc::clone(&sandbox.meter);
    store.set_epoch_deadline(1);
    let outcome = meter.measure(deadline, guest(store)).await;
    let sandbox = store.data_mut();
    sandbox.output.end_call();
    outcome.map_err(|error| sandbox.why_it_ended(&error))
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.handles }
    }
}
