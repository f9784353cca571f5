//! Revisions of sagas, for the engine that drives them.

use std::sync::Arc;

use tokio::sync::watch;

use super::deploy::DeployError;
use super::descriptor::{Descriptor, Kind};
use super::log::PluginLog;
use super::registry::Plugins;
use super::settings::Settings;
use super::setup::Setup;
use crate::guest::GuestModule;
use crate::record::RevisionRecord;
use crate::store::StoreError;

/// What it takes to call the steps of a revision.
pub(crate) struct Callable {
    pub(crate) module: Arc<dyn GuestModule>,
    pub(crate) descriptor: Arc<Descriptor>,
    pub(crate) setup: Setup,
    pub(crate) log: Arc<PluginLog>,
    pub(crate) settings: watch::Receiver<Settings>,
}

impl Plugins {
    /// A revision of a saga as it was stored, on whichever host this is; its current one without a number.
    pub(crate) async fn saga_revision(
        &self,
        name: &str,
        number: Option<u32>,
    ) -> Result<Option<RevisionRecord>, StoreError> {
        if let Some(current) = self.deployment(name).map(|deployment| deployment.record.current.clone())
            && number.is_none_or(|number| number == current.number)
        {
            return Ok(Some(current).filter(|revision| revision.kind == Kind::Saga));
        }
        let number = match number {
            Some(number) => number,
            None => {
                let plugins = self.store().plugins().await?;
                match plugins.into_iter().find(|plugin| plugin.name == name) {
                    Some(plugin) => plugin.current.number,
                    None => return Ok(None),
                }
            }
        };
        let mut revisions = self.store().revisions().await?.into_iter();
        Ok(revisions.find(|r| r.plugin == name && r.number == number && r.kind == Kind::Saga))
    }

    /// The same with its code, on the host that has the lead.
    pub(crate) async fn callable(&self, revision: &RevisionRecord) -> Result<Callable, DeployError> {
        let ready = self.ready(revision).await?;
        let deployment = self.deployment(&revision.plugin);
        let deployment = deployment.ok_or_else(|| super::deploy::PluginNotFound(revision.plugin.clone()))?;
        Ok(Callable {
            module: ready.module,
            descriptor: ready.descriptor,
            setup: Setup::parse(&revision.setup),
            log: Arc::clone(&deployment.log),
            settings: deployment.settings.subscribe(),
        })
    }

    /// The sagas that are deployed, each with the number of its current revision.
    pub(crate) fn sagas(&self) -> Vec<(Arc<Descriptor>, u32)> {
        let deployed = self.0.deployed();
        let sagas = deployed.values().filter(|deployment| deployment.record.kind == Kind::Saga);
        sagas.map(|saga| (Arc::clone(&saga.descriptor), saga.record.current.number)).collect()
    }
}
