//! What a projection costs in the guest alone, over documents in memory: events a second, and what
//! the engine, the pool and an instance occupy.
//!
//! ```sh
//! gunzip -k examples/flights/flights-2013-01.jsonl.gz
//! cargo run --release -p wasmill-wasm --example guest_rate -- \
//!     target/guests/wasm32-wasip2/guest/flights.wasm examples/flights/flights-2013-01.jsonl
//! ```
//!
//! A number behind them is the one size of batches to measure.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for the ones who work on this crate")]

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;
use wasmill_core::clock::{SystemClock, Timestamp};
use wasmill_core::event::{Event, NewEvent, Offset, Position, PreparedEvent, decode_run};
use wasmill_core::guest::{Batch, Guest, GuestEngine, GuestEnvironment, GuestModule};
use wasmill_core::handler::outbox::Outbox;
use wasmill_core::limits::plugin::{CALL_EVENTS_MAX, CHECKPOINT_EVENTS_MAX};
use wasmill_core::name::StreamName;
use wasmill_core::plugin::log::PluginLog;
use wasmill_core::projection::state::State;
use wasmill_core::record::GenerationId;
use wasmill_core::store::memory::MemoryStore;
use wasmill_wasm::{WasmConfig, WasmEngine};

const ROUNDS: usize = 7;
const INSTANCES: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let component = Bytes::from(std::fs::read(arguments.next().expect("a component")).unwrap());
    let events = events(&std::fs::read_to_string(arguments.next().expect("a JSONL file")).unwrap());

    let before = resident_kib();
    let cache = tempfile::tempdir().unwrap();
    let config = || WasmConfig { cache_dir: Some(cache.path().into()), ..WasmConfig::default() };
    let engine = WasmEngine::new(config(), Arc::new(SystemClock)).unwrap();
    println!("an engine with its pool: {} KiB resident", resident_kib() - before);

    let began = Instant::now();
    let sha256 = engine.compile(component).await.unwrap().sha256().to_owned();
    println!("compiled in {:?}; {} KiB resident", began.elapsed(), resident_kib() - before);
    drop(engine);
    let engine = WasmEngine::new(config(), Arc::new(SystemClock)).unwrap();
    let began = Instant::now();
    let module = engine.cached(&sha256).await.unwrap();
    println!("loaded from the cache in {:?}", began.elapsed());
    let began = Instant::now();
    let descriptor: serde_json::Value = serde_json::from_str(&module.describe().await.unwrap()).unwrap();
    println!("described in {:?}", began.elapsed());

    let collections: Vec<String> = descriptor["collections"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|collection| collection["name"].as_str().unwrap().to_owned())
        .collect();
    let only: Option<usize> = arguments.next().map(|batch| batch.parse().unwrap());
    let sizes = only.map_or(vec![1, 16, 128, CALL_EVENTS_MAX], |size| vec![size]);
    for batch_events in sizes {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let mut guest = instance(&module).await;
            let state = State::new(Arc::new(MemoryStore::default()), GenerationId(1), &collections, true);
            let batches: Vec<Arc<[Event]>> = events.chunks(batch_events).map(Arc::from).collect();
            let began = Instant::now();
            fold(&mut *guest, batches, state).await;
            best = best.min(began.elapsed().as_secs_f64());
        }
        let (rate, each) = (events.len() as f64 / best, best * 1e9 / events.len() as f64);
        println!("batches of {batch_events:>3}: {rate:>9.0} events/s, {each:>6.0} ns an event");
    }

    let before = resident_kib();
    let mut guests = Vec::new();
    let began = Instant::now();
    for _ in 0..INSTANCES {
        guests.push(instance(&module).await);
    }
    println!("started in {:?} each", began.elapsed() / INSTANCES as u32);
    for guest in &mut guests {
        let state = State::new(Arc::new(MemoryStore::default()), GenerationId(1), &collections, true);
        fold(&mut **guest, vec![events[..128].into()], state).await;
    }
    println!("a warm instance: {} KiB resident", (resident_kib() - before) / INSTANCES as u64);
}

async fn fold(guest: &mut dyn Guest, batches: Vec<Arc<[Event]>>, mut state: State) {
    let mut uncommitted = 0;
    for batch in batches {
        uncommitted += batch.len();
        let (batch, outcome) = guest.call(Batch { events: batch, state, outbox: Outbox::default() }).await;
        outcome.unwrap();
        state = batch.state;
        if uncommitted >= CHECKPOINT_EVENTS_MAX {
            uncommitted = 0;
            state.settle();
        }
    }
}

async fn instance(module: &Arc<dyn GuestModule>) -> Box<dyn Guest> {
    let environment =
        GuestEnvironment { config: Arc::default(), log: Arc::new(PluginLog::new("rate")), memory_bytes_max: None };
    module.start(environment).await.unwrap()
}

fn events(lines: &str) -> Vec<Event> {
    let mut run = BytesMut::new();
    for (n, line) in lines.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = NewEvent {
            id: Uuid::from_u128(n as u128),
            event_type: line["type"].as_str().unwrap().into(),
            key: line["key"].as_str().map(str::to_owned),
            data: line["data"].to_string().into(),
            ..NewEvent::default()
        };
        let stream = StreamName::from_stored(line["stream"].as_str().unwrap());
        let prepared = PreparedEvent::encode(&event, &stream, Timestamp(n as i64));
        prepared.place(&mut run, Position(n as u64), Offset(n as u64), Timestamp(n as i64));
    }
    let mut events = Vec::new();
    decode_run(run.freeze(), &mut events).unwrap();
    events
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
