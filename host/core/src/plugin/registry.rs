//! The plugins of a host: deployed, started, found, removed.
//!
//! What runs is kept in one map of immutable [`Deployment`]s. Changes are made one at a time, first in
//! the store and then in the map; look-ups never wait for them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Mutex, watch};

use super::deploy::{Checked, DeployError, Deployed, PluginNotFound, RemoveError, check_size};
use super::descriptor::{Descriptor, Kind};
use super::log::{Level, LogLine, PluginLog};
use crate::event::Position;
use crate::guest::{ComponentError, GuestEngine, GuestModule};
use crate::limits::plugin as limits;
use crate::log_id;
use crate::projection::generation::{Generation, Throttle};
use crate::projection::runner::{Runner, RunnerContext, Subject};
use crate::record::{GenerationId, GenerationRecord, GenerationState, PluginRecord, RevisionRecord};
use crate::replay::throttles;
use crate::store::{Change, Store, StoreError, Unit};
use crate::tasks::Tasks;

#[derive(Clone)]
pub struct Plugins(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) context: RunnerContext,
    engine: Arc<dyn GuestEngine>,
    pub(super) tasks: Tasks,
    /// Held by whoever changes what is deployed.
    pub(super) changing: Mutex<()>,
    deployed: RwLock<BTreeMap<String, Arc<Deployment>>>,
    generations_made: AtomicU64,
    /// Of several hosts on one store, this one runs the plugins.
    pub(super) leads: watch::Sender<bool>,
}

/// A plugin as it runs now.
#[derive(Clone)]
pub struct Deployment {
    pub record: PluginRecord,
    pub descriptor: Arc<Descriptor>,
    pub log: Arc<PluginLog>,
    /// The generation that answers queries, and one that is being built, if any.
    pub(super) serving: Option<Arc<Generation>>,
    pub(super) building: Option<Arc<Generation>>,
}

impl Deployment {
    pub fn serving(&self) -> Option<Arc<Generation>> {
        self.serving.clone()
    }

    pub fn building(&self) -> Option<Arc<Generation>> {
        self.building.clone()
    }
}

/// A revision, ready to run.
pub(super) struct Ready {
    pub(super) module: Arc<dyn GuestModule>,
    pub(super) descriptor: Arc<Descriptor>,
}

impl Plugins {
    pub(crate) fn new(context: RunnerContext, engine: Arc<dyn GuestEngine>, tasks: Tasks) -> Self {
        Self(Arc::new(Inner {
            context,
            engine,
            tasks,
            changing: Mutex::default(),
            deployed: RwLock::default(),
            generations_made: AtomicU64::new(0),
            leads: watch::Sender::new(false),
        }))
    }

    /// Checks a component without keeping it; its `describe` is run.
    pub async fn check(&self, component: Bytes) -> Result<Checked, DeployError> {
        check_size(&component)?;
        let module = self.0.engine.compile(component).await?;
        let descriptor_json = module.describe().await.map_err(DeployError::Describe)?;
        let descriptor = Descriptor::parse(&descriptor_json, module.kind())?;
        Ok(Checked { sha256: module.sha256().to_owned(), descriptor, descriptor_json })
    }

    /// Keeps a component and starts it. The first revision of a projection serves at once; a later one
    /// is built beside the serving one and takes its place when it has caught up.
    pub async fn deploy(&self, component: Bytes) -> Result<Deployed, DeployError> {
        let checked = self.check(component.clone()).await.inspect_err(|error| {
            tracing::warn!(event_id = log_id::PLUGIN_REFUSED, reason = %error, "component refused");
        })?;
        if !self.leads() {
            return Err(DeployError::Elsewhere);
        }
        let _changing = self.0.changing.lock().await;
        let name = &checked.descriptor.name;
        let current = self.deployment(name);
        if let Some(current) = &current {
            if current.record.current.sha256 == checked.sha256 {
                return Ok(Deployed { plugin: current.record.clone(), changed: false });
            }
            if current.record.kind != checked.descriptor.kind {
                let (is, wants) = (current.record.kind, checked.descriptor.kind);
                return Err(DeployError::OtherKind { name: name.clone(), is, wants });
            }
        } else if self.0.deployed().len() >= limits::PLUGINS_MAX {
            return Err(DeployError::TooMany);
        }
        let record = self.keep(&checked, current.as_deref(), component).await?;
        Ok(Deployed { plugin: record, changed: true })
    }

