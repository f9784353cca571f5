//! Which upcasters there are: one document that all hosts of a store follow.
//!
//! Each change makes a new set with a number of its own. Sets are kept, since a read model is made by the set
//! that it was begun with; it is built anew when a change could make a difference to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::deploy::DeployError;
use super::log::PluginLog;
use super::registry::{Plugins, Ready};
use super::setup::Setup;
use crate::guest::GuestEnvironment;
use crate::log_id;
use crate::own::{self, document, guard};
use crate::projection::generation::Throttle;
use crate::record::RevisionRecord;
use crate::store::{DocumentChange, Guard, StoreError};
use crate::upcast::{LiftSet, Upcaster};

const COLLECTION: &str = "upcasters";
const CURRENT: &str = "current";

/// Between two looks at what other hosts have deployed.
const LOOK: Duration = Duration::from_secs(1);

/// One set as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredSet {
    pub(super) number: u64,
    pub(super) upcasters: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) plugin: String,
    pub(super) revision: u32,
}

impl StoredSet {
    fn key(number: u64) -> String {
        format!("{number:016}")
    }

    /// The set that follows when a plugin has another revision, or none any more.
    pub(super) fn next(&self, plugin: &str, revision: Option<u32>) -> Self {
        let mut upcasters = self.upcasters.clone();
        upcasters.retain(|member| member.plugin != plugin);
        upcasters.extend(revision.map(|revision| Member { plugin: plugin.to_owned(), revision }));
        upcasters.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        Self { number: self.number + 1, upcasters }
    }

    /// What makes it the one that all use, if what is stored now is still `before`.
    pub(super) fn put(&self, before: Option<Bytes>) -> (Guard, Vec<DocumentChange>) {
        let value: Bytes = serde_json::to_vec(self).expect("it has only texts and numbers").into();
        let documents = vec![
            document(COLLECTION, CURRENT.into(), Some(value.clone())),
            document(COLLECTION, Self::key(self.number), Some(value)),
        ];
        (guard(COLLECTION, CURRENT.into(), before), documents)
    }
}

impl Plugins {
    /// The stored set of a number; the present one without.
    pub(super) async fn stored_set(&self, number: Option<u64>) -> Result<(Option<Bytes>, StoredSet), StoreError> {
        let key = number.map_or_else(|| CURRENT.to_owned(), StoredSet::key);
        let stored = own::read(&**self.store(), COLLECTION, &key).await?;
        let what = || "a set of upcasters".to_owned();
        let set = stored.as_deref().map(|stored| own::decode_json(&what, stored)).transpose()?;
        Ok((stored, set.unwrap_or_default()))
    }

    /// A set of that number, ready to be used.
    pub(super) async fn lift_set(&self, number: u64) -> Result<Arc<LiftSet>, DeployError> {
        let current = self.0.lifts.current();
        if current.number() == number {
            return Ok(current);
        }
        if number == 0 {
            return Ok(Arc::default());
        }
        let (_, stored) = self.stored_set(Some(number)).await?;
        Ok(Arc::new(self.make_set(&stored, None).await?))
    }

    /// Loads the upcasters of a set; `new` is one whose revision is not stored yet.
    pub(super) async fn make_set(
        &self,
        stored: &StoredSet,
        new: Option<(&RevisionRecord, &Ready)>,
    ) -> Result<LiftSet, DeployError> {
        let revisions = self.store().revisions().await?;
        let mut upcasters = Vec::new();
        for Member { plugin, revision } in &stored.upcasters {
            if let Some((record, ready)) = new.filter(|(r, _)| r.plugin == *plugin && r.number == *revision) {
                upcasters.push(self.upcaster(record, ready));
                continue;
            }
            let known = revisions.iter().find(|r| r.plugin == *plugin && r.number == *revision);
            let Some(record) = known else {
                let what = format!("revision {revision} of upcaster `{plugin}`, which was removed");
                return Err(DeployError::Store(StoreError::Damaged { what }));
            };
            let ready = self.ready(record).await?;
            upcasters.push(self.upcaster(record, &ready));
        }
        Ok(LiftSet::new(stored.number, upcasters)?)
    }

    fn upcaster(&self, revision: &RevisionRecord, ready: &Ready) -> Arc<Upcaster> {
        let setup = Setup::parse(&revision.setup);
        let log = self.deployment(&revision.plugin).map(|deployment| Arc::clone(&deployment.log));
        Arc::new(Upcaster::new(crate::upcast::Parts {
            plugin: revision.plugin.clone(),
            revision: revision.number,
            lifts: ready.descriptor.lifts.clone(),
            module: Arc::clone(&ready.module),
            environment: GuestEnvironment {
                config: setup.pairs(&ready.descriptor),
                log: log.unwrap_or_else(|| Arc::new(PluginLog::new(&*revision.plugin))),
                memory_bytes_max: None,
            },
            clock: Arc::clone(&self.0.context.clock),
            metrics: Arc::clone(&self.0.context.metrics),
        }))
    }

    /// Reads through the set that is stored. To be called before anyone reads.
    pub(crate) async fn load_lifts(&self) -> Result<(), DeployError> {
        let (_, stored) = self.stored_set(None).await?;
        if stored.number != self.0.lifts.current().number() {
            let set = Arc::new(self.make_set(&stored, None).await?);
            tracing::info!(event_id = log_id::UPCASTERS_CHANGED, set = stored.number, "upcasters changed");
            self.0.lifts.replace(set);
        }
        Ok(())
    }

    /// Follows what other hosts deploy.
    pub(crate) async fn follow_lifts(self, stop: CancellationToken) -> Result<(), String> {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            // What goes wrong here is tried again.
            if let Err(error) = self.load_lifts().await {
                let error = crate::tasks::chain(&error);
                tracing::warn!(event_id = log_id::UPCAST_FAILED, error, "upcasters could not be loaded");
            }
        }
        Ok(())
    }

    /// Begins to build anew those read models that the new set could make a difference to.
    pub(super) async fn rebuild_lifted(&self, before: &LiftSet, after: &LiftSet) {
        for name in self.names() {
            let Some(deployment) = self.deployment(&name) else { continue };
            let filter = deployment.descriptor.filter();
            if deployment.serving.is_none() || !after.differs_for(before, &filter) || !is_projection(&deployment) {
                continue;
            }
            if let Err(error) = self.rebuild_anyway(&name, Throttle::default()).await {
                let error = crate::tasks::chain(&error);
                tracing::error!(event_id = log_id::PROJECTION_PAUSED, plugin = name, error, "it is not built anew");
            }
        }
    }
}

fn is_projection(deployment: &super::registry::Deployment) -> bool {
    deployment.record.kind == super::descriptor::Kind::Projection
}
