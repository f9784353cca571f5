//! The projection engine over the memory store, with fake guests written in Rust.

#![allow(clippy::unwrap_used, reason = "these are tests, though not in a `#[test]`")]

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::{SystemClock, Timestamp};
use wasmill_core::event::{Event, NewEvent, Position};
use wasmill_core::group::Start;
use wasmill_core::guest::{
    Batch, ComponentError, Disposition, Failure, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule,
    UpcasterGuest,
};
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::projection::generation::Phase;
use wasmill_core::projection::query::{QueryError, WaitFor};
use wasmill_core::projection::state::State;
use wasmill_core::replay::{NewReplay, Pace, Replay, Source, State as ReplayState, Target};
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::wrapped::Wrapped;
use wasmill_core::store::{Change, Committed, PluginStore, Rejection, Store, StoreError, Unit};

/// Counts events by type into `counts`, and what happens by type: `bad` is rejected, `flaky` fails
/// twice with `retry`, `crash` traps. "Components" are any bytes: they become the plugin's version.
#[derive(Default)]
struct FakeEngine {
    flaky_calls: Arc<AtomicU32>,
    compiled: Mutex<HashMap<String, Arc<FakeModule>>>,
}

struct FakeModule {
    sha256: String,
    flaky_calls: Arc<AtomicU32>,
}

struct FakeGuest {
    flaky_calls: Arc<AtomicU32>,
}

#[async_trait]
impl GuestEngine for FakeEngine {
    async fn cached(&self, sha256: &str) -> Option<Arc<dyn GuestModule>> {
        self.compiled.lock().unwrap().get(sha256).map(|module| Arc::clone(module) as _)
    }

    async fn compile(&self, component: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        let sha256 = format!("{component:x?}");
        let module = Arc::new(FakeModule { sha256: sha256.clone(), flaky_calls: Arc::clone(&self.flaky_calls) });
        self.compiled.lock().unwrap().insert(sha256, Arc::clone(&module));
        Ok(module)
    }
}

#[async_trait]
impl GuestModule for FakeModule {
    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn kind(&self) -> Kind {
        Kind::Projection
    }

    async fn describe(&self) -> Result<String, GuestError> {
        let subscribes = r#"[{"streams":["s*"]}]"#;
        Ok(format!(
            r#"{{"name":"fake","version":"1","kind":"projection","subscribes":{subscribes},"collections":[{{"name":"counts"}}]}}"#
        ))
    }

    async fn start(&self, _: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(FakeGuest { flaky_calls: Arc::clone(&self.flaky_calls) }))
    }

    async fn start_upcaster(&self, _: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError> {
        unreachable!("it is a projection")
    }
}

