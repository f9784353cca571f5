//! What a saga of three steps costs in engine and store alone, with steps that do nothing and are no Wasm: sagas a
//! second with 64 at a time, and the time of one by itself.
//!
//! ```sh
//! cargo run --release -p wasmill-store --example saga_rate -- sqlite:target/saga-rate.db 20000
//! ```

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for the ones who work on this crate")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_core::clock::SystemClock;
use wasmill_core::guest::{
    ComponentError, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule, SagaGuest, UpcasterGuest,
};
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::saga::StartSaga;
use wasmill_core::saga::call::{StepCall, StepOutcome};
use wasmill_core::saga::model::State;
use wasmill_store::{Location, OpenOptions};

const AT_A_TIME: usize = 64;
const ALONE: usize = 500;

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
    async fn step(&mut self, call: StepCall) -> (StepCall, Result<StepOutcome, GuestError>) {
        (call, Ok(StepOutcome::Completed(Bytes::from_static(b"{\"done\":true}"))))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
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
    let run = uuid::Uuid::new_v4();
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
    host.stop().await;
}
