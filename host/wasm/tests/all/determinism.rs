//! Plugins of interpreted languages that look at their clock, roll dice and wait (`tests/guests-js`,
//! `tests/guests-python`), over a whole host with its documents in memory. `tests/it/determinism.rs` does the same
//! over the binary with SQLite and PostgreSQL.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::SystemClock;
use wasmill_core::event::{NewEvent, Position};
use wasmill_core::guest::GuestEngine;
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::settings::Settings;
use wasmill_core::plugin::status::State;
use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;
use wasmill_wasm::WasmConfig;

use crate::support::engine_with;

/// Events of each kind. Small, since each is also folded by itself.
const EVENTS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(120);

fn component(path: &str) -> Option<Bytes> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", path].iter().collect();
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("SKIPPED: {} is not built (tests/run)", path.display());
    }
    bytes.map(Bytes::from)
}

async fn host_over(store: &Arc<dyn Store>, engine: &Arc<dyn GuestEngine>) -> Arc<Host> {
    let (store, engine) = (Arc::clone(store), Arc::clone(engine));
    let metrics = Arc::new(Metrics::new().unwrap());
    let parts = HostParts { store, engine, clock: Arc::new(SystemClock), metrics, options: HostOptions::default() };
    Host::start(parts).await.unwrap()
}

async fn publish(host: &Host, event_type: &str, count: usize) -> Position {
    let event = |_| NewEvent {
        id: Uuid::now_v7(),
        event_type: event_type.to_owned(),
        data: Bytes::from_static(b"{}"),
        ..NewEvent::default()
    };
    let append = Append { stream: "s".into(), events: (0..count).map(event).collect(), ..Append::default() };
    host.publisher.append(append).await.unwrap().last_position()
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let reached = async {
        loop {
            pace.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("it did not come to this: {what}"))
}

/// What the read model holds when it has come past `position`; what has begun a build is over then.
async fn documents(host: &Host, name: &str, position: Position) -> BTreeMap<String, Bytes> {
    let serving = until("it is as far as the log, and nothing is being built", async || {
        let deployment = host.plugins.deployment(name)?;
        let serving = deployment.serving()?;
        (serving.next() > position && deployment.building().is_none()).then_some(serving)
    })
    .await;
    let page = host.store.scan(serving.id, "found", "", None, 1_000).await.unwrap();
    page.documents.into_iter().map(|document| (document.key, document.value)).collect()
}

async fn batches_of(host: &Host, name: &str, events: u64) {
    let change = |settings: &mut Settings| settings.batch_events = Some(events);
    host.plugins.change_settings(name, None, change).await.unwrap();
}

/// Folds live, a few events at a time, then in rebuilds with batches of several sizes, and after a restart.
async fn comes_to_the_same(component: Bytes, config: WasmConfig) -> BTreeMap<String, Bytes> {
    let engine: Arc<dyn GuestEngine> = Arc::new(engine_with(config));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut host = host_over(&store, &engine).await;
    let deployed = host.plugins.deploy(component, &DeployOptions::default()).await.unwrap();
    let name = deployed.plugin.name;
    let mut last = Position(0);
    for n in 0..EVENTS / 6 {
        last = publish(&host, if n % 2 == 0 { "clock" } else { "nothing" }, 6).await;
        // One commit after another, as events come live.
        documents(&host, &name, last).await;
    }
    let live = documents(&host, &name, last).await;
    assert_eq!(live.len(), EVENTS, "every event has left its mark");
    for batch in [1, 7, 256] {
        batches_of(&host, &name, batch).await;
        host.projections.rebuild(&name).await.unwrap();
        assert_eq!(documents(&host, &name, last).await, live, "rebuilt in batches of {batch}");
        host.stop().await;
        host = host_over(&store, &engine).await;
        assert_eq!(documents(&host, &name, last).await, live, "after a restart");
    }
    // A timer is refused, and not slept.
    publish(&host, "timer", 1).await;
    let failure = until("it pauses", async || {
        let status = host.plugins.status(&name).await.unwrap();
        status.failure.filter(|_| status.state == State::Paused)
    })
    .await;
    assert_eq!(failure.position, Some(Position(last.0 + 1)), "{}", failure.reason);
    println!("{name}, a timer: {}", failure.reason);
    host.stop().await;
    live
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_with_a_still_clock_comes_to_the_same_live_and_rebuilt() {
    let Some(component) = component("guests-js/dist/clock.wasm") else { return };
    let documents = comes_to_the_same(component, WasmConfig::default()).await;
    assert_stood_still(documents, r#"{"now":0,"date":"1970-01-01T00:00:00.000Z"}"#);
}

fn assert_stood_still(documents: BTreeMap<String, Bytes>, clock: &str) {
    for (n, document) in documents.iter().map(|(key, document)| (key.parse::<usize>().unwrap(), document)) {
        assert_eq!(document, if n / 6 % 2 == 0 { clock } else { "{}" }, "event {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_with_a_still_clock_comes_to_the_same_live_and_rebuilt() {
    let Some(component) = component("guests-python/dist/clock.wasm") else { return };
    // It takes a while to compile, and is not every time that the host starts.
    let cache = tempfile::tempdir().unwrap();
    let cache_dir = Some(cache.path().to_owned());
    let config = WasmConfig { memory_bytes_max: 256 << 20, cache_dir, ..WasmConfig::default() };
    let documents = comes_to_the_same(component, config).await;
    assert_stood_still(documents, r#"{"time":0.0,"perf":0.0,"now":"1970-01-01T00:00:00+00:00"}"#);
}