#[async_trait]
impl Guest for FakeGuest {
    async fn call(&mut self, mut batch: Batch) -> (Batch, Result<(), GuestError>) {
        let outcome = self.apply(&batch.events, &mut batch.state).await;
        (batch, outcome)
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

impl FakeGuest {
    async fn apply(&self, events: &[Event], state: &mut State) -> Result<(), GuestError> {
        for event in events {
            // Half-done work must never show.
            let count = match state.get("counts", event.event_type()).await {
                Ok(count) => count.map_or(0, |count| String::from_utf8_lossy(&count).parse::<u64>().unwrap()),
                Err(error) => return Err(GuestError::State(Arc::new(error))),
            };
            let value = Some(Bytes::from((count + 1).to_string()));
            state.put("counts", event.event_type(), value).unwrap();
            let failure = |disposition| {
                let (code, message) = ("fake".to_owned(), "as told".to_owned());
                Err(GuestError::Failed(Failure {
                    disposition,
                    code,
                    message,
                    retry_after_ms: Some(1),
                    event_index: None,
                }))
            };
            match event.event_type() {
                "bad" => return failure(Disposition::Reject),
                "flaky" if self.flaky_calls.fetch_add(1, Ordering::SeqCst) < 3 => {
                    return failure(Disposition::Retry);
                }
                "crash" => return Err(GuestError::Trapped { reason: "as told".into() }),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A store that loses the connection in mid-commit when a checkpoint moves.
#[derive(Default)]
struct Losing {
    memory: MemoryStore,
    /// Commits that are lost, and whether they were done before.
    losses: Mutex<VecDeque<bool>>,
}

#[async_trait]
impl Wrapped for Losing {
    fn wrapped(&self) -> &dyn Store {
        &self.memory
    }

    async fn commit(&self, units: &[Unit], now: Timestamp) -> Result<Vec<Result<Committed, Rejection>>, StoreError> {
        let moves = |change: &Change| matches!(change, Change::Advance { from, to, .. } if from < to);
        let loss = match units.iter().flat_map(|unit| &unit.changes).any(moves) {
            true => self.losses.lock().unwrap().pop_front(),
            false => None,
        };
        if loss != Some(false) {
            let outcomes = self.memory.commit(units, now).await;
            if loss.is_none() {
                return outcomes;
            }
        }
        Err(StoreError::Unknown("as told".into()))
    }
}

async fn host_over<S: Store>(store: &Arc<S>, engine: &Arc<FakeEngine>) -> Arc<Host> {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (store, engine) = (Arc::clone(store) as Arc<dyn Store>, Arc::clone(engine) as Arc<dyn GuestEngine>);
    Host::start(HostParts { store, engine, clock: Arc::new(SystemClock), metrics, options: HostOptions::default() })
        .await
        .unwrap()
}

async fn fresh() -> (Arc<MemoryStore>, Arc<FakeEngine>, Arc<Host>) {
    let (store, engine) = (Arc::new(MemoryStore::default()), Arc::new(FakeEngine::default()));
    let host = host_over(&store, &engine).await;
    (store, engine, host)
}

async fn publish(host: &Host, stream: &str, types: &[&str]) -> Position {
    let event = |event_type: &&str| NewEvent {
        id: Uuid::now_v7(),
        event_type: (*event_type).to_owned(),
        data: Bytes::from_static(b"{}"),
        ..NewEvent::default()
    };
    let events = types.iter().map(event).collect();
    let append = Append { stream: stream.into(), events, ..Append::default() };
    host.publisher.append(append).await.unwrap().last_position()
}

fn wait(position: Position) -> Option<WaitFor> {
    Some(WaitFor { position, timeout: Duration::from_secs(20) })
}

async fn count(host: &Host, event_type: &str, position: Position) -> String {
    let answer = host.projections.document("fake", "counts", event_type, wait(position)).await.unwrap();
    assert!(answer.next_position > position);
    String::from_utf8(answer.value.to_vec()).unwrap()
}

async fn phase(host: &Host, wanted: Phase) -> wasmill_core::projection::generation::Progress {
    let generation = host.plugins.deployment("fake").unwrap().serving().unwrap();
    let mut progress = generation.progress.subscribe();
    let reached = tokio::time::timeout(Duration::from_secs(20), progress.wait_for(|p| p.phase == wanted));
    reached.await.expect("the phase is reached").unwrap().clone()
}

#[tokio::test]
async fn a_publisher_reads_its_own_write() {
    let (_, _, host) = fresh().await;
    publish(&host, "s", &["a", "b"]).await;
    assert!(host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap().changed);
    let last = publish(&host, "s", &["a"; 700]).await;
    assert_eq!(count(&host, "a", last).await, "701");
    let elsewhere = publish(&host, "other", &["a"]).await;
    assert_eq!(count(&host, "a", elsewhere).await, "701", "what does not match still moves the position");
    host.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_at_the_checkpoint() {
    let (store, engine, host) = fresh().await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    let last = publish(&host, "s", &["a"; 10]).await;
    count(&host, "a", last).await;
    publish(&host, "other", &["x"; 5]).await;
    host.stop().await;
    let host = host_over(&store, &engine).await;
    let last = publish(&host, "s", &["a"]).await;
    assert_eq!(count(&host, "a", last).await, "11");
    host.stop().await;
}

#[tokio::test]
async fn it_pauses_at_the_guilty_event_with_all_before_it_folded() {
    for guilty in ["bad", "crash"] {
        let (_, _, host) = fresh().await;
        publish(&host, "s", &["a"; 300]).await;
        let position = publish(&host, "s", &[guilty]).await;
        let last = publish(&host, "s", &["a"; 300]).await;
        host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
        host.plugins.change_settings("fake", None, |settings| settings.retry.base_ms = Some(1)).await.unwrap();
        let progress = phase(&host, Phase::Paused).await;
        assert_eq!((progress.next, progress.failure.unwrap().position), (position, Some(position)));
        assert_eq!(count(&host, "a", Position(position.0 - 1)).await, "300");
        let guilty = host.projections.document("fake", "counts", guilty, None).await;
        assert!(matches!(guilty, Err(QueryError::DocumentNotFound { .. })), "nothing half-done is stored");
        let late = host.projections.document("fake", "counts", "a", wait(last)).await;
        assert!(matches!(late, Err(QueryError::PositionNotReached { .. })), "nobody waits for a paused projection");
        host.stop().await;
    }
}

#[tokio::test]
async fn a_passing_failure_is_retried_and_nothing_is_counted_twice() {
    let (_, _, host) = fresh().await;
    publish(&host, "s", &["a"; 20]).await;
    publish(&host, "s", &["flaky"]).await;
    let last = publish(&host, "s", &["a"; 20]).await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    assert_eq!(count(&host, "a", last).await, "40");
    assert_eq!(count(&host, "flaky", last).await, "1");
    host.stop().await;
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_is_settled_and_nothing_is_counted_twice() {
    let (store, engine) = (Arc::new(Losing::default()), Arc::new(FakeEngine::default()));
    let host = host_over(&store, &engine).await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    let mut expected = 0;
    for losses in [vec![true], vec![false], vec![false, true], vec![true, true, false], vec![]] {
        store.losses.lock().unwrap().extend(losses);
        for _ in 0..3 {
            let last = publish(&host, "s", &["a", "b", "a"]).await;
            expected += 2;
            assert_eq!(count(&host, "a", last).await, expected.to_string());
        }
        assert!(store.losses.lock().unwrap().is_empty(), "every loss has happened");
    }
    assert_eq!(phase(&host, Phase::Live).await.failure, None);
    host.stop().await;
}

#[tokio::test]
async fn a_rebuild_is_swapped_in_and_the_old_one_removed() {
    let (store, _, host) = fresh().await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    let last = publish(&host, "s", &["a"; 50]).await;
    assert_eq!(count(&host, "a", last).await, "50");
    let generation = host.projections.rebuild("fake").await.unwrap();
    let mut last = last;
    for _ in 0..200 {
        last = publish(&host, "s", &["a"]).await;
        assert_eq!(count(&host, "a", last).await, (last.0 + 1).to_string(), "readers never see a half-built one");
        let swapped = host.projections.get("fake").await.unwrap().generation == generation;
        if swapped {
            // Nobody wants to go back.
            host.plugins.confirm("fake").await.unwrap();
        }
        if swapped && store.generations().await.unwrap().len() == 1 {
            break;
        }
    }
    let left = store.generations().await.unwrap();
    assert_eq!(left.iter().map(|generation| generation.id).collect::<Vec<_>>(), [generation]);
    assert_eq!(count(&host, "a", last).await, (last.0 + 1).to_string());
    host.stop().await;
}

#[tokio::test]
async fn a_removed_plugin_leaves_nothing() {
    let (store, _, host) = fresh().await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    let last = publish(&host, "s", &["a"]).await;
    count(&host, "a", last).await;
    assert!(
        !host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap().changed,
        "the same bytes change nothing"
    );
    host.plugins.remove("fake").await.unwrap();
    let gone = host.projections.document("fake", "counts", "a", None).await;
    assert!(matches!(gone, Err(QueryError::ProjectionNotFound(_))));
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    assert_eq!(count(&host, "a", last).await, "1", "a new deployment begins anew");
    host.stop().await;
    assert_eq!(store.plugins().await.unwrap().len(), 1);
}

async fn replay(host: &Host, id: Uuid, reached: impl Fn(&Replay) -> bool) -> Replay {
    let until = async {
        loop {
            let replay = host.replays.get(id).await.unwrap();
            if reached(&replay) {
                return replay;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), until).await.expect("it is reached")
}

#[tokio::test]
async fn a_replay_builds_a_projection_at_its_pace_beside_the_one_that_serves() {
    let (store, engine, host) = fresh().await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    let last = publish(&host, "s", &["a"; 900]).await;
    assert_eq!(count(&host, "a", last).await, "900");
    let pace = Pace { events_per_second: Some(500), speed: None };
    let target = Target::Projection("fake".into());
    let new = NewReplay { source: Source::default(), from: Start::First, until: None, target, pace };
    let begun = host.replays.start(new.clone()).await.unwrap();
    assert_eq!(begun.total, 900);
    replay(&host, begun.id, |replay| replay.done > 0).await;
    host.replays.pause(begun.id).await.unwrap();
    // The one that serves goes on.
    let last = publish(&host, "s", &["a"]).await;
    assert_eq!(count(&host, "a", last).await, "901");
    let built = host.plugins.deployment("fake").unwrap().building().unwrap();
    replay(&host, begun.id, |replay| replay.state == ReplayState::Paused).await;
    // The host ends in the middle, and the build goes on where it was.
    host.stop().await;
    let host = host_over(&store, &engine).await;
    assert_eq!(host.plugins.deployment("fake").unwrap().building().unwrap().id, built.id);
    host.replays.resume(begun.id).await.unwrap();
    let done = replay(&host, begun.id, |replay| replay.state.is_over()).await;
    assert_eq!((done.state, done.done, done.error), (ReplayState::Done, 900, None));
    assert_eq!(host.plugins.deployment("fake").unwrap().serving().unwrap().id, built.id);
    assert_eq!(count(&host, "a", last).await, "901");
    // Another one is given up, and leaves what serves alone.
    let begun = host.replays.start(new).await.unwrap();
    replay(&host, begun.id, |replay| replay.done > 0).await;
    host.replays.cancel(begun.id).await.unwrap();
    while host.plugins.deployment("fake").unwrap().building().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.plugins.deployment("fake").unwrap().serving().unwrap().id, built.id);
    assert_eq!(replay(&host, begun.id, |_| true).await.state, ReplayState::Cancelled);
    host.stop().await;
}

/// It took the build of a new revision for its own, and cancelling it threw that away.
#[tokio::test]
async fn a_replay_leaves_a_build_alone_that_is_not_its_own() {
    let (_, _, host) = fresh().await;
    host.plugins.deploy(Bytes::from_static(b"1"), &DeployOptions::default()).await.unwrap();
    let last = publish(&host, "s", &["a"; 900]).await;
    assert_eq!(count(&host, "a", last).await, "900");
    let pace = Pace { events_per_second: Some(500), speed: None };
    let target = Target::Projection("fake".into());
    let new = NewReplay { source: Source::default(), from: Start::First, until: None, target, pace };
    let first = host.replays.start(new.clone()).await.unwrap();
    replay(&host, first.id, |replay| replay.done > 0).await;
    let built = host.plugins.deployment("fake").unwrap().building().unwrap();
    let second = host.replays.start(new).await.unwrap();
    let failed = replay(&host, second.id, |replay| replay.state.is_over()).await;
    assert_eq!(failed.state, ReplayState::Failed);
    assert!(failed.error.unwrap().contains("being built already"));
    let refused = host.replays.cancel(second.id).await;
    assert!(refused.is_err(), "it is over");
    let done = replay(&host, first.id, |replay| replay.state.is_over()).await;
    assert_eq!((done.state, done.error), (ReplayState::Done, None));
    assert_eq!(host.plugins.deployment("fake").unwrap().serving().unwrap().id, built.id);
    host.stop().await;
}
