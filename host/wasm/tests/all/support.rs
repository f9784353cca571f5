//! An engine, events and state to test with, and components written by hand.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;
use wasmill_core::clock::{ManualClock, Timestamp};
use wasmill_core::event::{Event, NewEvent, Offset, Position, PreparedEvent, decode_run};
use wasmill_core::guest::{Batch, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule};
use wasmill_core::handler::outbox::Outbox;
use wasmill_core::name::StreamName;
use wasmill_core::plugin::log::PluginLog;
use wasmill_core::projection::state::State;
use wasmill_core::record::GenerationId;
use wasmill_core::store::memory::MemoryStore;
use wasmill_wasm::{WasmConfig, WasmEngine};

pub(crate) const COLLECTIONS: [&str; 2] = ["documents", "counts"];

pub(crate) fn engine() -> WasmEngine {
    engine_with(WasmConfig::default())
}

pub(crate) fn engine_with(config: WasmConfig) -> WasmEngine {
    // A small pool: the tests run side by side, each with an engine of its own.
    let config = WasmConfig { instances_max: config.instances_max.min(16), ..config };
    WasmEngine::new(config, Arc::new(ManualClock::at(Timestamp(1_000)))).unwrap()
}

pub(crate) fn event(event_type: &str, data: &str) -> Event {
    event_of(&NewEvent { event_type: event_type.into(), data: Bytes::from(data.to_owned()), ..NewEvent::default() })
}

pub(crate) fn event_of(event: &NewEvent) -> Event {
    let event = NewEvent { id: Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677), ..event.clone() };
    let prepared = PreparedEvent::encode(&event, &StreamName::from_stored("stream-1"), Timestamp(5_000_000));
    let mut run = BytesMut::new();
    prepared.place(&mut run, Position(41), Offset(7), Timestamp(6_000_000));
    let mut events = Vec::new();
    decode_run(run.freeze(), &mut events).unwrap();
    events.remove(0)
}

pub(crate) fn state() -> State {
    state_of(&COLLECTIONS)
}

pub(crate) fn state_of(collections: &[&str]) -> State {
    let collections: Vec<String> = collections.iter().map(|name| (*name).to_owned()).collect();
    State::new(Arc::new(MemoryStore::default()), GenerationId(1), &collections, true)
}

pub(crate) struct Running {
    pub(crate) guest: Box<dyn Guest>,
    pub(crate) log: Arc<PluginLog>,
}

pub(crate) async fn start(module: &Arc<dyn GuestModule>) -> Result<Running, GuestError> {
    start_with(module, None).await
}

pub(crate) async fn start_with(
    module: &Arc<dyn GuestModule>,
    memory_bytes_max: Option<usize>,
) -> Result<Running, GuestError> {
    let log = Arc::new(PluginLog::new("test"));
    let config: Arc<[(String, String)]> = vec![("currency".to_owned(), "EUR".to_owned())].into();
    let environment = GuestEnvironment { config, log: Arc::clone(&log), memory_bytes_max };
    let guest = module.start(environment).await?;
    Ok(Running { guest, log })
}

impl Running {
    pub(crate) async fn apply(&mut self, events: Vec<Event>) -> (State, Result<(), GuestError>) {
        fold(&mut *self.guest, events, state()).await
    }
}

pub(crate) async fn fold(guest: &mut dyn Guest, events: Vec<Event>, state: State) -> (State, Result<(), GuestError>) {
    let batch = Batch { events: events.into(), state, outbox: Outbox::default() };
    let (batch, outcome) = guest.call(batch).await;
    (batch.state, outcome)
}

pub(crate) fn built(name: &str) -> Bytes {
    std::fs::read(wasmill_tests::guest(name)).unwrap().into()
}

pub(crate) async fn compiled(engine: &WasmEngine, name: &str) -> Arc<dyn GuestModule> {
    engine.compile(built(name)).await.unwrap()
}

pub(crate) fn wat(text: &str) -> Bytes {
    wat::parse_str(text).unwrap().into()
}

/// A projection by hand: what its core module has beside memory and an allocator, with the bodies of
/// `describe` and `apply`.
#[derive(Clone, Copy)]
pub(crate) struct ByHand {
    /// Further imports of the component, as WAT.
    pub(crate) imports: &'static str,
    /// Further definitions of the core module.
    pub(crate) core: &'static str,
    /// Runs when the instance starts.
    pub(crate) start: &'static str,
    pub(crate) describe: &'static str,
    /// The `list<event>` lies in the locals 0 (address) and 1 (length).
    pub(crate) apply: &'static str,
    /// Type of `describe`.
    pub(crate) describe_type: &'static str,
    /// Pages that the memory has at its start.
    pub(crate) pages: u32,
}

/// Keeps the contract and does nothing.
pub(crate) const IDLE: ByHand = ByHand {
    imports: "",
    core: "",
    start: "",
    // The address of a string, whose bytes stand at 16.
    describe: "(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 2)) (i32.const 0)",
    // Zeros: the case `ok` of a result.
    apply: "(i32.const 64)",
    describe_type: "(result string)",
    pages: 2,
};

impl ByHand {
    pub(crate) fn text(&self) -> String {
        let Self { imports, core, start, describe, apply, describe_type, pages } = self;
        format!(
            r#"(component
  (type $attributes (list (tuple string string)))
  (import "wasmill:plugin/events@0.1.0" (instance $events
    (type $e (record (field "position" u64) (field "offset" u64) (field "time-us" u64) (field "id" (tuple u64 u64))
      (field "schema-version" u32) (field "event-type" string) (field "stream-name" string) (field "key" (option string))
      (field "correlation-id" (option string)) (field "data" (list u8))))
    (export "event" (type (eq $e)))))
  (alias export $events "event" (type $event))
  (import "wasmill:plugin/outcomes@0.1.0" (instance $outcomes
    (type $d (enum "retry" "reject" "halt"))
    (export "disposition" (type $disposition (eq $d)))
    (type $a (list (tuple string string)))
    (type $f (record (field "disposition" $disposition) (field "code" string) (field "message" string)
      (field "retry-after-ms" (option u32)) (field "event-index" (option u32)) (field "attributes" $a)))
    (export "failure" (type (eq $f)))))
  (alias export $outcomes "failure" (type $failure))
  {imports}
  (core module $code
    (memory (export "memory") {pages})
    (global $free (mut i32) (i32.const 4096))
    (data (i32.const 16) "{{}}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3))))
    {core}
    (func $start {start})
    (start $start)
    (func (export "describe") (result i32) {describe})
    (func (export "apply") (param i32 i32) (result i32)
      (global.set $free (i32.const 4096))
      {apply}))
  (core instance $core (instantiate $code))
  (alias core export $core "memory" (core memory $memory))
  (alias core export $core "realloc" (core func $realloc))
  (func $describe {describe_type}
    (canon lift (core func $core "describe") (memory $memory) (realloc $realloc)))
  (type $batch (list $event))
  (type $answer (result (error $failure)))
  (func $apply (param "events" $batch) (result $answer)
    (canon lift (core func $core "apply") (memory $memory) (realloc $realloc)))
  (instance $descriptor (export "describe" (func $describe)))
  (instance $projection (export "apply" (func $apply)))
  (export "wasmill:plugin/descriptor@0.1.0" (instance $descriptor))
  (export "wasmill:plugin/projection@0.1.0" (instance $projection)))"#
        )
    }

    pub(crate) fn bytes(&self) -> Bytes {
        wat(&self.text())
    }
}
