//! Deploying a revision, going back to an earlier one, and removing a plugin.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::deploy::{Checked, DeployError, DeployOptions, Deployed, PluginNotFound, RemoveError, check_size};
use super::descriptor::{Descriptor, Kind};
use super::log::PluginLog;
use super::registry::{Deployment, Plugins, Ready, retire};
use super::settings::Settings;
use super::setup::{Setup, SetupChange};
use crate::group::Start;
use crate::guest::ComponentError;
use crate::handler;
use crate::limits::plugin as limits;
use crate::log_id;
use crate::own;
use crate::projection::generation::Throttle;
use crate::record::{GenerationId, GenerationRecord, PluginRecord, RevisionRecord};
use crate::schema::NewSchema;
use crate::store::{Change, Unit};

impl Plugins {
    /// Checks a component without keeping it; its `describe` is run.
    pub async fn check(&self, component: Bytes) -> Result<Checked, DeployError> {
        check_size(&component)?;
        let module = self.0.engine.compile(component).await?;
        let descriptor_json = module.describe().await.map_err(DeployError::Describe)?;
        let descriptor = Descriptor::parse(&descriptor_json, module.kind())?;
        Ok(Checked { sha256: module.sha256().to_owned(), descriptor, descriptor_json })
    }

    /// Keeps a component as a new revision, and runs it. The first revision of a projection serves at once; a
    /// later one is built beside the serving one and takes its place when it has caught up. A handler goes on
    /// where its last revision was.
    pub async fn deploy(&self, component: Bytes, options: &DeployOptions) -> Result<Deployed, DeployError> {
        let checked = self.check(component.clone()).await.inspect_err(|error| {
            tracing::warn!(event_id = log_id::PLUGIN_REFUSED, reason = %error, "component refused");
        })?;
        if !self.leads() {
            return Err(DeployError::Elsewhere);
        }
        let _changing = self.0.changing.lock().await;
        let name = &checked.descriptor.name;
        let current = self.deployment(name);
        match &current {
            Some(current) if current.record.kind != checked.descriptor.kind => {
                let (is, wants) = (current.record.kind, checked.descriptor.kind);
                return Err(DeployError::OtherKind { name: name.clone(), is, wants });
            }
            None if self.names().len() >= limits::PLUGINS_MAX => return Err(DeployError::TooMany),
            _ => {}
        }
        let before = current.as_ref().map(|current| (*current.setup).clone()).unwrap_or_default();
        let setup = before.changed(&options.setup, &checked.descriptor).map_err(DeployError::Setup)?;
        if let Some(current) = &current
            && current.record.current.sha256 == checked.sha256
            && *current.setup == setup
        {
            return Ok(Deployed { plugin: current.record.clone(), changed: false });
        }
        let before = match &current {
            Some(current) => current.newest,
            None if checked.descriptor.kind == Kind::Saga => self.last_saga_revision(name).await?,
            None => 0,
        };
        let revision = RevisionRecord {
            plugin: name.clone(),
            kind: checked.descriptor.kind,
            number: before + 1,
            sha256: checked.sha256.clone(),
            descriptor: checked.descriptor_json.clone(),
            setup: setup.to_json(),
            deployed_at: self.0.context.clock.now(),
        };
        let schemas: Vec<NewSchema> = checked.descriptor.schemas.iter().map(NewSchema::from).collect();
        if !schemas.is_empty() {
            // What is registered stays, should the deployment fail: it is what the plugin's author says of the types.
            self.0.schemas.register_all(&schemas).await?;
        }
        let record = self.run_revision(revision, current.as_deref(), component, options.start).await?;
        Ok(Deployed { plugin: record, changed: true })
    }

    /// Changes the configuration or the grants of a plugin, which is a new revision of the same component.
    pub async fn configure(&self, name: &str, change: SetupChange) -> Result<Deployed, DeployError> {
        let current = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let component = self.component(&current.record.current.sha256).await?;
        self.deploy(component, &DeployOptions { setup: change, ..DeployOptions::default() }).await
    }

    /// Every revision of a plugin, the oldest first.
    pub async fn revisions(&self, name: &str) -> Result<Vec<RevisionRecord>, DeployError> {
        self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let revisions = self.store().revisions().await?;
        Ok(revisions.into_iter().filter(|revision| revision.plugin == name).collect())
    }

    /// A revision with its component; without a number the one that works or answers queries now.
    pub async fn revision(&self, name: &str, number: Option<u32>) -> Result<(RevisionRecord, Bytes), DeployError> {
        let deployment = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let number = number.unwrap_or_else(|| deployment.running());
        let found = self.revisions(name).await?.into_iter().find(|revision| revision.number == number);
        let revision = found.ok_or_else(|| DeployError::RevisionNotFound { name: name.into(), number })?;
        let component = self.component(&revision.sha256).await?;
        Ok((revision, component))
    }

