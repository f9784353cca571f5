//! Running what is deployed: at the start of the host, and as its operators want.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::deploy::DeployError;
use super::descriptor::{Descriptor, Kind};
use super::log::PluginLog;
use super::registry::{Deployment, Plugins, Ready};
use super::settings::{Settings, Wanted};
use super::setup::Setup;
use crate::event::Position;
use crate::guest::ComponentError;
use crate::handler;
use crate::log_id;
use crate::projection::generation::{Generation, Throttle};
use crate::projection::runner::{Runner, Subject};
use crate::record::{GenerationId, GenerationRecord, GenerationState, PluginRecord, RevisionRecord};
use crate::replay::throttles;
use crate::store::StoreError;

impl Plugins {
    pub(super) fn new_generation(&self, revision: &RevisionRecord, serves: bool) -> GenerationRecord {
        GenerationRecord {
            id: GenerationId(self.0.generations_made.fetch_add(1, Ordering::Relaxed) + 1),
            plugin: revision.plugin.clone(),
            revision: revision.number,
            state: if serves { GenerationState::Serving } else { GenerationState::Building },
            checkpoint: Position(0),
            lifts: self.0.lifts.current().number(),
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

    /// Runs a generation of a projection, in the place that its state says.
    pub(super) async fn start_generation(
        &self,
        deployment: &mut Deployment,
        record: &GenerationRecord,
        ready: &Ready,
        throttle: Throttle,
    ) -> Result<(), DeployError> {
        let lifts = self.lift_set(record.lifts).await?;
        let generation = Arc::new(Generation::new(record));
        generation.describe(Arc::clone(&ready.descriptor));
        let settings = deployment.settings();
        generation.throttle.send_replace(throttled(throttle, &settings, record.state));
        // What it has not looked at yet is at least not older than the build, or this host.
        generation.progress.send_modify(|progress| progress.seen_at = self.0.context.clock.now());
        match record.state {
            GenerationState::Serving => deployment.serving = Some(Arc::clone(&generation)),
            GenerationState::Standby => {
                deployment.standby = Some(Arc::clone(&generation));
                self.retire_standby_later(record.plugin.clone(), generation.id);
            }
            GenerationState::Building => {
                deployment.building = Some(Arc::clone(&generation));
                self.swap_when_caught_up(record.plugin.clone(), Arc::clone(&generation));
            }
            GenerationState::Retired => return Ok(()),
        }
        let setup = Arc::clone(&deployment.setup);
        let subject = Subject {
            plugin: record.plugin.clone(),
            module: Arc::clone(&ready.module),
            config: setup.pairs(&ready.descriptor),
            filter: ready.descriptor.filter(),
            lifts,
            collections: ready.descriptor.collections.clone(),
            log: Arc::clone(&deployment.log),
            generation,
            settings: deployment.settings.subscribe(),
            by_key: ready.descriptor.by_key,
        };
        let runner = Runner::new(self.0.context.clone(), subject);
        self.0.tasks.spawn("projection", async move {
            runner.run().await;
            Ok(())
        });
        Ok(())
    }

    pub(super) fn start_handler(&self, deployment: &mut Deployment, record: &GenerationRecord, ready: &Ready) {
        let generation = Arc::new(Generation::new(record));
        let settings = deployment.settings();
        generation.throttle.send_replace(throttled(Throttle::default(), &settings, record.state));
        deployment.serving = Some(Arc::clone(&generation));
        let subject = handler::Subject {
            plugin: record.plugin.clone(),
            module: Arc::clone(&ready.module),
            config: deployment.setup.pairs(&ready.descriptor),
            appends_to: deployment.setup.appends_to(),
            collections: ready.descriptor.collections.iter().map(|collection| collection.name.clone()).collect(),
            log: Arc::clone(&deployment.log),
            generation,
            settings: deployment.settings.subscribe(),
        };
        let runner = handler::Runner::new(self.0.handlers.clone(), subject);
        self.0.tasks.spawn("handler", async move {
            runner.run().await;
            Ok(())
        });
    }

    /// Starts what was deployed before the host was.
    pub(crate) async fn resume(&self) -> Result<(), StoreError> {
        // A build that is as far as it has to be waits with its swap until its plugin is known.
        let _changing = self.0.changing.lock().await;
        let store = self.store();
        let (plugins, generations) = (store.plugins().await?, store.generations().await?);
        let revisions = store.revisions().await?;
        let throttles = throttles(&**store).await?;
        let newest = generations.iter().map(|generation| generation.id.0).max().unwrap_or(0);
        self.0.generations_made.store(newest, Ordering::Relaxed);
        for plugin in plugins {
            let own = |generation: &&GenerationRecord| generation.plugin == plugin.name;
            let generations: Vec<_> = generations.iter().filter(own).cloned().collect();
            self.resume_plugin(plugin, &generations, &revisions, &throttles).await?;
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
    ) -> Result<(), StoreError> {
        let descriptor = Descriptor::parse(&plugin.current.descriptor, plugin.kind)
            .unwrap_or_else(|_| Descriptor::unreadable(&plugin.name, plugin.kind));
        let (_, mut settings) = Settings::load(&**self.store(), &plugin.name).await?;
        if settings.auto_start == Some(false) && settings.wanted == Wanted::Running {
            settings.wanted = Wanted::Stopped;
        }
        let of_plugin = revisions.iter().filter(|revision| revision.plugin == plugin.name);
        let mut deployment = Deployment {
            newest: of_plugin.map(|revision| revision.number).max().unwrap_or_default(),
            setup: Arc::new(Setup::parse(&plugin.current.setup)),
            settings: Arc::new(watch::Sender::new(settings)),
            log: Arc::new(PluginLog::new(&*plugin.name)),
            record: plugin,
            descriptor: Arc::new(descriptor),
            serving: None,
            building: None,
            standby: None,
        };
        for record in generations.iter().filter(|generation| generation.state != GenerationState::Retired) {
            let revision = revisions.iter().find(|r| r.plugin == record.plugin && r.number == record.revision);
            let Some(revision) = revision else { continue };
            let throttle = throttles.get(&record.id.0).copied().unwrap_or_default();
            if let Err(error) = self.resume_generation(&mut deployment, record, revision, throttle).await {
                let (plugin, reason) = (&record.plugin, error.to_string());
                tracing::error!(event_id = log_id::PROJECTION_PAUSED, plugin, reason, "plugin could not be loaded");
                let generation = Arc::new(Generation::new_paused(record, reason, self.0.context.clock.now()));
                if let Ok(descriptor) = Descriptor::parse(&revision.descriptor, revision.kind) {
                    generation.describe(Arc::new(descriptor));
                }
                match record.state {
                    GenerationState::Serving => deployment.serving = Some(generation),
                    GenerationState::Standby => deployment.standby = Some(generation),
                    GenerationState::Building | GenerationState::Retired => deployment.building = Some(generation),
                }
            }
        }
        let (plugin, revision) = (&deployment.record.name, deployment.record.current.number);
        tracing::info!(event_id = log_id::PLUGIN_LOADED, plugin, revision, "plugin loaded");
        self.0.put(deployment);
        Ok(())
    }

    async fn resume_generation(
        &self,
        deployment: &mut Deployment,
        record: &GenerationRecord,
        revision: &RevisionRecord,
        throttle: Throttle,
    ) -> Result<(), DeployError> {
        let ready = self.ready(revision).await?;
        if revision.kind == Kind::Handler {
            self.start_handler(deployment, record, &ready);
            return Ok(());
        }
        // A generation keeps the configuration of its revision, whatever the current one's is.
        let setup = std::mem::replace(&mut deployment.setup, Arc::new(Setup::parse(&revision.setup)));
        let started = self.start_generation(deployment, record, &ready, throttle).await;
        deployment.setup = setup;
        started
    }

    /// Changes how a plugin is run; what it does takes effect at once, but for partitions. Whether it is to run
    /// is said by `wanted` alone: without, what was said last stays stored, and a plugin that did not start with
    /// the host stays as it is, which need not be the same.
    pub async fn change_settings(
        &self,
        name: &str,
        wanted: Option<Wanted>,
        change: impl Fn(&mut Settings) + Send,
    ) -> Result<Settings, DeployError> {
        if !self.leads() {
            return Err(DeployError::Elsewhere);
        }
        let _changing = self.0.changing.lock().await;
        let deployment = self.deployment(name).ok_or_else(|| super::deploy::PluginNotFound(name.into()))?;
        let (stored, mut settings) = Settings::load(&**self.store(), name).await?;
        let wanted_before = settings.wanted;
        change(&mut settings);
        settings.wanted = wanted.unwrap_or(wanted_before);
        settings.check().map_err(DeployError::Settings)?;
        let (guard, document) = settings.put(name, stored);
        self.0.context.committer.commit(crate::own::unit(vec![guard], vec![document])).await?;
        if deployment.record.kind == Kind::Handler {
            let config = handler::config(&deployment.descriptor, &settings);
            self.0.handlers.groups.put_own(&handler::group_of(name), config, Position(0)).await?;
        }
        settings.wanted = wanted.unwrap_or(deployment.settings().wanted);
        deployment.settings.send_replace(settings.clone());
        let states = [
            (&deployment.serving, GenerationState::Serving),
            (&deployment.building, GenerationState::Building),
            (&deployment.standby, GenerationState::Standby),
        ];
        for (generation, state) in
            states.into_iter().filter_map(|(generation, state)| Some((generation.as_ref()?, state)))
        {
            generation.throttle.send_modify(|throttle| *throttle = throttled(*throttle, &settings, state));
            generation.progress.send_modify(|_| {});
        }
        tracing::info!(event_id = log_id::PLUGIN_CHANGED, plugin = name, "settings changed");
        Ok(settings)
    }

    /// Lets it work off what the log has now, then pauses it. Answers when it has, or `false` after `wait`.
    pub async fn drain(&self, name: &str, wait: std::time::Duration) -> Result<bool, DeployError> {
        let deployment = self.deployment(name).ok_or_else(|| super::deploy::PluginNotFound(name.into()))?;
        let tail = self.tail();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let next = match (deployment.record.kind, &deployment.serving) {
                (Kind::Handler, _) => self.0.handlers.groups.status(&handler::group_of(name)).await?.position,
                (_, Some(serving)) => serving.next(),
                (_, None) => tail,
            };
            if next >= tail {
                break;
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        self.change_settings(name, Some(Wanted::Paused), |_| {}).await?;
        Ok(true)
    }
}

/// Between two looks at how far a plugin is that drains.
const DRAIN_LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// A throttle as it is with these settings.
fn throttled(throttle: Throttle, settings: &Settings, state: GenerationState) -> Throttle {
    Throttle {
        held: settings.wanted != Wanted::Running,
        cold: settings.wanted == Wanted::Stopped,
        build_events_per_second: settings.build_events_per_second.filter(|_| state == GenerationState::Building),
        ..throttle
    }
}
