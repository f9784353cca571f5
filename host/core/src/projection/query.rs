//! Reading read models.

pub mod condition;
pub mod find;
pub mod parse;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedRwLockReadGuard;
use tokio::time::Instant;

use super::generation::{FailureInfo, Generation, Phase, Progress, Throttle};
use crate::code::{Code, Problem};
use crate::event::Position;
use crate::limits::read as limits;
use crate::plugin::descriptor::Kind;
use crate::plugin::registry::{Deployment, Plugins};
use crate::plugin::swap::{RebuildError, Rebuilding};
use crate::record::GenerationId;
use crate::store::{Documents, StoreError};

/// Wait until the read model holds the event at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitFor {
    pub position: Position,
    pub timeout: Duration,
}

impl WaitFor {
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);
}

/// What was asked for, and how fresh it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    pub value: T,
    /// Every event before this position is in the answer.
    pub next_position: Position,
}

#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    pub name: String,
    pub version: String,
    pub revision: u32,
    pub generation: GenerationId,
    pub progress: Progress,
    pub log_next_position: Position,
    pub collections: Vec<CollectionStatus>,
    /// A rebuild that is under way.
    pub build: Option<BuildStatus>,
}

#[derive(Clone, Debug)]
pub struct CollectionStatus {
    pub name: String,
    pub description: String,
    /// Fields that it can be sorted by.
    pub indexes: Vec<String>,
    pub documents: u64,
}

#[derive(Clone, Debug)]
pub struct BuildStatus {
    pub generation: GenerationId,
    pub revision: u32,
    pub progress: Progress,
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("there is no projection `{0}`")]
    ProjectionNotFound(String),
    #[error("plugin `{name}` is a {}, not a projection", .kind.as_str())]
    NotAProjection { name: String, kind: Kind },
    #[error("projection `{projection}` has no collection `{collection}`; it has: {}", .known.join(", "))]
    CollectionNotFound { projection: String, collection: String, known: Vec<String> },
    #[error("there is no document `{key}` in `{projection}/{collection}`")]
    DocumentNotFound { projection: String, collection: String, key: String },
    #[error("{}", not_reached(.projection, *.wanted, .progress))]
    PositionNotReached { projection: String, wanted: Position, progress: Box<Progress> },
    #[error("{}", not_indexed(.collection, .field, .known))]
    NotIndexed { collection: String, field: String, known: Vec<String> },
    #[error(
        "the cursor is not of this query: it goes with the same filter, prefix and order, as long as its index is \
             there"
    )]
    ForeignCursor,
    #[error("no read model of projection `{0}` is being built beside the one that serves")]
    NothingBuilt(String),
    #[error("projection `{projection}` has no generation {generation}, or no longer")]
    GenerationNotFound { projection: String, generation: GenerationId },
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    #[error("the rebuild could not be begun")]
    Rebuild(#[source] RebuildError),
}

fn not_reached(projection: &str, wanted: Position, progress: &Progress) -> String {
    let (state, next) = (progress.phase.as_str(), progress.next);
    match &progress.failure {
        None => format!("projection `{projection}` has not reached position {wanted} in time: it is {state} at {next}"),
        Some(FailureInfo { reason, .. }) => {
            format!("projection `{projection}` has not reached position {wanted}: it is {state} at {next}: {reason}")
        }
    }
}