    /// Stores the new revision with its generation, and starts it.
    async fn keep(
        &self,
        checked: &Checked,
        current: Option<&Deployment>,
        component: Bytes,
    ) -> Result<PluginRecord, DeployError> {
        let now = self.0.context.clock.now();
        let revision = RevisionRecord {
            plugin: checked.descriptor.name.clone(),
            kind: checked.descriptor.kind,
            number: current.map_or(0, |current| current.record.current.number) + 1,
            sha256: checked.sha256.clone(),
            descriptor: checked.descriptor_json.clone(),
            deployed_at: now,
        };
        let serves = current.is_none_or(|current| current.serving.is_none());
        let generation = self.new_generation(&revision, serves);
        let mut changes = vec![
            Change::Deploy { revision: revision.clone(), component },
            Change::CreateGeneration(generation.clone()),
        ];
        let given_up = current.and_then(Deployment::building);
        changes.extend(given_up.as_ref().map(|building| retire(building.id)));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        let record = PluginRecord {
            name: revision.plugin.clone(),
            kind: revision.kind,
            created_at: current.map_or(now, |current| current.record.created_at),
            current: revision.clone(),
        };
        let log = current.map_or_else(|| Arc::new(PluginLog::new(&*record.name)), |current| Arc::clone(&current.log));
        let mut deployment = Deployment {
            record: record.clone(),
            descriptor: Arc::new(checked.descriptor.clone()),
            log,
            serving: current.and_then(Deployment::serving),
            building: None,
        };
        let ready = self.ready(&revision).await?;
        self.start_generation(&mut deployment, &generation, &ready, Throttle::default());
        self.0.put(deployment);
        if let Some(given_up) = given_up {
            self.drop_generation(given_up);
        }
        let (plugin, revision) = (&record.name, record.current.number);
        tracing::info!(
            event_id = log_id::PLUGIN_DEPLOYED,
            plugin,
            revision,
            sha256 = checked.sha256,
            "plugin deployed"
        );
        Ok(record)
    }

    pub(super) fn new_generation(&self, revision: &RevisionRecord, serves: bool) -> GenerationRecord {
        GenerationRecord {
            id: GenerationId(self.0.generations_made.fetch_add(1, Ordering::Relaxed) + 1),
            plugin: revision.plugin.clone(),
            revision: revision.number,
            state: if serves { GenerationState::Serving } else { GenerationState::Building },
            checkpoint: Position(0),
            created_at: self.0.context.clock.now(),
        }
    }

    /// A revision's module, from the compiled cache or compiled anew from the stored bytes.
    pub(super) async fn ready(&self, revision: &RevisionRecord) -> Result<Ready, DeployError> {
        let module = match self.0.engine.cached(&revision.sha256).await {
            Some(module) => module,
            None => {
                let component = self.0.context.store.component(&revision.sha256).await?;
                let missing = || ComponentError::Invalid(format!("component {} is not in the store", revision.sha256));
                self.0.engine.compile(component.ok_or_else(missing)?).await?
            }
        };
        let descriptor = Arc::new(Descriptor::parse(&revision.descriptor, revision.kind)?);
        Ok(Ready { module, descriptor })
    }

    pub(super) fn start_generation(
        &self,
        deployment: &mut Deployment,
        record: &GenerationRecord,
        ready: &Ready,
        throttle: Throttle,
    ) {
        let generation = Arc::new(Generation::new(record));
        generation.throttle.send_replace(throttle);
        match record.state {
            GenerationState::Serving => deployment.serving = Some(Arc::clone(&generation)),
            GenerationState::Building => {
                deployment.building = Some(Arc::clone(&generation));
                self.swap_when_caught_up(record.plugin.clone(), Arc::clone(&generation));
            }
            GenerationState::Retired => return,
        }
        let subject = Subject {
            plugin: record.plugin.clone(),
            module: Arc::clone(&ready.module),
            filter: ready.descriptor.filter(),
            collections: ready.descriptor.collections.iter().map(|collection| collection.name.clone()).collect(),
            log: Arc::clone(&deployment.log),
            generation,
        };
        let runner = Runner::new(self.0.context.clone(), subject);
        self.0.tasks.spawn("projection", async move {
            runner.run().await;
            Ok(())
        });
    }

