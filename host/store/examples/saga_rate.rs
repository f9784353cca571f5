//! What a saga of three steps costs in engine and store alone, with steps that do nothing and are no Wasm: sagas a
//! second with 64 at a time, and the time of one by itself; how late timers fire with 1,000 due a second; and what
//! sagas cost that wait.
//!
//! ```sh
//! cargo run --release -p wasmill-store --example saga_rate -- sqlite:target/saga-rate.db 20000 100000
//! ```
//!
//! The numbers are those of the sagas that run, and of those that wait.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for the ones who work on this crate")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;
use wasmill_core::clock::{Clock as _, SystemClock, Timestamp};
use wasmill_core::guest::{
    ComponentError, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule, SagaGuest, UpcasterGuest,
};
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::saga::call::{StepCall, StepOutcome, Wait};
use wasmill_core::saga::model::State;
use wasmill_core::saga::{Activity, StartSaga};
use wasmill_store::{Location, OpenOptions};

const AT_A_TIME: usize = 64;
const ALONE: usize = 500;
/// Due one after the other, a millisecond apart.
const TIMERS: usize = 10_000;
const QUIET: Duration = Duration::from_secs(10);

/// How late steps were woken that waited for a time, in microseconds.
static LATE: Mutex<Vec<i64>> = Mutex::new(Vec::new());

struct Native;

#[async_trait]
impl GuestEngine for Native {
    async fn cached(&self, _: &str) -> Option<Arc<dyn GuestModule>> {
        Some(Arc::new(Native))
    }

    async fn compile(&self, _: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        Ok(Arc::new(Native))
    }
}

#[async_trait]
impl GuestModule for Native {
    fn sha256(&self) -> &'static str {
        "native"
    }

    fn kind(&self) -> Kind {
        Kind::Saga
    }

    async fn describe(&self) -> Result<String, GuestError> {
        let steps = r#"[{"name":"reserve"},{"name":"authorize"},{"name":"ship"}]"#;
        Ok(format!(r#"{{"name":"order","version":"1","kind":"saga","steps":{steps}}}"#))
    }

    async fn start(&self, _: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        unreachable!("it is a saga")
    }

    async fn start_upcaster(&self, _: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError> {
        unreachable!("it is a saga")
    }

    async fn start_saga(&self, _: GuestEnvironment) -> Result<Box<dyn SagaGuest>, GuestError> {
        Ok(Box::new(Native))
    }
}

#[async_trait]
impl SagaGuest for Native {
    /// An input that is a time is waited for, once.
    async fn step(&mut self, mut call: StepCall) -> (StepCall, Result<StepOutcome, GuestError>) {
        let until = std::str::from_utf8(&call.context.input).ok().and_then(|input| input.parse().ok()).map(Timestamp);
        if let Some(until) = until.filter(|_| call.context.step == "reserve") {
            if call.data.get("asleep").is_none() {
                call.data.put("asleep".into(), Bytes::from_static(b"true")).unwrap();
                return (call, Ok(StepOutcome::Suspended(Wait { until: Some(until), ..Wait::default() })));
            }
            LATE.lock().unwrap().push(SystemClock.now().0 - until.0);
        }
        (call, Ok(StepOutcome::Completed(Bytes::from_static(b"{\"done\":true}"))))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// Starts sagas that wait, each until the time that is given for it.
async fn start_waiting(host: &Arc<Host>, count: usize, until: impl Fn(usize) -> i64) -> Vec<Uuid> {
    let mut started = Vec::with_capacity(count);
    for first in (0..count).step_by(AT_A_TIME) {
        let starts = (first..count.min(first + AT_A_TIME)).map(|n| {
            let input = Bytes::from(until(n).to_string());
            host.sagas.start(StartSaga { saga_type: "order".into(), correlation_id: None, input })
        });
        started.extend(join_all(starts).await.into_iter().map(|started| started.unwrap().id));
    }
    // Sagas are driven in their order, nearly.
    loop {
        let waiting = join_all(started.iter().rev().take(AT_A_TIME).map(|id| host.sagas.status(*id))).await;
        if waiting.into_iter().all(|status| status.unwrap().activity == Activity::Waiting) {
            break;
        }
        tokio::task::yield_now().await;
    }
    started
}

/// Seconds of both cores that this process has used.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

async fn timers(host: &Arc<Host>) {
    let first = SystemClock.now().0 + 15_000_000;
    let started = start_waiting(host, TIMERS, |n| first + 1_000 * n as i64).await;
    assert!(SystemClock.now().0 < first, "they are all there before the first is due");
    for id in started {
        assert_eq!(host.sagas.wait(id, Duration::from_secs(60)).await.unwrap().state, State::Completed);
    }
    let mut late = LATE.lock().unwrap();
    late.sort_unstable();
    let at = |part: usize| late[late.len() * part / 1_000] as f64 / 1e3;
    let most = late[late.len() - 1] as f64 / 1e3;
    println!(
        "{TIMERS} timers, 1,000 due a second: late by p50 {:.1} ms, p99 {:.1} ms, at most {most:.1} ms",
        at(500),
        at(990)
    );
}

async fn waiting(host: &Arc<Host>, count: usize) {
    start_waiting(host, count, |_| 4_000_000_000_000_000).await;
    // What they have left to do, such as checkpoints, is done.
    tokio::time::sleep(QUIET).await;
    let before = cpu();
    tokio::time::sleep(QUIET).await;
    println!("{count} sagas wait: {:.2} s of CPU in {} s", cpu() - before, QUIET.as_secs());
}

async fn one(host: &Host, correlation_id: String) {
    let start = StartSaga {
        saga_type: "order".into(),
        correlation_id: Some(correlation_id),
        input: Bytes::from_static(b"{\"orderId\":\"1\"}"),
    };
    let started = host.sagas.start(start).await.unwrap();
    let status = host.sagas.wait(started.id, Duration::from_secs(30)).await.unwrap();
    assert_eq!(status.state, State::Completed);
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let location: Location = arguments.next().expect("a store").parse().unwrap();
    let count: usize = arguments.next().map_or(20_000, |count| count.parse().expect("a number"));
    let store = location.open(OpenOptions::default()).await.unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let (engine, clock, options) = (Arc::new(Native), Arc::new(SystemClock), HostOptions::default());
    let host = Host::start(HostParts { store, engine, clock, metrics, options }).await.unwrap();
    host.plugins.deploy(Bytes::from_static(b"native"), &DeployOptions::default()).await.unwrap();
    let run = Uuid::new_v4();
    let mut took = Vec::new();
    for n in 0..ALONE {
        let began = Instant::now();
        one(&host, format!("{run} alone {n}")).await;
        took.push(began.elapsed());
    }
    took.sort();
    println!("one at a time: p50 {:?}, p99 {:?}", took[ALONE / 2], took[ALONE * 99 / 100]);
    let began = Instant::now();
    let workers = (0..AT_A_TIME).map(|worker| {
        let host = Arc::clone(&host);
        tokio::spawn(async move {
            for n in 0..count / AT_A_TIME {
                one(&host, format!("{run} {worker} {n}")).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{AT_A_TIME} at a time: {:.0} sagas a second", count as f64 / seconds);
    println!("{}", host.metrics.commit_units.get_sample_sum() / host.metrics.commit_units.get_sample_count() as f64);
    timers(&host).await;
    if let Some(count) = arguments.next() {
        waiting(&host, count.parse().expect("a number")).await;
    }
    host.stop().await;
}