fn not_indexed(collection: &str, field: &str, known: &[String]) -> String {
    let known = if known.is_empty() { "it has none".into() } else { format!("there are: {}", known.join(", ")) };
    format!("collection `{collection}` cannot be sorted by `{field}`, which has no index; {known}")
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        let code = match error {
            QueryError::ProjectionNotFound(_) | QueryError::NotAProjection { .. } => Code::ProjectionNotFound,
            QueryError::CollectionNotFound { .. } => Code::CollectionNotFound,
            QueryError::DocumentNotFound { .. } => Code::DocumentNotFound,
            QueryError::PositionNotReached { progress, .. } if progress.phase == Phase::Paused => {
                Code::ProjectionPaused
            }
            QueryError::PositionNotReached { .. } => Code::PositionNotReached,
            QueryError::NotIndexed { .. } => Code::NotIndexed,
            QueryError::ForeignCursor => {
                return Problem::new(Code::InvalidArgument, &message).with("cursor", message);
            }
            QueryError::NothingBuilt(_) | QueryError::GenerationNotFound { .. } => Code::GenerationNotFound,
            QueryError::Store(store) => return Problem::from(&store),
            QueryError::Rebuild(rebuild) => return rebuild.into(),
        };
        Problem::new(code, message)
    }
}

/// The read models of all projections.
#[derive(Clone)]
pub struct Projections(pub(crate) Plugins);

impl Projections {
    pub async fn list(&self) -> Result<Vec<ProjectionStatus>, QueryError> {
        let mut statuses = Vec::new();
        for plugin in self.0.list().into_iter().filter(|plugin| plugin.kind == Kind::Projection) {
            match self.get(&plugin.name).await {
                // Removed between the two looks.
                Err(QueryError::ProjectionNotFound(_)) => {}
                status => statuses.push(status?),
            }
        }
        Ok(statuses)
    }

    pub async fn get(&self, name: &str) -> Result<ProjectionStatus, QueryError> {
        let (deployment, serving, _in_use) = self.hold(name).await?;
        let descriptor = serving.descriptor().unwrap_or(&deployment.descriptor);
        let mut collections = Vec::new();
        for collection in &descriptor.collections {
            let documents = self.0.store().count(serving.id, &collection.name, "").await?;
            let (name, description) = (collection.name.clone(), collection.description.clone());
            let indexes = collection.indexes.iter().map(|index| index.field.clone()).collect();
            collections.push(CollectionStatus { name, description, indexes, documents });
        }
        let build = deployment.building().map(|generation| BuildStatus {
            generation: generation.id,
            revision: generation.revision,
            progress: generation.progress.borrow().clone(),
        });
        let progress = serving.progress.borrow().clone();
        Ok(ProjectionStatus {
            name: name.to_owned(),
            version: descriptor.version.clone(),
            revision: serving.revision,
            generation: serving.id,
            progress,
            log_next_position: self.0.tail(),
            collections,
            build,
        })
    }

    pub async fn document(
        &self,
        name: &str,
        collection: &str,
        key: &str,
        wait_for: Option<WaitFor>,
    ) -> Result<Answer<Bytes>, QueryError> {
        let (serving, _in_use) = self.ready(name, collection, wait_for).await?;
        // Taken before the read: the answer is at least this fresh.
        let next_position = serving.next();
        let value = self.0.store().document(serving.id, collection, key).await?;
        let value = value.ok_or_else(|| QueryError::DocumentNotFound {
            projection: name.into(),
            collection: collection.into(),
            key: key.into(),
        })?;
        Ok(Answer { value, next_position })
    }

    /// Documents in byte order of their keys, those that begin with `prefix` and come after `after`.
    pub async fn documents(
        &self,
        name: &str,
        collection: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        wait_for: Option<WaitFor>,
    ) -> Result<Answer<Documents>, QueryError> {
        let (serving, _in_use) = self.ready(name, collection, wait_for).await?;
        let next_position = serving.next();
        let limit = limit.clamp(1, limits::LIST_DOCUMENTS_MAX);
        let value = self.0.store().scan(serving.id, collection, prefix, after, limit).await?;
        Ok(Answer { value, next_position })
    }

    /// Begins to build the read model anew beside the one that serves.
    pub async fn rebuild(&self, name: &str) -> Result<GenerationId, QueryError> {
        self.find_serving(name)?;
        match self.0.rebuild(name, Throttle::default()).await.map_err(QueryError::Rebuild)? {
            Some(Rebuilding::Begun(generation) | Rebuilding::UnderWay(generation)) => Ok(generation),
            None => Err(QueryError::ProjectionNotFound(name.into())),
        }
    }

