//! Rebuilding a read model in the shadow, and putting it in the place of the one that serves.

use std::sync::Arc;
use std::time::Duration;

use super::deploy::DeployError;
use super::registry::{Deployment, Plugins, retire};
use crate::code::Problem;
use crate::event::Position;
use crate::log::commit::CommitError;
use crate::log_id;
use crate::projection::generation::{Generation, Phase, Throttle};
use crate::record::{GenerationId, GenerationState};
use crate::store::{Change, Unit};

/// Documents that one unit of a removal takes, so that appends are not held up behind it.
const DROP_DOCUMENTS: usize = 2_000;

/// How long a removal rests when the store does not answer.
const DROP_RETRY: Duration = Duration::from_secs(1);

/// Why a rebuild was not begun.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("its component cannot be loaded")]
    NotLoaded(#[from] DeployError),
    #[error("it could not be stored")]
    Commit(#[from] CommitError),
}

/// What a rebuild has come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rebuilding {
    Begun(GenerationId),
    /// Another one is being built.
    UnderWay(GenerationId),
}

impl From<RebuildError> for Problem {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::NotLoaded(error) => error.into(),
            RebuildError::Commit(commit) => commit.into(),
        }
    }
}

impl Plugins {
    /// Begins a new generation of the revision that is deployed. One that is being built already is
    /// answered instead, unless it has stopped. `None` when there is no such plugin.
    pub(crate) async fn rebuild(&self, name: &str, throttle: Throttle) -> Result<Option<Rebuilding>, RebuildError> {
        let _changing = self.0.changing.lock().await;
        let Some(current) = self.deployment(name) else { return Ok(None) };
        let building = current.building();
        if let Some(building) = building.as_ref().filter(|building| !rests(building)) {
            return Ok(Some(Rebuilding::UnderWay(building.id)));
        }
        let record = self.new_generation(&current.record.current, current.serving.is_none());
        let mut changes = vec![Change::CreateGeneration(record.clone())];
        changes.extend(building.as_ref().map(|building| retire(building.id)));
        let ready = self.ready(&current.record.current).await?;
        self.0.context.committer.commit(Unit::change(changes)).await?;
        let mut deployment = Deployment { building: None, ..(*current).clone() };
        self.start_generation(&mut deployment, &record, &ready, throttle);
        self.0.put(deployment);
        if let Some(building) = building {
            self.drop_generation(building);
        }
        Ok(Some(Rebuilding::Begun(record.id)))
    }

    /// Gives up a generation that is being built; what serves goes on.
    pub(crate) async fn abandon(&self, name: &str, generation: GenerationId) -> Result<(), CommitError> {
        let _changing = self.0.changing.lock().await;
        let Some(current) = self.deployment(name) else { return Ok(()) };
        let Some(building) = current.building().filter(|building| building.id == generation) else { return Ok(()) };
        if current.serving.is_none() {
            // Without it there would be nothing.
            building.throttle.send_replace(Throttle::default());
            return Ok(());
        }
        self.0.context.committer.commit(Unit::change(vec![retire(generation)])).await?;
        self.0.put(Deployment { building: None, ..(*current).clone() });
        self.drop_generation(building);
        Ok(())
    }

    /// Watches a generation that is being built, and swaps it in when it is as far as the serving one.
    pub(super) fn swap_when_caught_up(&self, plugin: String, building: Arc<Generation>) {
        let this = self.clone();
        self.0.tasks.spawn("swap", async move {
            let mut progress = building.progress.subscribe();
            loop {
                let serving = this.deployment(&plugin).and_then(|deployment| deployment.serving());
                let goal = serving.map_or(Position(0), |serving| serving.next());
                let far_enough = progress.wait_for(|p| p.next >= goal && p.phase != Phase::Retrying || over(p.phase));
                match far_enough.await {
                    Ok(now) if over(now.phase) => return Ok(()),
                    Ok(_) => {}
                    Err(_) => return Ok(()),
                }
                match this.try_swap(&plugin, &building).await {
                    Ok(Swap::Done | Swap::GivenUp) => return Ok(()),
                    // The serving one has moved on meanwhile.
                    Ok(Swap::NotYet) => {}
                    Err(_) => tokio::time::sleep(DROP_RETRY).await,
                }
            }
        });
    }

    async fn try_swap(&self, plugin: &str, building: &Arc<Generation>) -> Result<Swap, CommitError> {
        let _changing = self.0.changing.lock().await;
        let Some(current) = self.deployment(plugin) else { return Ok(Swap::GivenUp) };
        if current.building.as_ref().is_none_or(|current| current.id != building.id) {
            return Ok(Swap::GivenUp);
        }
        let old = current.serving();
        if old.as_ref().is_some_and(|old| building.next() < old.next()) {
            return Ok(Swap::NotYet);
        }
        let serve = Change::SetGenerationState { generation: building.id, state: GenerationState::Serving };
        let mut changes = vec![serve];
        changes.extend(old.as_ref().map(|old| retire(old.id)));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        if let Some(old) = &old {
            // Nobody who read the old one may see the new one behind it.
            building.raise_floor(old.next());
        }
        self.0.put(Deployment { serving: Some(Arc::clone(building)), building: None, ..(*current).clone() });
        tracing::info!(event_id = log_id::PROJECTION_SWAPPED, plugin, generation = building.id.0, "read model swapped");
        if let Some(old) = old {
            building.raise_floor(old.next());
            self.drop_generation(old);
        }
        Ok(Swap::Done)
    }

    /// Removes a generation's documents, a bounded unit at a time, once nobody uses them. What is left
    /// when the host stops is removed after its next start.
    pub(super) fn drop_generation(&self, generation: Arc<Generation>) {
        let this = self.clone();
        let stop = self.0.tasks.stop_token();
        self.0.tasks.spawn("drop generation", async move {
            generation.stopped().await;
            generation.retire().await;
            while !stop.is_cancelled() {
                let change = Change::DropDocuments { generation: generation.id, limit: DROP_DOCUMENTS };
                match this.0.context.committer.commit(Unit::change(vec![change])).await {
                    Ok(committed) if committed.removed < DROP_DOCUMENTS as u64 => break,
                    Ok(_) => {}
                    Err(CommitError::Stopped) => return Ok(()),
                    Err(_) => tokio::time::sleep(DROP_RETRY).await,
                }
            }
            if !stop.is_cancelled() {
                let change = Change::DropGeneration { generation: generation.id };
                let _ = this.0.context.committer.commit(Unit::change(vec![change])).await;
                tracing::info!(
                    event_id = log_id::GENERATION_DROPPED,
                    generation = generation.id.0,
                    "generation dropped"
                );
            }
            Ok(())
        });
    }
}

enum Swap {
    Done,
    NotYet,
    /// Another one is being built, or the plugin is gone.
    GivenUp,
}

fn over(phase: Phase) -> bool {
    phase == Phase::Stopped
}

fn rests(generation: &Generation) -> bool {
    matches!(generation.progress.borrow().phase, Phase::Paused | Phase::Stopped)
}