    /// Starts what was deployed before the host was.
    pub(crate) async fn resume(&self) -> Result<(), StoreError> {
        let store = self.store();
        let (plugins, generations) = (store.plugins().await?, store.generations().await?);
        let revisions = store.revisions().await?;
        let throttles = throttles(&**store).await?;
        let newest = generations.iter().map(|generation| generation.id.0).max().unwrap_or(0);
        self.0.generations_made.store(newest, Ordering::Relaxed);
        for plugin in plugins {
            let own = |generation: &&GenerationRecord| generation.plugin == plugin.name;
            let generations: Vec<_> = generations.iter().filter(own).cloned().collect();
            self.resume_plugin(plugin, &generations, &revisions, &throttles).await;
        }
        for retired in generations.iter().filter(|generation| generation.state == GenerationState::Retired) {
            self.drop_generation(Arc::new(Generation::new_stopped(retired)));
        }
        Ok(())
    }

    /// A plugin that cannot be loaded stays visible, paused, and does not keep the others from running.
    async fn resume_plugin(
        &self,
        plugin: PluginRecord,
        generations: &[GenerationRecord],
        revisions: &[RevisionRecord],
        throttles: &HashMap<u64, Throttle>,
    ) {
        let descriptor = Descriptor::parse(&plugin.current.descriptor, plugin.kind)
            .unwrap_or_else(|_| Descriptor::unreadable(&plugin.name, plugin.kind));
        let log = Arc::new(PluginLog::new(&*plugin.name));
        let mut deployment =
            Deployment { record: plugin, descriptor: Arc::new(descriptor), log, serving: None, building: None };
        for record in generations.iter().filter(|generation| generation.state != GenerationState::Retired) {
            let revision = revisions.iter().find(|r| r.plugin == record.plugin && r.number == record.revision);
            let Some(revision) = revision else { continue };
            match self.ready(revision).await {
                Ok(ready) => {
                    let throttle = throttles.get(&record.id.0).copied().unwrap_or_default();
                    self.start_generation(&mut deployment, record, &ready, throttle);
                }
                Err(error) => {
                    let (plugin, reason) = (&record.plugin, error.to_string());
                    tracing::error!(event_id = log_id::PROJECTION_PAUSED, plugin, reason, "plugin could not be loaded");
                    let generation = Arc::new(Generation::new_paused(record, reason, self.0.context.clock.now()));
                    match record.state {
                        GenerationState::Serving => deployment.serving = Some(generation),
                        GenerationState::Building | GenerationState::Retired => deployment.building = Some(generation),
                    }
                }
            }
        }
        let (plugin, revision) = (&deployment.record.name, deployment.record.current.number);
        tracing::info!(event_id = log_id::PLUGIN_LOADED, plugin, revision, "plugin loaded");
        self.0.put(deployment);
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

    /// Stops a plugin and removes it with its revisions and read models.
    pub async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        if !self.leads() {
            return Err(RemoveError::Elsewhere);
        }
        let _changing = self.0.changing.lock().await;
        let deployment = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let generations: Vec<_> = deployment.serving().into_iter().chain(deployment.building()).collect();
        let mut changes = vec![Change::RemovePlugin { name: name.into() }];
        changes.extend(generations.iter().map(|generation| retire(generation.id)));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        self.0.deployed.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        for generation in generations {
            self.drop_generation(generation);
        }
        self.0.context.metrics.forget_plugin(name);
        tracing::info!(event_id = log_id::PLUGIN_REMOVED, plugin = name, "plugin removed");
        Ok(())
    }

    pub fn deployment(&self, name: &str) -> Option<Arc<Deployment>> {
        self.0.deployed().get(name).cloned()
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.context.store
    }

    pub(crate) fn tail(&self) -> Position {
        self.0.context.reader.tail().next()
    }

    /// Brings the gauges of lag up to date: they move with the log even while a projection rests.
    pub fn refresh_metrics(&self) {
        let (metrics, tail, now) = (&self.0.context.metrics, self.tail(), self.0.context.clock.now());
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
        for generation in deployed.iter().flat_map(|d| d.serving().into_iter().chain(d.building())) {
            generation.stopped().await;
        }
    }
}

impl Inner {
    fn deployed(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Deployment>>> {
        self.deployed.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, deployment: Deployment) {
        let mut deployed = self.deployed.write().unwrap_or_else(PoisonError::into_inner);
        deployed.insert(deployment.record.name.clone(), Arc::new(deployment));
    }
}

pub(super) fn retire(generation: GenerationId) -> Change {
    Change::SetGenerationState { generation, state: GenerationState::Retired }
}