    pub(super) fn find_serving(&self, name: &str) -> Result<(Arc<Deployment>, Arc<Generation>), QueryError> {
        let deployment = self.0.deployment(name).ok_or_else(|| QueryError::ProjectionNotFound(name.into()))?;
        if deployment.record.kind != Kind::Projection {
            return Err(QueryError::NotAProjection { name: name.into(), kind: deployment.record.kind });
        }
        let serving = deployment.serving().ok_or_else(|| QueryError::ProjectionNotFound(name.into()))?;
        Ok((deployment, serving))
    }

    /// The generation that serves, kept in place by the guard.
    async fn hold(&self, name: &str) -> Result<(Arc<Deployment>, Arc<Generation>, InUse), QueryError> {
        loop {
            let (deployment, serving) = self.find_serving(name)?;
            // Another one serves since, or the plugin is gone: look again.
            if let Some(in_use) = serving.hold().await {
                return Ok((deployment, serving, in_use));
            }
        }
    }

    /// The serving generation, once it is as far as is wanted.
    async fn ready(
        &self,
        name: &str,
        collection: &str,
        wait_for: Option<WaitFor>,
    ) -> Result<(Arc<Generation>, InUse), QueryError> {
        let wanted = wait_for.map_or(Position(0), |wait_for| Position(wait_for.position.0.saturating_add(1)));
        let timeout = wait_for.map_or(WaitFor::TIMEOUT_DEFAULT, |wait_for| wait_for.timeout.min(WaitFor::TIMEOUT_MAX));
        let deadline = Instant::now() + timeout;
        loop {
            let (deployment, serving, in_use) = self.hold(name).await?;
            check_collection(&deployment, &serving, name, collection)?;
            let wanted = wanted.max(serving.floor());
            if serving.next() >= wanted {
                return Ok((serving, in_use));
            }
            drop(in_use);
            let progress = wait_until(&serving, wanted, deadline).await;
            let replaced = serving.stop.is_cancelled() && Instant::now() < deadline;
            if progress.next < wanted && !(replaced && self.is_replaced(name, &serving)) {
                let wanted = Position(wanted.0 - 1);
                let (projection, progress) = (name.into(), Box::new(progress));
                return Err(QueryError::PositionNotReached { projection, wanted, progress });
            }
        }
    }

    fn is_replaced(&self, name: &str, generation: &Arc<Generation>) -> bool {
        self.find_serving(name).is_ok_and(|(_, serving)| !Arc::ptr_eq(&serving, generation))
    }
}

type InUse = OwnedRwLockReadGuard<()>;

/// Of the generation that serves: the current revision may be one that is still being built.
pub(super) fn check_collection(
    deployment: &Deployment,
    serving: &Generation,
    name: &str,
    collection: &str,
) -> Result<(), QueryError> {
    let collections = &serving.descriptor().unwrap_or(&deployment.descriptor).collections;
    if collections.iter().any(|known| known.name == collection) {
        return Ok(());
    }
    let known = collections.iter().map(|known| known.name.clone()).collect();
    Err(QueryError::CollectionNotFound { projection: name.into(), collection: collection.into(), known })
}

/// Waits until the position is reached, the time is up, or the runner rests.
async fn wait_until(generation: &Generation, wanted: Position, deadline: Instant) -> Progress {
    let mut progress = generation.progress.subscribe();
    let settled =
        |progress: &Progress| progress.next >= wanted || matches!(progress.phase, Phase::Paused | Phase::Stopped);
    // An error means the time is up: the sender lives as long as the generation.
    let _ = tokio::time::timeout_at(deadline, progress.wait_for(settled)).await;
    generation.progress.borrow().clone()
}