    /// Goes back to an earlier revision: the one before without a number. A read model that is kept up to date
    /// for that serves again at once; otherwise it is built.
    pub async fn roll_back(&self, name: &str, to: Option<u32>) -> Result<PluginRecord, DeployError> {
        if !self.leads() {
            return Err(DeployError::Elsewhere);
        }
        let _changing = self.0.changing.lock().await;
        let current = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let revisions = self.revisions(name).await?;
        let now = current.record.current.number;
        let before = revisions.iter().rev().find(|revision| match to {
            Some(number) => revision.number == number,
            None => revision.number < now,
        });
        let Some(revision) = before.filter(|revision| revision.number != now) else {
            return Err(DeployError::NoRevision { name: name.into(), wanted: to, current: now });
        };
        let component = self.component(&revision.sha256).await?;
        let standby = current.standby().filter(|standby| standby.revision == revision.number);
        match standby {
            Some(standby) => self.swap_back(&current, &standby, revision.clone(), component).await,
            None => self.run_revision(revision.clone(), Some(&current), component, None).await,
        }
    }

    async fn component(&self, sha256: &str) -> Result<Bytes, DeployError> {
        let component = self.store().component(sha256).await?;
        let missing = || ComponentError::Invalid(format!("component {sha256} is not in the store"));
        Ok(component.ok_or_else(missing)?)
    }

    /// Stores a revision as the current one and runs it.
    async fn run_revision(
        &self,
        revision: RevisionRecord,
        current: Option<&Deployment>,
        component: Bytes,
        start: Option<Start>,
    ) -> Result<PluginRecord, DeployError> {
        let ready = match self.0.engine.cached(&revision.sha256).await {
            Some(module) => {
                Ready { module, descriptor: Arc::new(Descriptor::parse(&revision.descriptor, revision.kind)?) }
            }
            None => {
                let module = self.0.engine.compile(component.clone()).await?;
                Ready { module, descriptor: Arc::new(Descriptor::parse(&revision.descriptor, revision.kind)?) }
            }
        };
        let mut deployment = self.deployment_of(&revision, current, &ready).await?;
        let deploy = Change::Deploy { revision: revision.clone(), component };
        match revision.kind {
            Kind::Projection => self.run_projection(deploy, &mut deployment, &ready).await?,
            Kind::Handler => self.run_handler(deploy, &mut deployment, &ready, start).await?,
            Kind::Upcaster => self.run_upcaster(deploy, &deployment, &ready).await?,
            Kind::Saga => {
                let mut unit = own::unit(Vec::new(), vec![super::saga::descriptor_document(&revision)]);
                unit.changes.push(deploy);
                self.0.context.committer.commit(unit).await?;
                self.0.put(deployment.clone());
            }
        }
        let (plugin, number, sha256) = (&revision.plugin, revision.number, &revision.sha256);
        tracing::info!(event_id = log_id::PLUGIN_DEPLOYED, plugin, revision = number, sha256, "plugin deployed");
        Ok(deployment.record)
    }

    async fn deployment_of(
        &self,
        revision: &RevisionRecord,
        current: Option<&Deployment>,
        ready: &Ready,
    ) -> Result<Deployment, DeployError> {
        let (_, settings) = Settings::load(&**self.store(), &revision.plugin).await?;
        let record = PluginRecord {
            name: revision.plugin.clone(),
            kind: revision.kind,
            created_at: current.map_or(revision.deployed_at, |current| current.record.created_at),
            current: revision.clone(),
        };
        let log = current.map_or_else(|| Arc::new(PluginLog::new(&*record.name)), |current| Arc::clone(&current.log));
        Ok(Deployment {
            record,
            descriptor: Arc::clone(&ready.descriptor),
            setup: Arc::new(Setup::parse(&revision.setup)),
            settings: current
                .map_or_else(|| Arc::new(watch::Sender::new(settings)), |current| Arc::clone(&current.settings)),
            log,
            newest: revision.number.max(current.map_or(0, |current| current.newest)),
            serving: current.and_then(Deployment::serving),
            building: None,
            standby: current.and_then(Deployment::standby),
        })
    }

