//! The plugins of a host, and what is known of each.
//!
//! What runs is kept in one map of immutable [`Deployment`]s. Changes are made one at a time, first in
//! the store and then in the map (`deploying`, `running`, `swap`); look-ups never wait for them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use super::deploy::PluginNotFound;
use super::descriptor::{Descriptor, Kind};
use super::log::{Level, LogLine, PluginLog};
use super::settings::Settings;
use super::setup::Setup;
use crate::clock::Clock;
use crate::event::Position;
use crate::guest::{GuestEngine, GuestModule, Limit};
use crate::handler;
use crate::projection::generation::Generation;
use crate::projection::runner::RunnerContext;
use crate::record::{GenerationId, GenerationState, PluginRecord};
use crate::schema::Schemas;
use crate::store::{Change, Store};
use crate::tasks::Tasks;
use crate::upcast::Lifts;

#[derive(Clone)]
pub struct Plugins(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) context: RunnerContext,
    pub(super) handlers: handler::Context,
    pub(super) engine: Arc<dyn GuestEngine>,
    pub(super) schemas: Schemas,
    /// The upcasters that every reader reads through.
    pub(super) lifts: Lifts,
    pub(super) tasks: Tasks,
    /// Held by whoever changes what is deployed.
    pub(super) changing: Mutex<()>,
    pub(super) deployed: RwLock<BTreeMap<String, Arc<Deployment>>>,
    pub(super) generations_made: AtomicU64,
    /// Moves when anything of `deployed` has changed.
    pub(super) changed: watch::Sender<u64>,
    /// Of several hosts on one store, this one runs the plugins.
    pub(super) leads: watch::Sender<bool>,
    /// What tells that this host had the lead last.
    pub(super) mark: Uuid,
}

/// A plugin as it runs now.
#[derive(Clone)]
pub struct Deployment {
    pub record: PluginRecord,
    pub descriptor: Arc<Descriptor>,
    pub setup: Arc<Setup>,
    /// What its runners follow.
    pub(super) settings: Arc<watch::Sender<Settings>>,
    pub log: Arc<PluginLog>,
    /// Number of its newest revision, which need not be the one that it runs.
    pub(super) newest: u32,
    /// The generation that answers queries, one that is being built, and one that served before, if any. A
    /// handler has one, which holds its state.
    pub(super) serving: Option<Arc<Generation>>,
    pub(super) building: Option<Arc<Generation>>,
    pub(super) standby: Option<Arc<Generation>>,
}

impl Deployment {
    pub fn serving(&self) -> Option<Arc<Generation>> {
        self.serving.clone()
    }

    /// Number of the revision that works or answers queries now. Of a projection it is another than that of the
    /// record while that one's read model is being built.
    pub fn running(&self) -> u32 {
        self.serving.as_ref().map_or(self.record.current.number, |serving| serving.revision)
    }

    pub fn building(&self) -> Option<Arc<Generation>> {
        self.building.clone()
    }

    pub fn standby(&self) -> Option<Arc<Generation>> {
        self.standby.clone()
    }

    /// One of its generations that are there.
    pub fn generation(&self, id: GenerationId) -> Option<Arc<Generation>> {
        self.generations().find(|generation| generation.id == id)
    }

    pub fn settings(&self) -> Settings {
        self.settings.borrow().clone()
    }

    pub(super) fn generations(&self) -> impl Iterator<Item = Arc<Generation>> {
        [&self.serving, &self.building, &self.standby].into_iter().flatten().cloned().collect::<Vec<_>>().into_iter()
    }
}

/// A revision, ready to run.
pub(super) struct Ready {
    pub(super) module: Arc<dyn GuestModule>,
    pub(super) descriptor: Arc<Descriptor>,
}

impl Plugins {
    pub(crate) fn new(
        context: RunnerContext,
        handlers: handler::Context,
        (engine, schemas): (Arc<dyn GuestEngine>, Schemas),
        lifts: Lifts,
        tasks: Tasks,
    ) -> Self {
        Self(Arc::new(Inner {
            context,
            handlers,
            engine,
            schemas,
            lifts,
            tasks,
            changing: Mutex::default(),
            deployed: RwLock::default(),
            generations_made: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            leads: watch::Sender::new(false),
            mark: Uuid::new_v4(),
        }))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.deployed().keys().cloned().collect()
    }

    pub fn list(&self) -> Vec<PluginRecord> {
        self.0.deployed().values().map(|deployment| deployment.record.clone()).collect()
    }

    pub fn get(&self, name: &str) -> Result<PluginRecord, PluginNotFound> {
        self.deployment(name).map(|deployment| deployment.record.clone()).ok_or_else(|| PluginNotFound(name.into()))
    }

    /// The newest `limit` lines that the plugin has logged at `level` or above, oldest first.
    pub fn logs(&self, name: &str, limit: usize, level: Level) -> Result<Vec<LogLine>, PluginNotFound> {
        let deployment = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        Ok(deployment.log.tail(limit, level))
    }

    pub fn deployment(&self, name: &str) -> Option<Arc<Deployment>> {
        self.0.deployed().get(name).cloned()
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.context.store
    }

    /// Tells whoever waits for another generation to serve.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.context.clock
    }

    pub(crate) fn tail(&self) -> Position {
        self.0.context.reader.tail().next()
    }

    /// Brings the gauges of lag up to date, which move with the log even while a projection rests, and what logs
    /// count for themselves.
    pub fn refresh_metrics(&self) {
        let (metrics, tail, now) = (&self.0.context.metrics, self.tail(), self.0.context.clock.now());
        for deployment in self.0.deployed().values() {
            let dropped = deployment.log.take_dropped();
            if dropped > 0 {
                metrics.plugins.exceeded(&deployment.record.name, Limit::LogLines, dropped);
            }
        }
        for deployment in self.0.deployed().values().filter(|d| d.record.kind == Kind::Projection) {
            let Some(serving) = &deployment.serving else { continue };
            let (name, progress) = (&[deployment.record.name.as_str()], serving.progress.borrow().clone());
            let events = tail.0.saturating_sub(progress.next.0);
            let seconds = if events == 0 { 0 } else { (now.0 - progress.seen_at.0).max(0) / 1_000_000 };
            metrics.projection_lag_events.with_label_values(name).set(i64::try_from(events).unwrap_or(i64::MAX));
            metrics.projection_lag_seconds.with_label_values(name).set(seconds);
        }
    }

    /// Stops every generation and waits until each has left its checkpoint.
    pub(crate) async fn stop(&self) {
        let deployed: Vec<_> = self.0.deployed().values().cloned().collect();
        for generation in deployed.iter().flat_map(|deployment| deployment.generations()) {
            generation.stopped().await;
        }
    }
}

impl Inner {
    pub(super) fn deployed(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Deployment>>> {
        self.deployed.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        self.deployed.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.changed.send_modify(|changed| *changed += 1);
    }

    pub(super) fn put(&self, deployment: Deployment) {
        let mut deployed = self.deployed.write().unwrap_or_else(PoisonError::into_inner);
        deployed.insert(deployment.record.name.clone(), Arc::new(deployment));
        drop(deployed);
        self.changed.send_modify(|changed| *changed += 1);
    }
}

pub(super) fn retire(generation: GenerationId) -> Change {
    Change::SetGenerationState { generation, state: GenerationState::Retired }
}
