//! Revisions of sagas, for the engine that drives them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::deploy::DeployError;
use super::descriptor::{Descriptor, Kind};
use super::log::PluginLog;
use super::registry::Plugins;
use super::settings::Settings;
use super::setup::Setup;
use crate::guest::GuestModule;
use crate::own::{self, SEPARATOR, document};
use crate::record::RevisionRecord;
use crate::store::{DocumentChange, StoreError};

/// Descriptors of sagas, by plugin and revision. They stay when the plugin is removed: what is stored of its sagas is
/// read by them.
const DESCRIPTORS: &str = "saga-descriptor";

/// Each may have 64 KiB.
const REVISIONS_READ: usize = 64;

fn key(name: &str, number: u32) -> String {
    format!("{name}{SEPARATOR}{number:08}")
}

pub(super) fn descriptor_document(revision: &RevisionRecord) -> DocumentChange {
    let descriptor = revision.descriptor.clone().into();
    document(DESCRIPTORS, key(&revision.plugin, revision.number), Some(descriptor))
}

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

    /// What a revision says of itself, be its plugin still there or not.
    pub(crate) async fn saga_descriptor(&self, name: &str, number: u32) -> Result<Option<Bytes>, StoreError> {
        own::read(&**self.store(), DESCRIPTORS, &key(name, number)).await
    }

    /// The highest number that a revision of a saga of this name ever had: a plugin that was removed and is deployed
    /// again goes on from there, so that its earlier sagas are never taken for those of a later revision.
    pub(super) async fn last_saga_revision(&self, name: &str) -> Result<u32, StoreError> {
        let (prefix, mut after, mut last) = (format!("{name}{SEPARATOR}"), None, 0);
        loop {
            let page = own::page(&**self.store(), DESCRIPTORS, &prefix, after.as_deref(), REVISIONS_READ).await?;
            after = page.documents.last().map(|document| document.key.clone());
            let number = after.as_deref().and_then(|key| key.rsplit(SEPARATOR).next()?.parse().ok());
            last = number.unwrap_or(last);
            if !page.more {
                return Ok(last);
            }
        }
    }

    /// A revision with its code, on the host that has the lead.
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