    async fn run_projection(
        &self,
        deploy: Change,
        deployment: &mut Deployment,
        ready: &Ready,
    ) -> Result<(), DeployError> {
        let generation = self.new_generation(&deployment.record.current, deployment.serving.is_none());
        let given_up = self.deployment(&deployment.record.name).and_then(|current| current.building());
        let mut changes = vec![deploy, Change::CreateGeneration(generation.clone())];
        changes.extend(given_up.as_ref().map(|building| retire(building.id)));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        self.start_generation(deployment, &generation, ready, Throttle::default()).await?;
        self.0.put(deployment.clone());
        self.verify_later(deployment, ready);
        if let Some(given_up) = given_up {
            self.drop_generation(given_up);
        }
        Ok(())
    }

    async fn run_handler(
        &self,
        deploy: Change,
        deployment: &mut Deployment,
        ready: &Ready,
        start: Option<Start>,
    ) -> Result<(), DeployError> {
        let mut changes = vec![deploy];
        let (serving, record) = match deployment.serving.take() {
            Some(serving) => {
                let number = deployment.record.current.number;
                let record = GenerationRecord { revision: number, ..self.generation_record(serving.id).await? };
                (Some(serving), record)
            }
            None => (None, self.new_generation(&deployment.record.current, true)),
        };
        changes.push(Change::CreateGeneration(record.clone()));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        let group = handler::group_of(&deployment.record.name);
        let groups = &self.0.handlers.groups;
        let config = handler::config(&ready.descriptor, &deployment.settings());
        let first = groups.position_for(&config, start.unwrap_or(Start::Last)).await?;
        groups.put_own(&group, config, first).await?;
        if let Some(serving) = serving {
            serving.stopped().await;
        }
        self.start_handler(deployment, &record, ready);
        self.0.put(deployment.clone());
        Ok(())
    }

    async fn run_upcaster(&self, deploy: Change, deployment: &Deployment, ready: &Ready) -> Result<(), DeployError> {
        let revision = &deployment.record.current;
        let (stored, before) = self.stored_set(None).await?;
        let next = before.next(&revision.plugin, Some(revision.number));
        let set = Arc::new(self.make_set(&next, Some((revision, ready))).await?);
        let (guard, documents) = next.put(stored);
        let mut unit = own::unit(vec![guard], documents);
        unit.changes.push(deploy);
        self.0.context.committer.commit(unit).await?;
        self.0.put(deployment.clone());
        let before = self.0.lifts.current();
        self.0.lifts.replace(Arc::clone(&set));
        tracing::info!(event_id = log_id::UPCASTERS_CHANGED, set = set.number(), "upcasters changed");
        self.rebuild_lifted(&before, &set).await;
        Ok(())
    }

    pub(super) async fn generation_record(&self, id: GenerationId) -> Result<GenerationRecord, DeployError> {
        let generations = self.store().generations().await?;
        let found = generations.into_iter().find(|generation| generation.id == id);
        found.ok_or(DeployError::Store(crate::store::StoreError::Damaged { what: format!("generation {id}") }))
    }

    /// Stops a plugin and removes it with its revisions, read models and state.
    pub async fn remove(&self, name: &str) -> Result<(), RemoveError> {
        if !self.leads() {
            return Err(RemoveError::Elsewhere);
        }
        let _changing = self.0.changing.lock().await;
        let deployment = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let mut changes = vec![Change::RemovePlugin { name: name.into() }];
        changes.extend(deployment.generations().map(|generation| retire(generation.id)));
        let mut documents = vec![own::document(super::settings::COLLECTION, name.into(), None)];
        let mut guards = Vec::new();
        let mut lifts = None;
        if deployment.record.kind == Kind::Upcaster {
            let (stored, before) = self.stored_set(None).await?;
            let next = before.next(name, None);
            lifts = Some(Arc::new(self.make_set(&next, None).await?));
            let (guard, put) = next.put(stored);
            guards.push(guard);
            documents.extend(put);
        }
        let mut unit = own::unit(guards, documents);
        unit.changes.extend(changes);
        self.0.context.committer.commit(unit).await?;
        self.0.deployed.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
        self.0.changed.send_modify(|changed| *changed += 1);
        for generation in deployment.generations() {
            self.drop_generation(generation);
        }
        if deployment.record.kind == Kind::Handler {
            // What is left of it when this fails is a group without members, which can be deleted by hand.
            let _ = self.0.handlers.groups.delete_own(&handler::group_of(name)).await;
        }
        if let Some(set) = lifts {
            let before = self.0.lifts.current();
            self.0.lifts.replace(Arc::clone(&set));
            self.rebuild_lifted(&before, &set).await;
        }
        self.0.context.metrics.forget_plugin(name);
        tracing::info!(event_id = log_id::PLUGIN_REMOVED, plugin = name, "plugin removed");
        Ok(())
    }
}
