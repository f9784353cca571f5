//! Rebuilding a read model in the shadow, and putting it in the place of the one that serves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::deploy::{DeployError, PluginNotFound};
use super::descriptor::Descriptor;
use super::registry::{Deployment, Plugins, retire};
use super::settings::Settings;
use super::setup::Setup;
use crate::clock::Timestamp;
use crate::code::Problem;
use crate::event::Position;
use crate::limits::plugin as limits;
use crate::log::commit::CommitError;
use crate::log_id;
use crate::projection::generation::{Generation, Phase, Throttle};
use crate::record::{GenerationId, GenerationState, PluginRecord, RevisionRecord};
use crate::replay::Pace;
use crate::store::{Change, Unit};

/// Documents that one unit of a removal takes, so that appends are not held up behind it.
const DROP_DOCUMENTS: usize = 2_000;

/// How long a removal rests when the store does not answer.
const DROP_RETRY: Duration = Duration::from_secs(1);

/// How long one that goes back waits for the read model that it goes back to.
const SWAP_BACK_WAIT: Duration = Duration::from_secs(10);

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
        self.rebuild_anyway(name, throttle).await
    }

    /// The same for who holds the lock already.
    pub(super) async fn rebuild_anyway(
        &self,
        name: &str,
        throttle: Throttle,
    ) -> Result<Option<Rebuilding>, RebuildError> {
        let Some(current) = self.deployment(name) else { return Ok(None) };
        let building = current.building();
        let lifts = self.0.lifts.current().number();
        if let Some(building) = building.as_ref().filter(|building| !rests(building) && building.lifts == lifts) {
            return Ok(Some(Rebuilding::UnderWay(building.id)));
        }
        let record = self.new_generation(&current.record.current, current.serving.is_none());
        let mut changes = vec![Change::CreateGeneration(record.clone())];
        changes.extend(building.as_ref().map(|building| retire(building.id)));
        let ready = self.ready(&current.record.current).await?;
        self.0.context.committer.commit(Unit::change(changes)).await?;
        let mut deployment = Deployment { building: None, ..(*current).clone() };
        self.start_generation(&mut deployment, &record, &ready, throttle).await?;
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
            building.throttle.send_modify(|throttle| {
                *throttle = Throttle { paused: false, pace: Pace::default(), ..*throttle };
            });
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
                    Ok(Swap::Unconfirmed(mut settings)) => {
                        let stopped = progress.wait_for(|progress| over(progress.phase));
                        tokio::select! {
                            _ = settings.changed() => {}
                            _ = stopped => {}
                        }
                    }
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
        // Taken before the look, so that no confirmation is missed.
        let settings = current.settings.subscribe();
        if old.is_some() && current.settings().confirm_swap && !building.is_confirmed() {
            return Ok(Swap::Unconfirmed(settings));
        }
        let serve = Change::SetGenerationState { generation: building.id, state: GenerationState::Serving };
        let mut changes = vec![serve];
        changes.extend(old.as_ref().map(|old| stand_by(old.id)));
        let older = current.standby();
        changes.extend(older.as_ref().map(|older| retire(older.id)));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        if let Some(old) = &old {
            // Nobody who read the old one may see the new one behind it.
            building.raise_floor(old.next());
        }
        building.throttle.send_modify(|throttle| throttle.build_events_per_second = None);
        let (serving, standby) = (Some(Arc::clone(building)), old.clone());
        self.0.put(Deployment { serving, standby, building: None, ..(*current).clone() });
        tracing::info!(event_id = log_id::PROJECTION_SWAPPED, plugin, generation = building.id.0, "read model swapped");
        if let Some(old) = old {
            building.raise_floor(old.next());
            self.retire_standby_later(plugin.to_owned(), old.id);
        }
        if let Some(older) = older {
            self.drop_generation(older);
        }
        Ok(Swap::Done)
    }

    /// Lets a read model that has been built serve, where that waits for a person.
    pub async fn confirm_swap(&self, name: &str) -> Result<bool, DeployError> {
        let deployment = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let Some(building) = deployment.building() else { return Ok(false) };
        building.confirm();
        // Whoever waits for the settings looks again.
        deployment.settings.send_modify(|_| {});
        Ok(true)
    }

    /// Gives up the read model that served before, so that there is no going back to it at once.
    pub async fn confirm(&self, name: &str) -> Result<bool, DeployError> {
        let _changing = self.0.changing.lock().await;
        let current = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let Some(standby) = current.standby() else { return Ok(false) };
        self.0.context.committer.commit(Unit::change(vec![retire(standby.id)])).await?;
        self.0.put(Deployment { standby: None, ..(*current).clone() });
        self.drop_generation(standby);
        Ok(true)
    }

    /// The same after a day.
    pub(super) fn retire_standby_later(&self, plugin: String, generation: GenerationId) {
        let (this, clock, stop) = (self.clone(), Arc::clone(&self.0.context.clock), self.0.tasks.stop_token());
        let until = Timestamp(clock.now().0.saturating_add(limits::STANDBY_US));
        self.0.tasks.spawn("standby", async move {
            if stop.run_until_cancelled(clock.wait_until(until)).await.is_none() {
                return Ok(());
            }
            let standby = this.deployment(&plugin).and_then(|deployment| deployment.standby());
            if standby.is_some_and(|standby| standby.id == generation) {
                // What fails here is done after the next start.
                let _ = this.confirm(&plugin).await;
            }
            Ok(())
        });
    }

    /// Lets the read model that served before serve again, with its revision. Both stay up to date.
    pub(super) async fn swap_back(
        &self,
        current: &Deployment,
        standby: &Arc<Generation>,
        revision: RevisionRecord,
        component: Bytes,
    ) -> Result<PluginRecord, DeployError> {
        let Some(serving) = current.serving() else {
            return Err(PluginNotFound(current.record.name.clone()).into());
        };
        let mut progress = standby.progress.subscribe();
        let goal = serving.next();
        let caught_up = progress.wait_for(|progress| progress.next >= goal || over(progress.phase));
        let _ = tokio::time::timeout(SWAP_BACK_WAIT, caught_up).await;
        if standby.next() < serving.next() {
            let (revision, standby, serving) = (revision.number, standby.next(), serving.next());
            return Err(DeployError::StandbyBehind { revision, standby, serving });
        }
        let serve = Change::SetGenerationState { generation: standby.id, state: GenerationState::Serving };
        let deploy = Change::Deploy { revision: revision.clone(), component };
        let mut changes = vec![deploy, serve, stand_by(serving.id)];
        let building = current.building();
        changes.extend(building.as_ref().map(|building| retire(building.id)));
        self.0.context.committer.commit(Unit::change(changes)).await?;
        standby.raise_floor(serving.next());
        let descriptor = Descriptor::parse(&revision.descriptor, revision.kind)?;
        let record = PluginRecord { current: revision.clone(), ..current.record.clone() };
        self.0.put(Deployment {
            record: record.clone(),
            descriptor: Arc::new(descriptor),
            setup: Arc::new(Setup::parse(&revision.setup)),
            serving: Some(Arc::clone(standby)),
            standby: Some(Arc::clone(&serving)),
            building: None,
            ..current.clone()
        });
        standby.raise_floor(serving.next());
        let (plugin, generation) = (&record.name, standby.id.0);
        tracing::info!(event_id = log_id::PROJECTION_SWAPPED, plugin, generation, "read model swapped back");
        self.retire_standby_later(record.name.clone(), serving.id);
        if let Some(building) = building {
            self.drop_generation(building);
        }
        Ok(record)
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
    /// A person has to confirm it.
    Unconfirmed(watch::Receiver<Settings>),
    /// Another one is being built, or the plugin is gone.
    GivenUp,
}

fn over(phase: Phase) -> bool {
    phase == Phase::Stopped
}

fn rests(generation: &Generation) -> bool {
    matches!(generation.progress.borrow().phase, Phase::Paused | Phase::Stopped)
}

fn stand_by(generation: GenerationId) -> Change {
    Change::SetGenerationState { generation, state: GenerationState::Standby }
}
