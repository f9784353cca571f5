//! How a plugin is: what it runs, how far it is, and what went wrong last.

use std::sync::Arc;

use super::deploy::{DeployError, PluginNotFound};
use super::descriptor::Kind;
use super::registry::{Deployment, Plugins};
use super::settings::{Settings, Wanted};
use super::setup::Setup;
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::handler;
use crate::log::filter::Filter;
use crate::log::read::ReadError;
use crate::projection::generation::{FailureInfo, Generation, Phase};
use crate::projection::parked::ParkedKeys;
use crate::record::{GenerationId, PluginRecord};
use crate::store::{Direction, PageLimit};

#[derive(Clone, Debug)]
pub struct PluginStatus {
    pub record: PluginRecord,
    pub setup: Arc<Setup>,
    pub settings: Settings,
    /// Number of its newest revision, which need not be the one that it runs.
    pub newest: u32,
    /// Number of the revision that works or answers queries now. Of a projection it is another than that of the
    /// record while that one's read model is being built.
    pub running: u32,
    pub state: State,
    /// Everything before it is done with.
    pub position: Position,
    pub tail: Position,
    /// How old the oldest event is that is not done with, in seconds; 0 at the end of the log.
    pub lag_seconds: u64,
    /// Events since the host started, and lately each second.
    pub processed: u64,
    pub per_second: f64,
    /// Why it does not go on.
    pub failure: Option<FailureInfo>,
    /// The newest failure, be it over or not.
    pub last_failure: Option<FailureInfo>,
    /// Events put aside, as the store has them.
    pub dead_letters: u64,
    /// Its read model that is being built, and the one that served before.
    pub building: Option<BuildStatus>,
    pub standby: Option<BuildStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    CatchingUp,
    Live,
    Retrying,
    /// By an operator, or by its failure.
    Paused,
    Stopped,
    /// It is called when there is something to do: an upcaster, a saga.
    Ready,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::CatchingUp => "catching_up",
            State::Live => "live",
            State::Retrying => "retrying",
            State::Paused => "paused",
            State::Stopped => "stopped",
            State::Ready => "ready",
        }
    }
}

/// A read model beside the one that serves.
#[derive(Clone, Debug)]
pub struct BuildStatus {
    pub generation: GenerationId,
    pub revision: u32,
    pub phase: Phase,
    pub position: Position,
    pub per_second: f64,
    /// Seconds until it is as far as the log is now, at its present rate.
    pub estimate_seconds: Option<u64>,
    /// It is complete, and waits for a person to let it serve.
    pub waits_for_confirmation: bool,
    pub failure: Option<FailureInfo>,
}

impl Plugins {
    pub async fn status(&self, name: &str) -> Result<PluginStatus, DeployError> {
        let deployment = self.deployment(name).ok_or_else(|| PluginNotFound(name.into()))?;
        let (tail, now) = (self.tail(), self.0.context.clock.now());
        let settings = deployment.settings();
        let mut status = PluginStatus {
            record: deployment.record.clone(),
            setup: Arc::clone(&deployment.setup),
            newest: deployment.newest,
            running: deployment.running(),
            state: State::Ready,
            position: tail,
            tail,
            lag_seconds: 0,
            processed: 0,
            per_second: 0.0,
            failure: None,
            last_failure: None,
            dead_letters: 0,
            building: deployment.building().map(|built| build_status(&built, tail, now, settings.confirm_swap)),
            standby: deployment.standby().map(|built| build_status(&built, tail, now, false)),
            settings,
        };
        if let Some(serving) = deployment.serving() {
            let progress = serving.progress.borrow().clone();
            (status.position, status.processed) = (progress.next, progress.folded);
            status.per_second = progress.rate.per_second(now);
            (status.failure, status.last_failure) = (progress.failure, progress.last_failure);
            status.dead_letters = match progress.parked_events {
                Some(events) => events,
                // Its runner has not looked yet, or there is none.
                None => ParkedKeys::load(&**self.store(), serving.id).await?.events(),
            };
            status.state = state_of(progress.phase, status.settings.wanted);
            if progress.next < tail {
                status.lag_seconds = seconds(now.0 - self.recorded_at(progress.next).await?.unwrap_or(now).0);
            }
        }
        match deployment.record.kind {
            Kind::Handler => self.add_group(&mut status, name, now).await?,
            Kind::Upcaster => self.add_lifts(&mut status, &deployment),
            Kind::Projection | Kind::Saga => {}
        }
        Ok(status)
    }

    /// When the first event at or behind a position was recorded.
    async fn recorded_at(&self, position: Position) -> Result<Option<Timestamp>, DeployError> {
        let one = PageLimit { events: 1, bytes: 1 };
        let all = Filter::default();
        match self.0.context.reader.raw().log_page(position, Direction::Forward, &all, one).await {
            Ok(page) => Ok(page.events.first().map(Event::recorded_at)),
            Err(ReadError::Store(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// How far a handler is, its group knows.
    async fn add_group(&self, status: &mut PluginStatus, name: &str, now: Timestamp) -> Result<(), DeployError> {
        let groups = &self.0.handlers.groups;
        let group = groups.status(&handler::group_of(name)).await?;
        status.position = group.position;
        status.lag_seconds = group.oldest_recorded_at.map_or(0, |oldest| seconds(now.0 - oldest.0));
        status.dead_letters = groups.count_dead_letters(&handler::group_of(name)).await?;
        if status.position >= status.tail && matches!(status.state, State::CatchingUp | State::Retrying) {
            (status.state, status.failure) = (State::Live, None);
        }
        Ok(())
    }

    fn add_lifts(&self, status: &mut PluginStatus, deployment: &Deployment) {
        let current = self.0.lifts.current();
        let Some(upcaster) = current.upcaster(&deployment.record.name) else { return };
        let (lifted, failed, last) = upcaster.counts();
        status.processed = lifted + failed;
        let attempts = u32::try_from(failed).unwrap_or(u32::MAX);
        status.last_failure = last.map(|(time, reason)| FailureInfo { reason, position: None, time, attempts });
        if upcaster.is_resting() {
            status.state = State::Retrying;
        }
    }
}

fn state_of(phase: Phase, wanted: Wanted) -> State {
    match (wanted, phase) {
        (Wanted::Stopped, _) | (_, Phase::Stopped) => State::Stopped,
        (Wanted::Paused, _) | (_, Phase::Paused) => State::Paused,
        (Wanted::Running, Phase::CatchingUp) => State::CatchingUp,
        (Wanted::Running, Phase::Live) => State::Live,
        (Wanted::Running, Phase::Retrying) => State::Retrying,
    }
}

fn build_status(generation: &Generation, tail: Position, now: Timestamp, confirms: bool) -> BuildStatus {
    let progress = generation.progress.borrow().clone();
    let per_second = progress.rate.per_second(now);
    let left = tail.0.saturating_sub(progress.next.0);
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an estimate")]
    let estimate = (per_second > 0.0).then(|| (left as f64 / per_second).ceil() as u64);
    BuildStatus {
        generation: generation.id,
        revision: generation.revision,
        phase: progress.phase,
        position: progress.next,
        per_second,
        estimate_seconds: if left == 0 { Some(0) } else { estimate },
        waits_for_confirmation: confirms && left == 0 && !generation.is_confirmed(),
        failure: progress.failure,
    }
}

fn seconds(us: i64) -> u64 {
    u64::try_from(us / 1_000_000).unwrap_or(0)
}
