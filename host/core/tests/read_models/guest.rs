//! A projection whose component is its descriptor and whose events say what to write.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;
use wasmill_core::clock::{Clock, ManualClock, Timestamp};
use wasmill_core::event::{NewEvent, Position};
use wasmill_core::guest::{
    Batch, ComponentError, Guest, GuestEngine, GuestEnvironment, GuestError, GuestModule, UpcasterGuest,
};
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::plugin::deploy::DeployOptions;
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::projection::field::Field;
use wasmill_core::projection::query::condition::Condition;
use wasmill_core::projection::query::find::{Found, Query};
use wasmill_core::projection::query::plan::Sort;
use wasmill_core::projection::query::{Answer, QueryError, WaitFor, parse};
use wasmill_core::store::Store;

#[derive(Default)]
pub(crate) struct Engine {
    compiled: Mutex<HashMap<String, Bytes>>,
    /// Whether numbers are written one greater than they are told: a plugin that is no function of its events.
    pub(crate) errs: Arc<AtomicBool>,
}

struct Module {
    descriptor: Bytes,
    sha256: String,
    errs: Arc<AtomicBool>,
}

struct Told {
    errs: Arc<AtomicBool>,
}

impl Engine {
    fn module(&self, sha256: &str, descriptor: Bytes) -> Arc<dyn GuestModule> {
        Arc::new(Module { descriptor, sha256: sha256.to_owned(), errs: Arc::clone(&self.errs) })
    }
}

#[async_trait]
impl GuestEngine for Engine {
    async fn cached(&self, sha256: &str) -> Option<Arc<dyn GuestModule>> {
        let descriptor = self.compiled.lock().unwrap().get(sha256).cloned()?;
        Some(self.module(sha256, descriptor))
    }

    async fn compile(&self, component: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        let sha256 = format!("{component:x?}");
        self.compiled.lock().unwrap().insert(sha256.clone(), component.clone());
        Ok(self.module(&sha256, component))
    }
}

#[async_trait]
impl GuestModule for Module {
    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn kind(&self) -> Kind {
        Kind::Projection
    }

    async fn describe(&self) -> Result<String, GuestError> {
        Ok(String::from_utf8(self.descriptor.to_vec()).unwrap())
    }

    async fn start(&self, _: GuestEnvironment) -> Result<Box<dyn Guest>, GuestError> {
        Ok(Box::new(Told { errs: Arc::clone(&self.errs) }))
    }

    async fn start_upcaster(&self, _: GuestEnvironment) -> Result<Box<dyn UpcasterGuest>, GuestError> {
        unreachable!("it is a projection")
    }
}

#[async_trait]
impl Guest for Told {
    async fn call(&mut self, mut batch: Batch) -> (Batch, Result<(), GuestError>) {
        let state = &mut batch.state;
        for event in batch.events.iter() {
            let told: Vec<(String, String, Value)> = serde_json::from_slice(event.data()).unwrap();
            for (collection, key, mut value) in told {
                if let (true, Some(number)) = (self.errs.load(Ordering::SeqCst), value["n"].as_i64()) {
                    value["n"] = json!(number + 1);
                }
                // Half of what is changed was read before, as guests do.
                if key.len().is_multiple_of(2) {
                    state.get(&collection, &key).await.unwrap();
                }
                let document = (value != json!("remove")).then(|| Bytes::from(value.to_string()));
                state.put(&collection, &key, document).unwrap();
            }
        }
        (batch, Ok(()))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

pub(crate) async fn host_over<S: Store>(store: &Arc<S>, engine: &Arc<Engine>, clock: &ManualClock) -> Arc<Host> {
    let (store, engine) = (Arc::clone(store) as Arc<dyn Store>, Arc::clone(engine) as Arc<dyn GuestEngine>);
    let (clock, metrics) = (Arc::new(clock.clone()) as Arc<dyn Clock>, Arc::new(Metrics::new().unwrap()));
    Host::start(HostParts { store, engine, clock, metrics, options: HostOptions::default() }).await.unwrap()
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(Timestamp(1_000_000))
}

/// Deploys the projection `p` with collections, each with its indexes; `version` makes another revision.
pub(crate) async fn deploy(host: &Host, version: &str, collections: &[(&str, &[&str])]) {
    let indexes = |fields: &[&str]| fields.iter().map(|field| json!({ "field": field })).collect::<Vec<_>>();
    let collections: Vec<Value> =
        collections.iter().map(|(name, fields)| json!({ "name": name, "indexes": indexes(fields) })).collect();
    let descriptor =
        json!({ "name": "p", "version": version, "kind": "projection", "collections": collections }).to_string();
    assert!(host.plugins.deploy(Bytes::from(descriptor), &DeployOptions::default()).await.unwrap().changed);
}

/// Each event: collection, key, and what to write; `"remove"` removes.
pub(crate) async fn publish(host: &Host, events: Vec<Vec<(&str, &str, Value)>>) -> Position {
    let event = |told: Vec<(&str, &str, Value)>| NewEvent {
        id: Uuid::now_v7(),
        event_type: "told".into(),
        data: Bytes::from(json!(told).to_string()),
        ..NewEvent::default()
    };
    let events = events.into_iter().map(event).collect();
    let append = Append { stream: "s".into(), events, ..Append::default() };
    host.publisher.append(append).await.unwrap().last_position()
}

pub(crate) fn wait(position: Position) -> Option<WaitFor> {
    Some(WaitFor { position, timeout: Duration::from_secs(20) })
}

/// A query as the faces make it.
pub(crate) fn query(conditions: &[&str], sort: &str, limit: usize) -> Query {
    let conditions: Vec<String> = conditions.iter().map(|text| (*text).to_owned()).collect();
    let condition: Condition = parse::condition(&conditions, None, ["where", "where"]).unwrap();
    let sort = if sort.is_empty() { Sort::Any } else { Sort::parse(sort).unwrap() };
    Query { condition, sort, limit, ..Query::default() }
}

pub(crate) async fn find(host: &Host, collection: &str, query: &Query) -> Result<Answer<Found>, QueryError> {
    host.projections.find("p", collection, query, None).await
}

pub(crate) fn keys(found: &Found) -> Vec<&str> {
    found.documents.iter().map(|document| document.key.as_str()).collect()
}

pub(crate) fn field(path: &str) -> Field {
    Field::new(path).unwrap()
}

/// Waits until a condition of the host holds.
pub(crate) async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.expect("it comes to be")
}
